package inference

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	inferencepb "github.com/dougong-io/dougong/api/inference"
	"github.com/dougong-io/dougong/examples/models"
)

const miniAnswer = 0.03645608 // to the row 0.1, 0.9

// v2Request sends a request of the Open Inference Protocol; header are pairs.
func v2Request(h http.Handler, method, path string, body []byte, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

type v2Answer struct {
	ModelName    string `json:"model_name"`
	ModelVersion string `json:"model_version"`
	ID           string `json:"id"`
	Outputs      []struct {
		Name, Datatype string
		Shape          []int
		Parameters     map[string]any
		Data           []float64
	}
	Error string
}

func v2Decode(t *testing.T, body []byte) v2Answer {
	t.Helper()
	var a v2Answer
	if err := json.Unmarshal(body, &a); err != nil {
		t.Fatalf("%.300q: %v", body, err)
	}
	return a
}

const miniPath = "/v2/models/loan-mini/infer"

func TestV2AnswersInEachFormOfARequest(t *testing.T) {
	_, h, seen := serve(t, miniConfig(), mini(t))
	tensor := binary.LittleEndian.AppendUint32(nil, math.Float32bits(0.1))
	tensor = binary.LittleEndian.AppendUint32(tensor, math.Float32bits(0.9))
	withTensor := `{"id":"7","inputs":[{"name":"input","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}`
	for name, c := range map[string]struct {
		path, body string
		header     []string
	}{
		"flat":              {miniPath, `{"id":"7","inputs":[{"name":"input","datatype":"FP32","shape":[1,2],"data":[0.1,0.9]}]}`, nil},
		"nested":            {miniPath, `{"id":"7","inputs":[{"name":"input","datatype":"FP32","shape":[1,2],"data":[[0.1,0.9]]}]}`, nil},
		"data before shape": {miniPath, `{"inputs":[{"data":[0.1,0.9],"shape":[1,2],"datatype":"FP64","name":"input"}],"id":"7"}`, nil},
		"a tensor a column": {miniPath, `{"id":"7","inputs":[{"name":"revol_util","datatype":"FP32","shape":[1],"data":[0.9]},{"name":"int_rate","datatype":"FP32","shape":[1,1],"data":[0.1]}]}`, nil},
		"with version":      {"/v2/models/loan-mini/versions/1/infer", `{"id":"7","inputs":[{"name":"input","datatype":"FP32","shape":[1,2],"data":[0.1,0.9]}],"outputs":[{"name":"output"}]}`, nil},
		"binary":            {miniPath, withTensor + string(tensor), []string{headerLength, strconv.Itoa(len(withTensor))}},
	} {
		t.Run(name, func(t *testing.T) {
			w := v2Request(h, "POST", c.path, []byte(c.body), c.header...)
			a := v2Decode(t, w.Body.Bytes())
			if w.Code != 200 || a.ModelName != "loan-mini" || a.ModelVersion != "1" || a.ID != "7" || len(a.Outputs) != 1 {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if o := a.Outputs[0]; o.Name != "output" || o.Datatype != "FP32" || fmt.Sprint(o.Shape) != "[1 1]" || len(o.Data) != 1 || o.Data[0] != miniAnswer {
				t.Errorf("%+v", o)
			}
			var queue, compute float64
			if n, err := fmt.Sscanf(w.Header().Get("Server-Timing"), "queue;dur=%f, compute;dur=%f", &queue, &compute); n != 2 || err != nil || compute <= 0 {
				t.Errorf("Server-Timing: %s", w.Header().Get("Server-Timing"))
			}
			if w.Header().Get("Content-Type") != "application/json" {
				t.Error(w.Header())
			}
		})
	}
	if got := seen.of("loan-mini/1 ok"); got != 6 {
		t.Errorf("%d observed", got)
	}
}

func TestV2AnswersInBinaryWhereAsked(t *testing.T) {
	_, h, _ := serve(t, miniConfig(), mini(t))
	const input = `"inputs":[{"name":"input","datatype":"FP32","shape":[2,2],"data":[0.1,0.9,0.1,0.9]}]`
	for _, body := range []string{
		`{` + input + `,"outputs":[{"name":"output","parameters":{"binary_data":true}}]}`,
		`{` + input + `,"parameters":{"binary_data_output":true}}`,
	} {
		w := v2Request(h, "POST", miniPath, []byte(body))
		length, err := strconv.Atoi(w.Header().Get(headerLength))
		if w.Code != 200 || err != nil || w.Body.Len() != length+8 || w.Header().Get("Content-Type") != "application/octet-stream" {
			t.Fatalf("%d %v %q", w.Code, w.Header(), w.Body)
		}
		a := v2Decode(t, w.Body.Bytes()[:length])
		if o := a.Outputs[0]; o.Parameters["binary_data_size"] != 8.0 || o.Data != nil {
			t.Errorf("%+v", o)
		}
		for tensor := w.Body.Bytes()[length:]; len(tensor) > 0; tensor = tensor[4:] {
			if got := math.Float32frombits(binary.LittleEndian.Uint32(tensor)); got != float32(miniAnswer) {
				t.Error(got)
			}
		}
	}
}

func TestV2RefusesInItsOwnForm(t *testing.T) {
	cfg := miniConfig()
	cfg.MaxRows = 4
	_, h, _ := serve(t, cfg, mini(t))
	input := func(shape, data string) string {
		return `{"inputs":[{"name":"input","datatype":"FP32","shape":` + shape + `,"data":` + data + `}]}`
	}
	for name, c := range map[string]struct {
		method, path, body, header string
		status                     int
		says                       string
	}{
		"no JSON":          {"POST", miniPath, `{"inputs"`, "", 400, "at byte 9"},
		"no inputs":        {"POST", miniPath, `{}`, "", 400, "inputs"},
		"wrong shape":      {"POST", miniPath, input("[1,2]", "[1,2,3]"), "", 400, "input"},
		"negative":         {"POST", miniPath, input("[-1,2]", "[1,2]"), "", 400, "-1"},
		"huge":             {"POST", miniPath, input("[4611686018427387904,4]", "[1,2]"), "", 400, "shape"},
		"too many rows":    {"POST", miniPath, input("[5,2]", "[1,2,3,4,5,6,7,8,9,10]"), "", 413, "4 rows"},
		"another width":    {"POST", miniPath, input("[1,3]", "[1,2,3]"), "", 400, "int_rate"},
		"text":             {"POST", miniPath, `{"inputs":[{"name":"input","datatype":"BYTES","shape":[1,2],"data":["a","b"]}]}`, "", 400, "BYTES"},
		"unknown output":   {"POST", miniPath, `{"inputs":[{"name":"input","datatype":"FP32","shape":[1,2],"data":[1,2]}],"outputs":[{"name":"proba"}]}`, "", 400, "proba"},
		"missing column":   {"POST", miniPath, `{"inputs":[{"name":"int_rate","datatype":"FP32","shape":[1],"data":[1]}]}`, "", 400, "revol_util"},
		"unknown model":    {"POST", "/v2/models/nobody/infer", input("[1,2]", "[1,2]"), "", 404, "loan-mini"},
		"unknown, empty":   {"POST", "/v2/models/nobody/infer", `{}`, "", 404, "loan-mini"},
		"nothing":          {"POST", miniPath, "", "", 400, "the body is empty"},
		"unknown version":  {"POST", "/v2/models/loan-mini/versions/9/infer", input("[1,2]", "[1,2]"), "", 404, "9"},
		"lying header":     {"POST", miniPath, input("[1,2]", "[1,2]"), "9999", 400, "9999"},
		"no header":        {"POST", miniPath, input("[1,2]", "[1,2]"), "many", 400, "many"},
		"metadata":         {"GET", "/v2/models/nobody", "", "", 404, "loan-mini"},
		"ready":            {"GET", "/v2/models/nobody/ready", "", "", 404, "loan-mini"},
		"config":           {"GET", "/v2/models/loan-mini/versions/9/config", "", "", 404, "9"},
		"load of unknown":  {"POST", "/v2/repository/models/nobody/load", "", "", 501, "put the version into"},
		"load":             {"POST", "/v2/repository/models/loan-mini/load", "", "", 501, "policy.yaml"},
		"unload":           {"POST", "/v2/repository/models/loan-mini/unload", "", "", 501, "take the version out"},
		"index of garbage": {"POST", "/v2/repository/index", "garbage", "", 400, "ready"},
		"index of a list":  {"POST", "/v2/repository/index", "[]", "", 400, "ready"},
		"index of more":    {"POST", "/v2/repository/index", `{} {}`, "", 400, "ready"},
		"index of much":    {"POST", "/v2/repository/index", strings.Repeat(" ", 5000), "", 413, "4096"},
		"unknown path":     {"GET", "/v2/logging", "", "", 404, "path"},
		"wrong method":     {"DELETE", "/v2/models/loan-mini", "", "", 405, "GET, HEAD"},
		"infer by GET":     {"GET", miniPath, "", "", 405, "POST"},
		"stats by POST":    {"POST", "/v2/models/stats", "", "", 405, "GET, HEAD"},
	} {
		t.Run(name, func(t *testing.T) {
			var header []string
			if c.header != "" {
				header = []string{headerLength, c.header}
			}
			w := v2Request(h, c.method, c.path, []byte(c.body), header...)
			var body map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body) != 1 || w.Code != c.status || w.Header().Get("Content-Type") != "application/json" {
				t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
			}
			if text, _ := body["error"].(string); !strings.Contains(text, c.says) {
				t.Errorf("%q does not say %q", text, c.says)
			}
		})
	}
}

func TestV2DescribesServerAndModels(t *testing.T) {
	s, h, _ := serve(t, miniConfig(), mini(t))
	s.deps.Version = "1.2.3"
	for path, want := range map[string]string{
		"/v2":                                    `{"name":"dougong","version":"1.2.3","extensions":["binary_tensor_data","model_configuration","model_repository","statistics"]}`,
		"/v2/":                                   `{"name":"dougong","version":"1.2.3","extensions":["binary_tensor_data","model_configuration","model_repository","statistics"]}`,
		"/v2/health/live":                        `{"live":true}`,
		"/v2/health/ready":                       `{"ready":true,"state":"Ready"}`,
		"/v2/models":                             `{"models":["loan-mini"]}`,
		"/v2/models/loan-mini/ready":             `{"name":"loan-mini","ready":true}`,
		"/v2/models/loan-mini/versions/1/ready":  `{"name":"loan-mini","ready":true}`,
		"/v2/models/loan-mini/config":            `{"name":"loan-mini","platform":"dougong_tree","backend":"dougong_tree","version_policy":{"specific":{"versions":["1"]}},"max_batch_size":16384,"input":[{"name":"input","data_type":"TYPE_FP32","dims":[2]}],"output":[{"name":"output","data_type":"TYPE_FP32","dims":[1]}]}`,
		"/v2/models/loan-mini/versions/1/config": `{"name":"loan-mini","platform":"dougong_tree","backend":"dougong_tree","version_policy":{"specific":{"versions":["1"]}},"max_batch_size":16384,"input":[{"name":"input","data_type":"TYPE_FP32","dims":[2]}],"output":[{"name":"output","data_type":"TYPE_FP32","dims":[1]}]}`,
	} {
		if w := v2Request(h, "GET", path, nil); w.Code != 200 || strings.TrimSpace(w.Body.String()) != want {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	var m modelMetadata
	w := v2Request(h, "GET", "/v2/models/loan-mini", nil)
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || w.Code != 200 || m.Name != "loan-mini" || fmt.Sprint(m.Versions) != "[1]" ||
		fmt.Sprint(m.Inputs) != "[{input FP32 [-1 2]}]" || fmt.Sprint(m.Outputs) != "[{output FP32 [-1 1]}]" || m.Properties["format"] == "" {
		t.Errorf("%d %s %v", w.Code, w.Body, err)
	}
	for _, body := range []string{"", `{}`, `{"ready":true}`} {
		if w := v2Request(h, "POST", "/v2/repository/index", []byte(body)); strings.TrimSpace(w.Body.String()) != `[{"name":"loan-mini","version":"1","state":"READY","reason":""}]` {
			t.Errorf("index of %q: %s", body, w.Body)
		}
	}
}

func TestV2NamesTheVersionsOfAModel(t *testing.T) {
	s, h, _ := serve(t, DefaultConfig(), models.Repository)
	client := grpcClient(t, s)
	for version, want := range map[string]string{"": "[1 2]", "1": "[1]", "2": "[2]"} {
		path := "/v2/models/loan-default"
		if version != "" {
			path += "/versions/" + version
		}
		var m modelMetadata
		if err := json.Unmarshal(v2Request(h, "GET", path, nil).Body.Bytes(), &m); err != nil || fmt.Sprint(m.Versions) != want {
			t.Errorf("%s has versions %v, want %s (%v)", path, m.Versions, want, err)
		}
		over, err := client.ModelMetadata(within(t), &inferencepb.ModelMetadataRequest{Name: "loan-default", Version: version})
		if err != nil || fmt.Sprint(over.GetVersions()) != want {
			t.Errorf("over gRPC version %q has versions %v, want %s (%v)", version, over.GetVersions(), want, err)
		}
		var c modelConfig
		if err := json.Unmarshal(v2Request(h, "GET", path+"/config", nil).Body.Bytes(), &c); err != nil || fmt.Sprint(c.VersionPolicy.Specific.Versions) != "[1 2]" {
			t.Errorf("%s/config: %+v", path, c)
		}
		config, err := client.ModelConfig(within(t), &inferencepb.ModelConfigRequest{Name: "loan-default", Version: version})
		if err != nil || fmt.Sprint(config.GetConfig().GetVersionPolicy().GetSpecific().GetVersions()) != "[1 2]" {
			t.Errorf("over gRPC: %v, %v", config, err)
		}
	}
}

// untouched is a body that must not be read.
type untouched struct{ *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.Error("the body was read")
	return 0, io.EOF
}

func TestBodyForAnUnknownModelIsNotRead(t *testing.T) {
	_, h, _ := serve(t, miniConfig(), mini(t))
	for _, path := range []string{"/v2/models/nobody/infer", "/v2/models/loan-mini/versions/9/infer"} {
		r := httptest.NewRequest("POST", path, untouched{t})
		r.ContentLength = 1 << 20
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != 404 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

func TestV2ReadinessIsThatOfTheProcess(t *testing.T) {
	ready := true
	_, h := serveWith(t, miniConfig(), Deps{Models: mini(t), Decode: decode, Ready: func() (string, bool) { return "Draining", ready }})
	for _, ready = range []bool{true, false} {
		want := map[bool]int{true: 200, false: 503}[ready]
		for _, path := range []string{"/v2/health/ready", "/v2/models/loan-mini/ready"} {
			if w := v2Request(h, "GET", path, nil); w.Code != want {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		var index []indexLine
		json.Unmarshal(v2Request(h, "POST", "/v2/repository/index", nil).Body.Bytes(), &index)
		if len(index) != 1 || (index[0].State == "READY") != ready {
			t.Errorf("%+v", index)
		}
	}
	if w := v2Request(h, "POST", "/v2/repository/index", []byte(`{"ready":true}`)); strings.TrimSpace(w.Body.String()) != "[]" {
		t.Errorf("%s", w.Body)
	}
}

func packed(t *testing.T, coding string, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var z io.WriteCloser = gzip.NewWriter(&b)
	if coding == codingDeflate {
		z = zlib.NewWriter(&b)
	}
	if _, err := z.Write(body); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBodiesAreInflated(t *testing.T) {
	cfg := miniConfig()
	cfg.MaxInflatedBytes = 1 << 20
	s, h, _ := serve(t, cfg, mini(t))
	v1 := []byte(`{"input":[0.1,0.9]}`)
	body := []byte(`{"inputs":[{"name":"input","datatype":"FP32","shape":[1,2],"data":[0.1,0.9]}]}`)
	for _, coding := range []string{codingGzip, codingDeflate} {
		for range 3 { // readers are used again
			if w := v2Request(h, "POST", miniPath, packed(t, coding, body), "Content-Encoding", coding); w.Code != 200 {
				t.Fatalf("%s: %d %s", coding, w.Code, w.Body)
			}
			if w := v2Request(h, "POST", "/v1/predict", packed(t, coding, v1), "Content-Encoding", coding); w.Code != 200 {
				t.Fatalf("%s: %d %s", coding, w.Code, w.Body)
			}
			cut := packed(t, coding, body)
			if w := v2Request(h, "POST", miniPath, cut[:len(cut)-6], "Content-Encoding", coding); w.Code != 400 || !strings.Contains(w.Body.String(), coding) {
				t.Fatalf("cut %s: %d %s", coding, w.Code, w.Body)
			}
			if w := v2Request(h, "POST", miniPath, body, "Content-Encoding", coding); w.Code != 400 || !strings.Contains(w.Body.String(), coding) {
				t.Fatalf("no %s: %d %s", coding, w.Code, w.Body)
			}
		}
		bomb := packed(t, coding, bytes.Repeat([]byte(" "), 64<<20))
		if w := v2Request(h, "POST", miniPath, bomb, "Content-Encoding", coding); w.Code != 413 || !strings.Contains(w.Body.String(), "1048576") {
			t.Errorf("bomb of %d bytes: %d %s", len(bomb), w.Code, w.Body)
		}
	}
	if w := v2Request(h, "POST", miniPath, body, "Content-Encoding", "br"); w.Code != 415 || !strings.Contains(w.Body.String(), `"br\"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := s.Status(); got.HeldBytes != 0 || got.Arriving+got.Running != 0 || got.Buffers.InUse != 0 {
		t.Errorf("%+v", got)
	}
}

func TestLongAnswersGoOutAsGzipToThoseWhoAcceptIt(t *testing.T) {
	cfg := miniConfig()
	cfg.CompressFromBytes = 1000
	_, h, _ := serve(t, cfg, mini(t))
	rows := func(n int) []byte {
		return []byte(fmt.Sprintf(`{"inputs":[{"name":"input","datatype":"FP32","shape":[%d,2],"data":[%s0.1,0.9]}]}`, n, strings.Repeat("0.1,0.9,", n-1)))
	}
	for accept, want := range map[string]bool{"gzip": true, "deflate, gzip;q=0.5": true, "gzip;q=0": false, "gzip; q=0.0": false, "br": false, "": false} {
		w := v2Request(h, "POST", miniPath, rows(500), "Accept-Encoding", accept)
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != want || w.Code != 200 {
			t.Fatalf("%q: %d %v", accept, w.Code, w.Header())
		}
		body := w.Body.Bytes()
		if want {
			z, err := gzip.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		if a := v2Decode(t, body); len(a.Outputs[0].Data) != 500 {
			t.Errorf("%d rows", len(a.Outputs[0].Data))
		}
	}
	if w := v2Request(h, "POST", miniPath, rows(2), "Accept-Encoding", "gzip"); w.Header().Get("Content-Encoding") != "" {
		t.Errorf("a short answer too: %v", w.Header())
	}
}

func TestSampledPredictionsAreLoggedAndRedacted(t *testing.T) {
	body := []byte(`{"inputs":[{"name":"input","datatype":"FP32","shape":[2,2],"data":[null,0.9,0.1,0.9]}]}`)
	for _, values := range []bool{false, true} {
		var log bytes.Buffer
		cfg := miniConfig()
		cfg.Sample = SampleConfig{Rate: 1, Values: values}
		_, h := serveWith(t, cfg, Deps{Models: mini(t), Decode: decode, Log: slog.New(slog.NewJSONHandler(&log, nil))})
		log.Reset()
		if w := v2Request(h, "POST", miniPath, body); w.Code != 200 {
			t.Fatal(w.Body)
		}
		var line map[string]any
		if err := json.Unmarshal(log.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", log.Bytes(), err)
		}
		if line["msg"] != "prediction" || line["model"] != "loan-mini" || line["version"] != "1" || line["protocol"] != "rest" || line["rows"] != 2.0 || line["result"] != "ok" {
			t.Errorf("%v", line)
		}
		if values {
			if got := fmt.Sprintf("%.3v", line["input"]); got != "[<nil> 0.9]" || len(line["output"].([]any)) != 1 {
				t.Errorf("%v", line)
			}
		} else if line["input"] != "redacted" || line["output"] != "redacted" || strings.Contains(log.String(), ":0.9") || strings.Contains(log.String(), ",0.9") { // the time has digits, too
			t.Errorf("values are in the log: %v", line)
		}
	}
	// None is the default, and a share is a share.
	var log bytes.Buffer
	cfg := miniConfig()
	cfg.Sample.Rate = 0.5
	_, h := serveWith(t, cfg, Deps{Models: mini(t), Decode: decode, Log: slog.New(slog.NewJSONHandler(&log, nil))})
	log.Reset()
	for range 400 {
		post(h, `{"input":[0.1,0.9]}`)
	}
	if n := strings.Count(log.String(), "\n"); n < 120 || n > 280 { // eight standard deviations
		t.Errorf("%d of 400 are logged", n)
	}
}

func TestV2AnswersOfAllCasesEqualTheReference(t *testing.T) {
	_, h, _ := serve(t, DefaultConfig(), models.Repository)
	for _, c := range []struct {
		model, version, column string
	}{{"loan-default", "1", "full"}, {"loan-default", "2", "v2"}, {"loan-lite", "1", "lite"}} {
		rows, want := readCases(t, data+"loan-default/cases.csv", c.column, 72)
		path := "/v2/models/" + c.model + "/versions/" + c.version + "/infer"
		a := v2Decode(t, v2Request(h, "POST", path, fmt.Appendf(nil, `{"inputs":[{"name":"input","datatype":"FP32","shape":[%d,72],"data":[%s]}]}`, len(rows), strings.Join(rows, ","))).Body.Bytes())
		if a.Error != "" || len(a.Outputs[0].Data) != len(want) {
			t.Fatalf("%s: %s", c.model, a.Error)
		}
		for i, got := range a.Outputs[0].Data {
			if !(math.Abs(got-want[i]) <= 1e-6) {
				t.Fatalf("%s, row %d: %g, not %g", c.model, i, got, want[i])
			}
		}
	}
}
