package triton

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestAnswersKeepThePublishedSchemas holds bodies of live answers against the schemas that the protocol publishes.
func TestAnswersKeepThePublishedSchemas(t *testing.T) {
	const url = "file:///open_inference_schemas.json"
	data, err := os.ReadFile("testdata/open_inference_schemas.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(url, doc); err != nil {
		t.Fatal(err)
	}
	schema := func(name string) *jsonschema.Schema {
		t.Helper()
		s, err := compiler.Compile(url + "#/components/schemas/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}

	s := up(t)
	const mini, first = "/v2/models/loan-mini", "/v2/models/loan-mini/versions/1"
	flat := `{"inputs":[{"name":"input","datatype":"FP32","shape":[2,2],"data":[0.1,0.9,0.2,0.3]}]}`
	for _, c := range []struct {
		schema, method, path, body string
		status                     int
	}{
		{"metadata_server_response", "GET", "/v2", "", 200},
		{"metadata_server_response", "GET", "/v2/", "", 200},
		{"metadata_model_response", "GET", mini, "", 200},
		{"metadata_model_response", "GET", first, "", 200},
		{"metadata_model_response", "GET", "/v2/models/loan-default/versions/2", "", 200},
		{"inference_response", "POST", mini + "/infer", flat, 200},
		{"inference_response", "POST", first + "/infer", flat, 200},
		{"inference_response", "POST", first + "/infer", `{"id":"7","parameters":{"a":1},"inputs":[{"name":"input","datatype":"FP64","shape":[2,2],"data":[[0.1,0.9],[0.2,0.3]]}],"outputs":[{"name":"output"}]}`, 200},
		{"inference_response", "POST", first + "/infer", `{"inputs":[{"name":"int_rate","datatype":"FP32","shape":[2],"data":[0.1,0.2]},{"name":"revol_util","datatype":"FP32","shape":[2,1],"data":[0.9,0.3]}]}`, 200},
		{"metadata_model_error_response", "GET", "/v2/models/nobody", "", 404},
		{"metadata_model_error_response", "GET", mini + "/versions/9", "", 404},
		{"inference_error_response", "POST", "/v2/models/nobody/infer", flat, 404},
		{"inference_error_response", "POST", mini + "/versions/9/infer", flat, 404},
		{"inference_error_response", "POST", first + "/infer", `{`, 400},
		{"inference_error_response", "POST", first + "/infer", `{"inputs":[]}`, 400},
		{"inference_error_response", "POST", first + "/infer", strings.Replace(flat, "FP32", "BYTES", 1), 400},
		{"inference_error_response", "POST", first + "/infer", strings.Replace(flat, "[2,2]", "[2,3]", 1), 400},
		{"inference_error_response", "POST", first + "/infer", strings.Replace(flat, "[2,2]", "[-1,2]", 1), 400},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+s.http+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != c.status || answer.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %.80s: %s %s %v: %s", c.method, c.path, c.body, answer.Status, answer.Header.Get("Content-Type"), err, body)
			continue
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if err := schema(c.schema).Validate(value); err != nil {
			t.Errorf("%s %s: %s: %v", c.method, c.path, body, err)
		}
		// The schema of an error would take an empty object, and more members than the one.
		object, _ := value.(map[string]any)
		if text, _ := object["error"].(string); c.status != 200 && (len(object) != 1 || text == "") {
			t.Errorf("%s %s: %s is not the protocol's error", c.method, c.path, body)
		}
	}
}
