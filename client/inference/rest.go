package inferenceclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// headerLength is the header of the binary tensor extension: the length of the JSON in front of the tensors.
const headerLength = "Inference-Header-Content-Length"

const (
	userAgent     = "dougong-inferenceclient"
	maxErrorBody  = 64 << 10
	maxKeptBuffer = 1 << 20
)

// restWire speaks HTTP/1.1 with one server. It uses the transport as it is: no redirects, which could carry a token
// away, and no cookies.
type restWire struct {
	transport *http.Transport
	base      url.URL
	prefix    string // path of the base, escaped
	max       int64
	buffers   sync.Pool // of *bytes.Buffer, for answers
	answered  atomic.Bool
}

func newRESTWire(u *url.URL, cfg *Config, p *parts) *restWire {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: cfg.Timeout}).DialContext,
		TLSClientConfig:        p.tls.Clone(),
		TLSHandshakeTimeout:    cfg.Timeout,
		MaxConnsPerHost:        cfg.MaxConns,
		MaxIdleConnsPerHost:    cfg.MaxConns,
		IdleConnTimeout:        cfg.IdleTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	if p.dial != nil {
		t.Proxy, t.DialContext = nil, p.dial
	}
	return &restWire{transport: t, base: *u, prefix: strings.TrimSuffix(u.EscapedPath(), "/"), max: cfg.MaxResponseBytes}
}

func (w *restWire) close() error {
	w.transport.CloseIdleConnections()
	return nil
}

func (w *restWire) infer(ctx context.Context, h *head, m *message) (*Response, *Error) {
	header := make(http.Header, 8)
	header["Content-Type"] = []string{"application/json"}
	if m.header >= 0 {
		header["Content-Type"] = []string{"application/octet-stream"}
		header[headerLength] = []string{strconv.Itoa(m.header)}
	}
	a, failed := w.send(ctx, h, http.MethodPost, modelPath(m.model, m.version)+"/infer", header, m.body)
	if failed != nil {
		return nil, failed
	}
	defer w.keep(a.body)
	if a.status != http.StatusOK {
		return nil, a.failure()
	}
	length, err := a.headerLength()
	if err != nil {
		return nil, malformed("%w", err)
	}
	r, err := parseAnswer(a.body.Bytes(), length)
	switch {
	case err != nil:
		return nil, malformed("%w", err)
	case r.ID != m.id && m.id != "" && r.ID != "":
		return nil, malformed("the id is %.64q, and %.64q was asked", r.ID, m.id)
	}
	r.Queue, r.Compute = parseTiming(strings.Join(a.header["Server-Timing"], ","))
	return r, nil
}

func (w *restWire) live(ctx context.Context, h *head) (bool, *Error) {
	return w.yes(ctx, h, "/v2/health/live")
}

func (w *restWire) ready(ctx context.Context, h *head) (bool, *Error) {
	return w.yes(ctx, h, "/v2/health/ready")
}

func (w *restWire) modelReady(ctx context.Context, h *head, model, version string) (bool, *Error) {
	return w.yes(ctx, h, modelPath(model, version)+"/ready")
}

// yes asks what is answered by the status, or by the body: servers differ.
func (w *restWire) yes(ctx context.Context, h *head, path string) (bool, *Error) {
	a, failed := w.send(ctx, h, http.MethodGet, path, make(http.Header, 4), nil)
	if failed != nil {
		return false, failed
	}
	defer w.keep(a.body)
	switch a.status {
	case http.StatusOK:
		said := struct{ Live, Ready *bool }{}
		if json.Unmarshal(a.body.Bytes(), &said) != nil { // Triton's body is empty
			return true, nil
		}
		return (said.Live == nil || *said.Live) && (said.Ready == nil || *said.Ready), nil
	case http.StatusServiceUnavailable:
		return false, nil
	}
	return false, a.failure()
}

func (w *restWire) metadata(ctx context.Context, h *head) (*ServerMetadata, *Error) {
	m := new(ServerMetadata)
	return m, w.get(ctx, h, "/v2", m)
}

