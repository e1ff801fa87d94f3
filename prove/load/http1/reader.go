package http1

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrTruncated is returned by Close when the connection ended within a response.
var ErrTruncated = errors.New("the connection was closed within the answer")

// Error is a response that breaks the protocol or a limit.
type Error struct{ What string }

func (e *Error) Error() string { return "not HTTP/1.1: " + e.What }

func broken(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

type state uint8

const (
	inHead state = iota
	inBody
	inChunkSize
	inChunk
	inChunkEnd
	inTrailer
	untilClose
	complete
)

// Reader reads one response after the other. The limits may be changed between responses. It is not safe for concurrent
// use.
type Reader struct {
	MaxHeader  int   // bytes of status line and fields, trailers and chunk sizes too
	MaxBody    int64 // bytes of the body, without chunk framing
	KeepBody   bool
	KeepHeader bool

	status    int
	keepAlive bool
	noBody    bool // answer to HEAD

	state   state
	head    []byte // what of the head, of a chunk's size or of a trailer line has come so far
	fields  []byte // the head's field lines, when they are kept
	body    []byte
	gathers bool // body has been copied from several reads into own memory
	own     []byte
	left    int64 // of the body or the chunk
	read    int64 // of the body
	trailer int
	framing int64 // bytes of chunk sizes and their extensions
	interim int   // interim responses before this one
	seen    bool  // a byte of this response has come
}

// Begin makes r ready for the next response; head says that the request was a HEAD.
func (r *Reader) Begin(head bool) {
	r.status, r.keepAlive, r.noBody = 0, false, head
	r.state = inHead
	r.head, r.fields, r.own = r.head[:0], r.fields[:0], r.own[:0]
	r.body, r.gathers = nil, false
	r.left, r.read, r.trailer, r.framing, r.interim, r.seen = 0, 0, 0, 0, 0, false
}

// Status returns the status code once the head is complete.
func (r *Reader) Status() int { return r.status }

// KeepAlive tells, once the response is complete, whether the connection may be used again.
func (r *Reader) KeepAlive() bool { return r.keepAlive }

// Body returns the body when KeepBody is set. It is valid until the next call of Feed or Begin, or until the bytes
// given to Feed change.
func (r *Reader) Body() []byte { return r.body }

// Began tells whether a byte of the response has come.
func (r *Reader) Began() bool { return r.seen }

// Header returns the value of the first field of that name, case aside, when KeepHeader is set; "" when there is none.
func (r *Reader) Header(name string) string {
	rest := r.fields
	for len(rest) > 0 {
		line, after, _ := bytes.Cut(rest, crlf)
		rest = after
		if colon := bytes.IndexByte(line, ':'); colon == len(name) && equalFold(line[:colon], name) {
			return string(trim(line[colon+1:]))
		}
	}
	return ""
}

var (
	crlf    = []byte("\r\n")
	headEnd = []byte("\r\n\r\n")
)

// Feed takes what came on the connection. It returns how much of p belongs to this response, and whether that is
// complete; if so, what is left of p came unasked. After an error the connection is of no use.
func (r *Reader) Feed(p []byte) (used int, done bool, err error) {
	if len(p) > 0 {
		r.seen = true
	}
	for used < len(p) || r.state == complete {
		rest := p[used:]
		var n int
		switch r.state {
		case complete:
			return used, true, nil
		case inHead:
			n, err = r.feedHead(rest)
		case inBody, inChunk:
			n, err = r.feedBody(rest)
		case untilClose:
			n, err = len(rest), r.take(rest)
		case inChunkSize:
			n, err = r.feedLine(rest, (*Reader).chunkSize)
		case inChunkEnd:
			n, err = r.feedLine(rest, (*Reader).chunkEnd)
		case inTrailer:
			n, err = r.feedLine(rest, (*Reader).trailerLine)
		}
		if err != nil {
			return used, false, err
		}
		used += n
	}
	return used, r.state == complete, nil
}

// Close tells r that the connection has ended. done is true when that ends the response rightly.
func (r *Reader) Close() (done bool, err error) {
	switch r.state {
	case complete:
		return true, nil
	case untilClose:
		r.state = complete
		return true, nil
	}
	return false, ErrTruncated
}

// feedHead looks for the end of the head; in the usual case it is all in p and nothing is copied.
func (r *Reader) feedHead(p []byte) (int, error) {
	if len(r.head) == 0 {
		if end := bytes.Index(p, headEnd); end >= 0 {
			if end > r.MaxHeader {
				return 0, broken("a header of more than %d bytes", r.MaxHeader)
			}
			return end + len(headEnd), r.parseHead(p[:end+2])
		}
	}
	had := len(r.head)
	take := min(len(p), max(r.MaxHeader+len(headEnd)-had, 1))
	r.head = append(r.head, p[:take]...)
	if end := bytes.Index(r.head[max(had-3, 0):], headEnd); end >= 0 {
		end += max(had-3, 0)
		head := r.head[:end+2]
		used := end + len(headEnd) - had
		err := r.parseHead(head)
		r.head = r.head[:0]
		return used, err
	}
	if len(r.head) >= r.MaxHeader {
		return 0, broken("a header of more than %d bytes", r.MaxHeader)
	}
	if len(r.head) >= 5 && !bytes.HasPrefix(r.head, []byte("HTTP/")) {
		return 0, broken("an answer that begins with %.20q", r.head)
	}
	return take, nil
}

// parseHead reads status line and field lines; head ends with the CRLF of the last.
func (r *Reader) parseHead(head []byte) error {
	// HTTP/1.x SP three digits SP reason, of which the last two may be missing.
	if len(head) < 14 || !bytes.HasPrefix(head, []byte("HTTP/1.")) || head[7] != '1' && head[7] != '0' || head[8] != ' ' {
		return broken("an answer that begins with %.20q", head)
	}
	status := 0
	for _, c := range head[9:12] {
		if c < '0' || c > '9' {
			return broken("a status line that begins with %.20q", head)
		}
		status = status*10 + int(c-'0')
	}
	lineEnd := bytes.IndexByte(head, '\n')
	if status < 100 || head[12] != ' ' && head[12] != '\r' || head[lineEnd-1] != '\r' {
		return broken("a status line that begins with %.20q", head)
	}
	r.status = status
	r.keepAlive = head[7] == '1'
	length, chunked := int64(-1), false
	fields := head[lineEnd+1:]
	for rest := fields; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		line := rest[:end]
		rest = rest[end+1:]
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return broken("a header line that ends without CR: %.40q", line)
		}
		line = line[:len(line)-1]
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || !isToken(line[:colon]) || bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
			return broken("a header line such as %.40q", line)
		}
		switch name := line[:colon]; {
		case colon == len("content-length") && equalFold(name, "content-length"):
			n, ok := number(trim(line[colon+1:]), 10)
			if !ok || length >= 0 && n != length {
				return broken("a length such as %.60q", line)
			}
			length = n
		case colon == len("transfer-encoding") && equalFold(name, "transfer-encoding"):
			coding := trim(line[colon+1:])
			if chunked || !equalFold(coding, "chunked") || head[7] == '0' {
				return broken("a transfer coding that was not asked for: %.60q", line)
			}
			chunked = true
		case colon == len("connection") && equalFold(name, "connection"):
			for option := range bytes.SplitSeq(line[colon+1:], []byte(",")) {
				switch option = trim(option); {
				case equalFold(option, "close"):
					r.keepAlive = false
				case equalFold(option, "keep-alive"):
					r.keepAlive = true
				}
			}
		}
	}
	if r.KeepHeader {
		r.fields = append(r.fields[:0], fields...)
	}
	switch {
	case status == 101:
		return broken("a switch of protocols that was not asked for")
	case status < 200: // an interim response; the final one follows
		const most = 16
		if r.interim++; r.interim > most {
			return broken("more than %d interim answers", most)
		}
		r.keepAlive = false
	case r.noBody, status == 204, status == 304:
		r.state = complete
	case chunked:
		r.state = inChunkSize
		r.head = r.head[:0]
	case length == 0:
		r.state = complete
	case length > 0:
		if length > r.MaxBody {
			return broken("a body of %d bytes, more than the %d allowed", length, r.MaxBody)
		}
		r.state, r.left = inBody, length
	default:
		r.state, r.keepAlive = untilClose, false
	}
	return nil
}

