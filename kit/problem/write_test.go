package problem

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

func TestBodyOfAnotherFormGoesWithTheSameStatusAndHeader(t *testing.T) {
	p := &Problem{Status: http.StatusServiceUnavailable, Code: "overloaded", Detail: "come later", RetryAfter: 1500 * time.Millisecond}
	plain, other := httptest.NewRecorder(), httptest.NewRecorder()
	other.Header().Set("Content-Length", "3")
	Write(plain, p)
	WriteBody(other, p, "application/json", []byte(`{"error":"come later"}`))
	if other.Code != plain.Code || other.Body.String() != `{"error":"come later"}` || other.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d %s %v", other.Code, other.Body, other.Header())
	}
	plain.Header().Del("Content-Type")
	other.Header().Del("Content-Type")
	if !maps.EqualFunc(plain.Header(), other.Header(), slices.Equal) {
		t.Errorf("%v and %v", plain.Header(), other.Header())
	}
}