func (w *restWire) modelMetadata(ctx context.Context, h *head, model, version string) (*ModelMetadata, *Error) {
	m := new(ModelMetadata)
	return m, w.get(ctx, h, modelPath(model, version), m)
}

func (w *restWire) get(ctx context.Context, h *head, path string, into any) *Error {
	a, failed := w.send(ctx, h, http.MethodGet, path, make(http.Header, 4), nil)
	if failed != nil {
		return failed
	}
	defer w.keep(a.body)
	if a.status != http.StatusOK {
		return a.failure()
	}
	if err := json.Unmarshal(a.body.Bytes(), into); err != nil {
		return malformed("%w", err)
	}
	return nil
}

// modelPath is escaped.
func modelPath(model, version string) string {
	path := "/v2/models/" + url.PathEscape(model)
	if version != "" {
		path += "/versions/" + url.PathEscape(version)
	}
	return path
}

// answer is one that came whole.
type answer struct {
	status int
	header http.Header
	body   *bytes.Buffer
}

// send makes one exchange. The body of the request may still be read when it has returned.
func (w *restWire) send(ctx context.Context, h *head, method, path string, header http.Header, body []byte) (answer, *Error) {
	u := w.base
	escaped := w.prefix + path
	u.Path, u.RawPath = escaped, ""
	if strings.Contains(escaped, "%") {
		var err error
		if u.Path, err = url.PathUnescape(escaped); err != nil {
			return answer{}, invalid("path %.128q: %w", escaped, err)
		}
		u.RawPath = escaped
	}
	header["User-Agent"] = []string{userAgent}
	header["X-Request-Id"] = []string{h.id}
	if deadline, ok := ctx.Deadline(); ok {
		left := max(time.Until(deadline).Truncate(time.Microsecond), time.Microsecond)
		header["X-Request-Timeout"] = []string{left.String()}
	}
	if h.token != "" {
		header["Authorization"] = []string{"Bearer " + h.token}
	}
	for i := 0; i < len(h.others); i += 2 {
		header.Add(h.others[i], h.others[i+1])
	}
	r := &http.Request{Method: method, URL: &u, Host: u.Host, Header: header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	if body != nil {
		r.ContentLength = int64(len(body))
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	resp, err := w.transport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return answer{}, unreached(ctx, err, w.answered.Load())
	}
	if !w.answered.Load() {
		w.answered.Store(true)
	}
	defer resp.Body.Close()
	most := w.max
	if resp.StatusCode != http.StatusOK {
		most = min(most, maxErrorBody)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: w.buffer()}
	n, err := a.body.ReadFrom(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil && a.status == http.StatusOK: // half an answer is none
		w.keep(a.body)
		return answer{}, broken(ctx, fmt.Errorf("the answer broke off after %d bytes: %w", n, err))
	case n > most && a.status == http.StatusOK:
		w.keep(a.body)
		return answer{}, &Error{Kind: ErrTooLarge, cause: fmt.Errorf("the answer has more than %d bytes (max_response_bytes)", most)}
	case a.header.Get("Content-Encoding") != "" && a.header.Get("Content-Encoding") != "identity":
		w.keep(a.body)
		return answer{}, malformed("content encoding %.32q, which was not asked for", a.header.Get("Content-Encoding"))
	}
	return a, nil
}

func (w *restWire) buffer() *bytes.Buffer {
	if b, ok := w.buffers.Get().(*bytes.Buffer); ok {
		return b
	}
	return new(bytes.Buffer)
}

func (w *restWire) keep(b *bytes.Buffer) {
	if b.Cap() <= maxKeptBuffer {
		b.Reset()
		w.buffers.Put(b)
	}
}

// headerLength is the length of the JSON in the answer, -1 for all of it.
func (a *answer) headerLength() (int, error) {
	values := a.header[headerLength]
	if len(values) == 0 {
		return -1, nil
	}
	n, err := strconv.ParseUint(values[0], 10, 31)
	if err != nil || len(values) > 1 {
		return 0, fmt.Errorf("header %s is %.64q", headerLength, values)
	}
	return int(n), nil
}
