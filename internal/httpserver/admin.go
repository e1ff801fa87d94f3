package httpserver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/dougong-io/dougong/internal/auth"
	"github.com/dougong-io/dougong/kit/loopback"
	"github.com/dougong-io/dougong/kit/problem"
)

// AdminDeps are what the admin server shows, beside what every server needs.
type AdminDeps struct {
	Deps
	Metrics    http.Handler              // GET /metrics; nil: 404
	Status     func(context.Context) any // GET /statusz: anything that encoding/json takes; nil: 404
	Invariants func(context.Context) any // GET /debug/invariants, likewise
}

// NewAdmin returns the server of the admin port: /metrics and health for
// anyone; /statusz, /debug/pprof/ and /debug/invariants for the role read.
//
// On a loopback listener without a tokens file everything is open to everyone
// on the machine; with one, roles count there too. On loopback a Host that is
// not (DNS rebinding) is refused in any case, and everywhere a change that a
// foreign page makes (CSRF): web pages in a browser on the machine get nowhere.
// Routes added with Handle get the same protection, and an audit line for each
// change.
func NewAdmin(cfg Config, deps AdminDeps) (*Server, error) {
	s, err := New(cfg, deps.Deps)
	if err != nil {
		return nil, err
	}
	local := cfg.onLoopback()
	s.guard = func(h http.Handler) http.Handler { return guardBrowsers(h, local) }

	if deps.Metrics != nil {
		s.HandleRoute(Route{Pattern: "GET /metrics", Handler: deps.Metrics, Quiet: true})
	}
	if deps.Status != nil {
		s.Handle("GET /statusz", auth.Read, serveDocument(deps.Status))
	}
	if deps.Invariants != nil {
		s.Handle("GET /debug/invariants", auth.Read, serveDocument(deps.Invariants))
	}
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /debug/pprof/":        pprof.Index,
		"GET /debug/pprof/cmdline": pprof.Cmdline,
		"GET /debug/pprof/profile": pprof.Profile,
		"GET /debug/pprof/symbol":  pprof.Symbol,
		"GET /debug/pprof/trace":   pprof.Trace,
	} {
		// A profile takes as long as it is asked to.
		s.HandleRoute(Route{Pattern: pattern, Role: auth.Read, Handler: h, Stream: true})
	}
	return s, nil
}

// crossOrigin lets through what does not come from a browser.
var crossOrigin = http.NewCrossOriginProtection()

// guardBrowsers refuses what only a browser that was tricked would send.
func guardBrowsers(h http.Handler, local bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local && !namesLoopback(r.Host) {
			problem.Write(w, &problem.Problem{
				Status: http.StatusForbidden, Code: "host_not_allowed",
				Detail: "this listener is on loopback and answers only to localhost or a loopback address in the Host header",
			})
			return
		}
		if crossOrigin.Check(r) != nil {
			problem.Write(w, &problem.Problem{Status: http.StatusForbidden, Code: "cross_origin", Detail: crossOriginDetail})
			return
		}
		h.ServeHTTP(w, r)
	})
}

const crossOriginDetail = "a page of another origin may not change anything here"

func namesLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return loopback.Host(host)
}

// serveDocument answers JSON to programs and text to people.
func serveDocument(document func(context.Context) any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := json.MarshalIndent(document(r.Context()), "", "  ")
		if err != nil {
			problem.Write(w, &problem.Problem{
				Status: http.StatusInternalServerError, Code: "internal",
				Detail: "the document cannot be encoded: " + err.Error(),
			})
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Vary", "Accept, User-Agent")
		if !wantsText(r) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(append(body, '\n'))
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		var v any
		dec := json.NewDecoder(strings.NewReader(string(body)))
		dec.UseNumber()
		if dec.Decode(&v) == nil { // it came from an encoder
			writeText(w, v, 0)
		}
	})
}

// wantsText: who names a text type gets text; who accepts anything gets JSON,
// unless it is a command line that a person reads.
func wantsText(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	switch {
	case strings.Contains(accept, "json"):
		return false
	case strings.Contains(accept, "text/"):
		return true
	}
	agent := r.UserAgent()
	return strings.HasPrefix(agent, "curl/") || strings.HasPrefix(agent, "Wget/")
}

// writeText writes a JSON value with one line for each leaf, keys sorted.
func writeText(w io.Writer, v any, depth int) {
	indent := strings.Repeat("  ", depth)
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		width := 0
		for k, e := range v {
			keys = append(keys, k)
			if isLeaf(e) {
				width = max(width, len(k))
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			if isLeaf(v[k]) {
				fmt.Fprintf(w, "%s%-*s  %s\n", indent, width, k, leaf(v[k]))
				continue
			}
			fmt.Fprintf(w, "%s%s\n", indent, k)
			writeText(w, v[k], depth+1)
		}
	case []any:
		for _, e := range v {
			if isLeaf(e) {
				fmt.Fprintf(w, "%s- %s\n", indent, leaf(e))
				continue
			}
			fmt.Fprintf(w, "%s-\n", indent)
			writeText(w, e, depth+1)
		}
	default:
		fmt.Fprintf(w, "%s%s\n", indent, leaf(v))
	}
}

// isLeaf tells what is written on one line: a scalar, or a list of scalars.
func isLeaf(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool {
			switch e.(type) {
			case map[string]any, []any:
				return true
			}
			return false
		})
	}
	return true
}

// nothing is what text says of a value, a list or an object that there is not; a dash begins an element of a list.
const nothing = "none"

func leaf(v any) string {
	switch v := v.(type) {
	case nil, map[string]any:
		return nothing
	case []any:
		if len(v) == 0 {
			return nothing
		}
		items := make([]string, len(v))
		for i, e := range v {
			items[i] = leaf(e)
		}
		return strings.Join(items, ", ")
	case string:
		if strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return fmt.Sprintf("%q", v)
		}
		return v
	}
	return fmt.Sprint(v)
}

// AuditEvent is one change that was asked for through an admin or release
// call, whether it was permitted (Status) or not. Name is empty when the
// caller did not have to say who it is.
type AuditEvent struct {
	Time    time.Time `json:"time"`
	Service string    `json:"service"`
	Name    string    `json:"name"`
	Tenant  string    `json:"tenant"`
	Method  string    `json:"method"`
	Route   string    `json:"route"`
	Path    string    `json:"path"`
	Status  int       `json:"status"`
	Remote  string    `json:"remote"`
	TraceID string    `json:"trace_id"`
}

// log writes the event whatever the level of the log is: it goes past the
// question whether the handler is enabled.
func (e AuditEvent) log(l *slog.Logger) error {
	r := slog.NewRecord(e.Time, slog.LevelInfo, "audit", 0)
	r.AddAttrs(slog.String("service", e.Service), slog.String("caller", e.Name), slog.String("tenant", e.Tenant),
		slog.String("method", e.Method), slog.String("route", e.Route), slog.String("path", e.Path),
		slog.Int("status", e.Status), slog.String("remote", e.Remote), slog.String("trace_id", e.TraceID))
	return l.Handler().Handle(context.Background(), r)
}