func (r *Reader) feedBody(p []byte) (int, error) {
	n := int(min(int64(len(p)), r.left))
	if err := r.take(p[:n]); err != nil {
		return 0, err
	}
	if r.left -= int64(n); r.left == 0 {
		if r.state == inBody {
			r.state = complete
		} else {
			r.state = inChunkEnd
		}
	}
	return n, nil
}

// take counts a part of the body and keeps it if wanted: as it lies when it is the whole body, else copied.
func (r *Reader) take(part []byte) error {
	r.read += int64(len(part))
	if r.read > r.MaxBody {
		return broken("a body of more than %d bytes", r.MaxBody)
	}
	if !r.KeepBody {
		return nil
	}
	if !r.gathers && r.state == inBody && int64(len(part)) == r.left {
		r.body = part
		return nil
	}
	r.gathers = true
	r.own = append(r.own, part...)
	r.body = r.own
	return nil
}

// feedLine gathers a line that ends with CRLF and gives it to then, without its end.
func (r *Reader) feedLine(p []byte, then func(*Reader, []byte) error) (int, error) {
	end := bytes.IndexByte(p, '\n')
	if len(r.head) == 0 && end > 0 && end < r.MaxHeader {
		if p[end-1] != '\r' {
			return 0, broken("a line of the chunked coding without CR: %.40q", p[:end])
		}
		return end + 1, then(r, p[:end-1])
	}
	take := len(p)
	if end >= 0 {
		take = end + 1
	}
	if len(r.head)+take > r.MaxHeader {
		return 0, broken("a line of the chunked coding of more than %d bytes", r.MaxHeader)
	}
	r.head = append(r.head, p[:take]...)
	if end < 0 {
		return take, nil
	}
	line := r.head
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return 0, broken("a line of the chunked coding without CR: %.40q", line)
	}
	err := then(r, line[:len(line)-2])
	r.head = r.head[:0]
	return take, err
}

