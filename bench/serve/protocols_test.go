package main

import (
	"slices"
	"testing"
)

func TestContentLengthInAnyCase(t *testing.T) {
	for _, line := range []string{"Content-Length: 148", "content-length: 148", "CONTENT-LENGTH:148\r\n"} {
		if n, ok, err := contentLength([]byte(line)); n != 148 || !ok || err != nil {
			t.Errorf("%q: %d, %v, %v; want 148", line, n, ok, err)
		}
	}
	for _, line := range []string{"", "\r\n", "Content-Type: application/json", "Inference-Header-Content-Length: 7"} {
		if n, ok, err := contentLength([]byte(line)); ok || err != nil {
			t.Errorf("%q: %d, %v, %v; want no length", line, n, ok, err)
		}
	}
	if _, ok, err := contentLength([]byte("Content-Length: many")); ok || err == nil {
		t.Errorf("a length that is no number is taken")
	}
}

func TestReadRESTJSONOfBothServers(t *testing.T) {
	for _, body := range []string{
		`{"model_name":"m","model_version":"1","outputs":[{"name":"output","datatype":"FP32","shape":[2,1],"data":[0.25,0.5]}]}`,
		`{"model_name":"m","id":"1","parameters":{},"outputs":[{"name":"predict","shape":[2,1],"datatype":"FP32","parameters":{"content_type":"np"},"data":[0.25,0.5]}]}`,
	} {
		if got, err := readRESTJSON([]byte(body)); err != nil || !slices.Equal(got, []float64{0.25, 0.5}) {
			t.Errorf("%s: %v, %v", body, got, err)
		}
	}
	for _, body := range []string{``, `{}`, `{"outputs":[]}`, `{"error":"no such model"}`} {
		if got, err := readRESTJSON([]byte(body)); err == nil {
			t.Errorf("%s: %v and no error", body, got)
		}
	}
}
