package httpmw

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/fallback"
)

// ServedByHeader is in answers that a [Fallback] gave: "cached", together with Age, or "default".
const ServedByHeader = "X-Dougong-Served-By"

// FallbackOptions say which answers are kept, and for what. The zero value, with a Config, suits public pages.
type FallbackOptions struct {
	Config  fallback.Config // Bytes of 0 is 64 MiB here: headers and bodies
	MaxBody int64           // the largest body that is kept, in bytes; 0: 1 MiB

	// Key names what a request asks for, and reports whether an old answer may be given to it. nil: [PublicKey]. Requests
	// with one key get each other's answers: who asks must be part of it if that matters, and what they accept.
	Key func(*http.Request) (string, bool)

	// Default answers when nothing is kept. cause is the error, or says which status came. The body must not need the
	// context of r, which ends with the call of Default. nil: nobody does.
	Default func(r *http.Request, cause error) (*http.Response, error)

	Observer fallback.Observer
}

const (
	defaultFallbackBytes = 64 << 20
	defaultMaxBody       = 1 << 20
)

// Fallback keeps the last good answers to GET requests, and gives them in place of an error of the transport, of a
// refusal, of an answer that counts as a failure, and of a body that breaks off. This type is concurrency safe.
//
// Kept are answers of status 200 up to MaxBody bytes that their server lets others keep, and give again when they are
// old (RFC 9111, section 4.2.4: no private, no-store, no-cache, must-revalidate, proxy-revalidate or s-maxage; no
// Set-Cookie; a Vary of Accept, Accept-Encoding and Accept-Language at most), and that are no streams by their type.
// For these the body is read before RoundTrip returns. All others pass as they are.
type Fallback struct {
	pages   *fallback.Fallback[string, *page]
	maxBody int64
	key     func(*http.Request) (string, bool)
}

// page is an answer: one that can be given again, or one that is on its way.
type page struct {
	head http.Response // without a body
	body []byte
	live *http.Response
}

// NewFallback returns a fallback, or what is wrong with its Config.
func NewFallback(o FallbackOptions) (*Fallback, error) {
	if o.Config.Bytes == 0 {
		o.Config.Bytes = defaultFallbackBytes
	}
	f := &Fallback{maxBody: o.MaxBody, key: o.Key}
	if f.maxBody <= 0 {
		f.maxBody = defaultMaxBody
	}
	if f.key == nil {
		f.key = PublicKey
	}
	opts := []fallback.Option[string, *page]{fallback.WithSize(sizeOf)}
	if o.Observer != nil {
		opts = append(opts, fallback.WithObserver[string, *page](o.Observer))
	}
	if o.Default != nil {
		opts = append(opts, fallback.WithDefault(func(ctx context.Context, _ string, cause error) (*page, error) {
			r := ctx.Value(requestKey{}).(*http.Request)
			resp, err := o.Default(r.WithContext(ctx), cause)
			if err != nil {
				return nil, err
			}
			return &page{live: resp}, nil
		}))
	}
	var err error
	if f.pages, err = fallback.New(o.Config, opts...); err != nil {
		return nil, fmt.Errorf("httpmw: %w", err)
	}
	return f, nil
}

// Snapshot is what the fallback says about itself.
func (f *Fallback) Snapshot() fallback.Snapshot { return f.pages.Snapshot() }

// Forget removes the last good answer to a request.
func (f *Fallback) Forget(r *http.Request) {
	if key, ok := f.key(r); ok {
		f.pages.Forget(key)
	}
}

var (
	keyHeaders = []string{"Accept", "Accept-Encoding", "Accept-Language"}

	// harmless headers say nothing of who asks nor of what is asked for.
	harmless = []string{"Connection", "Traceparent", "Tracestate", "User-Agent", "X-Request-Id"}
)

// PublicKey is the URL and the headers Accept, Accept-Encoding and Accept-Language, of a GET request with no other
// header than these and Connection, Traceparent, Tracestate, User-Agent and X-Request-Id. With any other it has no key,
// since nobody knows which of them say who asks, so that an answer never goes to someone whose it is not; nor has
// test traffic, which shall see what it tests. What the transport beneath adds is not seen here: if that differs by
// caller, it needs a Key that says so.
func PublicKey(r *http.Request) (string, bool) {
	if r.Method != http.MethodGet && r.Method != "" || r.URL.User != nil {
		return "", false
	}
	for name := range r.Header { // one that is spelt oddly is none of them
		if !slices.Contains(keyHeaders, name) && !slices.Contains(harmless, name) {
			return "", false
		}
	}
	var b strings.Builder
	b.WriteString(r.URL.String())
	if r.Host != "" && r.Host != r.URL.Host {
		b.WriteByte('\n')
		b.WriteString(r.Host)
	}
	for _, name := range keyHeaders {
		b.WriteByte('\n')
		b.WriteString(strings.Join(r.Header[name], ","))
	}
	return b.String(), true
}

// requestKey finds the request in the context of a default.
type requestKey struct{}

// failure is an answer that counts as a failure. It is given after all if there is nothing better.
type failure struct{ resp *http.Response }

func (f *failure) Error() string { return "httpmw: " + f.resp.Status }