func (r *Reader) chunkSize(line []byte) error {
	// A chunk of a byte takes five around it; what is far more is extensions without end.
	if r.framing += int64(len(line)); r.framing > int64(r.MaxHeader)+16*r.read {
		return broken("%d bytes of chunk sizes around a body of %d", r.framing, r.read)
	}
	digits, _, _ := bytes.Cut(line, []byte(";")) // extensions say nothing to us
	size, ok := number(bytes.TrimRight(digits, " \t"), 16)
	if !ok {
		return broken("a chunk size such as %.40q", line)
	}
	if size > r.MaxBody {
		return broken("a chunk of %d bytes, more than the %d allowed", size, r.MaxBody)
	}
	if size == 0 {
		r.state = inTrailer
		return nil
	}
	r.state, r.left = inChunk, size
	return nil
}

func (r *Reader) chunkEnd(line []byte) error {
	if len(line) > 0 {
		return broken("a chunk that is longer than its size: %.40q", line)
	}
	r.state = inChunkSize
	return nil
}

func (r *Reader) trailerLine(line []byte) error {
	if len(line) == 0 {
		r.state = complete
		return nil
	}
	if r.trailer += len(line) + 2; r.trailer > r.MaxHeader {
		return broken("trailers of more than %d bytes", r.MaxHeader)
	}
	if colon := bytes.IndexByte(line, ':'); colon <= 0 || !isToken(line[:colon]) {
		return broken("a trailer line such as %.40q", line)
	}
	return nil
}

// number reads digits of a base; ok is false for anything else, and above 2^62.
func number(digits []byte, base int64) (n int64, ok bool) {
	if len(digits) == 0 || len(digits) > 19 {
		return 0, false
	}
	for _, c := range digits {
		var d int64
		switch {
		case c >= '0' && c <= '9':
			d = int64(c - '0')
		case base == 16 && c|0x20 >= 'a' && c|0x20 <= 'f':
			d = int64(c|0x20-'a') + 10
		default:
			return 0, false
		}
		if n > (1<<62-d)/base {
			return 0, false
		}
		n = n*base + d
	}
	return n, true
}

func trim(p []byte) []byte { return bytes.Trim(p, " \t") }

// equalFold compares with a lower-case ASCII name.
func equalFold(p []byte, lower string) bool {
	if len(p) != len(lower) {
		return false
	}
	for i, c := range p {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		l := lower[i]
		if l >= 'A' && l <= 'Z' {
			l |= 0x20
		}
		if c != l {
			return false
		}
	}
	return true
}

func isToken(p []byte) bool {
	for _, c := range p {
		if !token[c] {
			return false
		}
	}
	return true
}

// token are the characters of a field name (RFC 9110, 5.6.2).
var token = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return t
}()
