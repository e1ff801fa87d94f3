package problem

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

const mediaType = "application/problem+json"

// Header values that are the same in every answer; sharing them saves an allocation each. They have no spare
// capacity, so that Header.Add copies them.
var (
	contentType  = []string{mediaType}
	cacheControl = []string{"no-store"}
	contentSniff = []string{"nosniff"}
)

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// maxPooled keeps one huge answer from staying in memory for ever.
const maxPooled = 64 << 10

// Write answers a request with p. The headers that describe another body (length, encoding, validators) are
// removed. It must be called before anything else was written; nothing must be written after it.
//
// A server that wants to know the code, for its access log, gives its ResponseWriter a method
// ProblemCode(code string). Write calls it before anything else if the problem has a code, on w or on the
// first writer with that method behind w's Unwrap() http.ResponseWriter, as [http.ResponseController] would.
//
// A write that fails is not reported: the client is gone, and there is no one else to tell.
func Write(w http.ResponseWriter, p *Problem) {
	buf := buffers.Get().(*[]byte)
	*buf = appendProblem((*buf)[:0], p)
	writeBody(w, p, contentType, *buf)
	if cap(*buf) <= maxPooled {
		buffers.Put(buf)
	}
}

// WriteBody is Write for a protocol whose errors have a form of their own: status, header fields and what is told of the
// code are those of Write, the body is the caller's.
func WriteBody(w http.ResponseWriter, p *Problem, form string, body []byte) {
	writeBody(w, p, []string{form}, body)
}

func writeBody(w http.ResponseWriter, p *Problem, form []string, body []byte) {
	if p.Code != "" {
		tellCode(w, p.Code)
	}
	h := w.Header()
	h.Del("Content-Length")
	h.Del("Content-Encoding")
	h.Del("Etag")
	h.Del("Last-Modified")
	h["Content-Type"] = form
	h["Cache-Control"] = cacheControl
	h["X-Content-Type-Options"] = contentSniff
	if p.RetryAfter > 0 {
		h["Retry-After"] = []string{strconv.FormatInt(wholeSeconds(p.RetryAfter), 10)}
	}
	w.WriteHeader(statusOf(p))
	_, _ = w.Write(body)
}

func tellCode(w http.ResponseWriter, code string) {
	for {
		switch v := w.(type) {
		case interface{ ProblemCode(code string) }:
			v.ProblemCode(code)
			return
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return
		}
	}
}

// wholeSeconds rounds up: a client that comes a little too early is only refused again.
func wholeSeconds(d time.Duration) int64 {
	seconds := int64(d / time.Second)
	if d%time.Second > 0 {
		seconds++
	}
	return seconds
}

// statusOf returns a status that net/http accepts and that is not a success.
func statusOf(p *Problem) int {
	if p.Status < 400 || p.Status > 599 {
		return http.StatusInternalServerError
	}
	return p.Status
}

// appendProblem appends p as JSON, the members of RFC 9457 first.
func appendProblem(b []byte, p *Problem) []byte {
	title := p.Title
	if title == "" {
		title = http.StatusText(statusOf(p))
	}
	b = append(b, `{"status":`...)
	b = strconv.AppendInt(b, int64(statusOf(p)), 10)
	b = appendMember(b, "type", p.Type)
	b = appendMember(b, "title", title)
	b = appendMember(b, "detail", p.Detail)
	b = appendMember(b, "instance", p.Instance)
	b = appendMember(b, "code", p.Code)
	if len(p.Extensions) > 0 {
		b = appendExtensions(b, p.Extensions)
	}
	return append(b, '}', '\n')
}

func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendString(b, value)
}

func appendExtensions(b []byte, extensions map[string]any) []byte {
	for _, name := range slices.Sorted(maps.Keys(extensions)) {
		if isReserved(name) {
			continue
		}
		value, err := json.Marshal(extensions[name])
		if err != nil {
			continue
		}
		b = append(b, ',')
		b = appendString(b, name)
		b = append(b, ':')
		b = append(b, value...)
	}
	return b
}

func isReserved(name string) bool {
	switch name {
	case "type", "title", "status", "detail", "instance", "code":
		return true
	}
	return false
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD, as RFC 8259 section 8.1
// allows nothing else; <, > and & are escaped in case a browser takes the answer for HTML all the same.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	plain := 0 // s[plain:i] needs no escape and was not appended yet
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(b, s[plain:i]...)
				b = append(b, `\ufffd`...)
				plain = i + 1
			}
			i += size
			continue
		}
		if c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0x7f {
			b = append(b, s[plain:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
			}
			plain = i + 1
		}
		i++
	}
	b = append(b, s[plain:]...)
	return append(b, '"')
}