func (f *Fallback) roundTrip(t *Transport, r *http.Request) (*http.Response, error) {
	key, ok := f.key(r)
	if !ok || r.Body != nil && r.Body != http.NoBody {
		return t.try(r)
	}
	ctx := context.WithValue(r.Context(), requestKey{}, r)
	result, err := f.pages.Do(ctx, key, func(ctx context.Context) (*page, error) { return f.fetch(ctx, t, r) })
	if err != nil {
		if bad, ok := errors.AsType[*failure](err); ok {
			bad.resp.Request = r
			return bad.resp, nil
		}
		return nil, err
	}
	if bad, ok := errors.AsType[*failure](result.Err); ok {
		bad.resp.Body.Close()
	}
	resp := result.Value.response(r)
	if result.Source == fallback.Primary && result.Value.live != nil && resp.StatusCode != http.StatusNotModified {
		f.pages.Forget(key) // what was kept is not what the server says now
	}
	switch result.Source {
	case fallback.Cached:
		resp.Header.Set("Age", strconv.FormatInt(int64(result.Age.Seconds()), 10))
		resp.Header.Set(ServedByHeader, string(fallback.Cached))
	case fallback.Default:
		resp.Header.Set(ServedByHeader, string(fallback.Default))
	}
	return resp, nil
}

// fetch makes the call. What it returns may outlive ctx, which ends with the call of this function: so the request
// has a context of its own, which follows ctx until the answer is handed on.
func (f *Fallback) fetch(ctx context.Context, t *Transport, r *http.Request) (*page, error) {
	own, cancel := context.WithCancelCause(r.Context())
	stop := context.AfterFunc(ctx, func() { cancel(ctx.Err()) })
	passed := false
	defer func() {
		if stop(); !passed {
			cancel(nil)
		}
	}()
	resp, err := t.try(r.WithContext(own))
	if err != nil {
		return nil, err
	}
	pass := func(rest io.Reader) *http.Response {
		passed = true
		if resp.StatusCode != http.StatusSwitchingProtocols { // whose body is written to, and whose context ends it no more
			resp.Body = &passedOn{rest, resp.Body, cancel}
		}
		return resp
	}
	switch {
	case t.outcome(resp, nil) == breaker.Failure:
		return nil, &failure{pass(resp.Body)}
	case !f.keeps(resp):
		return &page{live: pass(resp.Body)}, nil
	}
	var read bytes.Buffer
	if resp.ContentLength > 0 {
		read.Grow(int(resp.ContentLength) + bytes.MinRead)
	}
	if _, err := io.Copy(&read, io.LimitReader(resp.Body, f.maxBody+1)); err != nil {
		resp.Body.Close()
		return nil, fmt.Errorf("httpmw: read the answer to GET %s: %w", r.URL.Redacted(), err)
	}
	if int64(read.Len()) > f.maxBody {
		return &page{live: pass(io.MultiReader(&read, resp.Body))}, nil
	}
	resp.Body.Close()
	p := &page{head: *resp, body: read.Bytes()}
	p.head.Body, p.head.Request, p.head.TLS, p.head.Header = nil, nil, nil, resp.Header.Clone()
	p.head.Trailer = maps.Clone(resp.Trailer)
	p.head.ContentLength, p.head.TransferEncoding = int64(len(p.body)), nil
	return p, nil
}

// passedOn is the body of an answer that is not kept.
type passedOn struct {
	io.Reader
	io.Closer
	cancel context.CancelCauseFunc
}

func (p *passedOn) Close() error {
	err := p.Closer.Close()
	p.cancel(nil)
	return err
}

// Read frees the context at the end too, for those who read to it and do not close.
func (p *passedOn) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if err != nil {
		p.cancel(nil)
	}
	return n, err
}

// notAgain are the directives that forbid to give an answer to others, or to give it when it is old.
var notAgain = []string{"no-store", "private", "no-cache", "must-revalidate", "proxy-revalidate", "s-maxage"}

// keeps reports whether an answer may be given again, to others.
func (f *Fallback) keeps(resp *http.Response) bool {
	h := resp.Header
	if resp.StatusCode != http.StatusOK || resp.ContentLength > f.maxBody || h["Set-Cookie"] != nil {
		return false
	}
	for _, directive := range list(h["Cache-Control"]) {
		if name, _, _ := strings.Cut(directive, "="); slices.Contains(notAgain, strings.TrimSpace(name)) {
			return false
		}
	}
	for _, name := range list(h["Vary"]) {
		if !slices.ContainsFunc(keyHeaders, func(k string) bool { return strings.EqualFold(k, name) }) {
			return false
		}
	}
	switch kind, _, _ := mime.ParseMediaType(h.Get("Content-Type")); kind {
	case "text/event-stream", "multipart/x-mixed-replace", "application/x-ndjson", "application/grpc", "application/json-seq":
		return false
	}
	return true
}

// list splits a header that is a list, in lower case.
func list(values []string) (all []string) {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.ToLower(strings.TrimSpace(part)); part != "" {
				all = append(all, part)
			}
		}
	}
	return all
}

// sizeOf is how much memory a page takes. One that is on its way is larger than anything that is kept.
func sizeOf(key string, p *page) int64 {
	if p.live != nil {
		return math.MaxInt64
	}
	size := int64(len(key) + len(p.body) + 512)
	for name, values := range p.head.Header {
		for _, v := range values {
			size += int64(len(name) + len(v) + 32)
		}
	}
	return size
}

// response is the page as an answer to r, which the caller may change.
func (p *page) response(r *http.Request) *http.Response {
	if p.live != nil {
		p.live.Request = r
		if p.live.Header == nil {
			p.live.Header = http.Header{}
		}
		if p.live.Body == nil {
			p.live.Body = http.NoBody
		}
		return p.live
	}
	resp := p.head
	resp.Request, resp.Header, resp.Trailer = r, p.head.Header.Clone(), maps.Clone(p.head.Trailer)
	resp.Body = io.NopCloser(bytes.NewReader(p.body))
	return &resp
}
