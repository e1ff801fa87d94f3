package inference

import (
	"context"
	"encoding/csv"
	"io/fs"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/dougong-io/dougong/examples/models"
	"github.com/dougong-io/dougong/internal/config"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/lifecycle"
)

func decode(file string, data []byte, into any) error { return config.Decode(file, data, into) }

// counts is an Observer that remembers.
type counts struct {
	mu   sync.Mutex
	seen map[string]int // "model/version result" → requests
	rows int
}

func (c *counts) Version(model, version string) VersionObserver {
	return versionCounts{c, model + "/" + version}
}

func (v versionCounts) Begin() {}

func (v versionCounts) FellBack(by, reason string) {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	v.all.seen[v.name+" by "+by+" "+reason]++
}

type versionCounts struct {
	all  *counts
	name string
}

func (v versionCounts) Predicted(result Result, rows int, _ time.Duration) {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	v.all.seen[v.name+" "+result.String()]++
	v.all.rows += rows
}

func (c *counts) of(key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[key]
}

// serve runs a service on a repository and returns a mux with its routes.
func serve(t testing.TB, cfg Config, repo fs.FS) (*Service, http.Handler, *counts) {
	t.Helper()
	seen := &counts{seen: map[string]int{}}
	s, h := serveWith(t, cfg, Deps{Models: repo, Decode: decode, Observer: seen})
	return s, h, seen
}

// serveWith does so with other dependencies.
func serveWith(t testing.TB, cfg Config, deps Deps) (*Service, http.Handler) {
	t.Helper()
	s, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	s.Register(func(pattern, role string, h http.Handler) {
		want := "read"
		switch {
		case strings.HasPrefix(pattern, "/"), pattern == "GET /v2", pattern == "GET /v2/{$}", strings.HasPrefix(pattern, "GET /v2/health/"):
			want = ""
		case strings.HasPrefix(pattern, "POST /v2/repository/models/"), strings.HasPrefix(pattern, "DELETE "):
			want = "release"
		}
		if role != want {
			t.Errorf("%s asks for role %q, not %q", pattern, role, want)
		}
		mux.Handle(pattern, h)
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	state, err := s.Lifecycle().Wait(context.Background(), func(s lifecycle.State) bool { return s != lifecycle.Initializing })
	if err != nil || state != lifecycle.Ready {
		t.Fatalf("state %v, %v: %v", state, err, s.Lifecycle().Status().Cause)
	}
	return s, mux
}

// demo serves the embedded models.
func demo(t testing.TB) (*Service, http.Handler, *counts) {
	return serve(t, DefaultConfig(), models.Repository)
}

// mini is the part of the demo that is quick to load.
func mini(t testing.TB) fs.FS {
	t.Helper()
	repo := fstest.MapFS{}
	for _, name := range []string{"loan-mini/policy.yaml", "loan-mini/1/model.yaml", "loan-mini/1/model.json"} {
		data, err := fs.ReadFile(models.Repository, name)
		if err != nil {
			t.Fatal(err)
		}
		repo[name] = &fstest.MapFile{Data: data}
	}
	return repo
}

func miniConfig() Config {
	cfg := DefaultConfig()
	cfg.Repository, cfg.Slots = "test", 2
	return cfg
}

func post(h http.Handler, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/v1/predict", strings.NewReader(body)))
	return w
}

// readCases returns the rows of a cases.csv as JSON arrays, and a column of reference answers.
func readCases(t testing.TB, file, column string, features int) (rows []string, answers []float64) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := -1
	for i, name := range records[0] {
		if name == column {
			at = i
		}
	}
	for _, record := range records[1:] {
		cells := make([]string, features)
		for i := range cells {
			if cells[i] = record[i]; cells[i] == "" {
				cells[i] = "null"
			}
		}
		v, err := strconv.ParseFloat(record[at], 64)
		if err != nil || math.IsNaN(v) {
			t.Fatal(record[at], err)
		}
		rows, answers = append(rows, "["+strings.Join(cells, ",")+"]"), append(answers, v)
	}
	return rows, answers
}

// newFaults is a set without rules, which takes such as do not expire.
func newFaults(t testing.TB) *fault.Set {
	t.Helper()
	cfg := fault.DefaultConfig()
	cfg.Ceiling.Lifetime = fault.Forever
	set, err := fault.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set
}
