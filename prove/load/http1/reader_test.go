package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func newReader() *Reader {
	return &Reader{MaxHeader: 4096, MaxBody: 1 << 20, KeepBody: true, KeepHeader: true}
}

// feed gives text in pieces of a size, each in memory that changes afterwards, then closes if asked to.
func feed(r *Reader, text string, size int, end bool) (body string, done bool, err error) {
	rest := text
	for len(rest) > 0 && !done && err == nil {
		n := min(size, len(rest))
		piece := []byte(rest[:n])
		var used int
		used, done, err = r.Feed(piece)
		if done {
			body = string(r.Body())
		}
		if err == nil && used < n && !done {
			return "", false, fmt.Errorf("took %d of %d bytes and was not done", used, n)
		}
		for i := range piece {
			piece[i] = '#'
		}
		rest = rest[n:]
	}
	if end && !done && err == nil {
		if done, err = r.Close(); done {
			body = string(r.Body())
		}
	}
	return body, done, err
}

var good = map[string]struct {
	text   string
	head   bool // answers a HEAD
	closes bool // the body ends with the connection
	status int
	body   string
	keep   bool
}{
	"length":              {text: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", status: 200, body: "hello", keep: true},
	"no reason":           {text: "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", status: 200, keep: true},
	"empty reason":        {text: "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", status: 404, keep: true},
	"odd case and spaces": {text: "HTTP/1.1 200 OK\r\ncONTENT-lENGTH: \t2 \r\nX:\r\n\r\nok", status: 200, body: "ok", keep: true},
	"same length twice":   {text: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok", keep: true},
	"connection close":    {text: "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok"},
	"HTTP/1.0":            {text: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok"},
	"HTTP/1.0 keep-alive": {text: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok", keep: true},
	"chunked":             {text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;ext=1\r\n0123456789\r\n0\r\n\r\n", status: 200, body: "hello0123456789", keep: true},
	"chunked, trailer":    {text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n00\r\nA: b\r\nC: d\r\n\r\n", status: 200, body: "x", keep: true},
	"chunked wins":        {text: "HTTP/1.1 200 OK\r\nContent-Length: 900\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 200, keep: true},
	"until close":         {text: "HTTP/1.1 200 OK\r\n\r\nall of it", closes: true, status: 200, body: "all of it"},
	"until close, empty":  {text: "HTTP/1.1 200 OK\r\n\r\n", closes: true, status: 200},
	"no content":          {text: "HTTP/1.1 204 No Content\r\n\r\n", status: 204, keep: true},
	"not modified":        {text: "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", status: 304, keep: true},
	"head":                {text: "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", head: true, status: 200, keep: true},
	"after interim":       {text: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!", status: 200, body: "!", keep: true},
}

func TestAnswersAreReadInPiecesOfAnySize(t *testing.T) {
	for name, test := range good {
		t.Run(name, func(t *testing.T) {
			for size := 1; size <= len(test.text); size++ {
				r := newReader()
				for round := range 2 { // a reader is used again and again
					r.Begin(test.head)
					if r.Began() {
						t.Fatal("began before a byte came")
					}
					body, done, err := feed(r, test.text, size, test.closes)
					if err != nil || !done || body != test.body || r.Status() != test.status || r.KeepAlive() != test.keep {
						t.Fatalf("pieces of %d, round %d: status %d body %q keep-alive %v done %v: %v", size, round, r.Status(), body, r.KeepAlive(), done, err)
					}
				}
			}
		})
	}
}

func TestWhatFollowsAnAnswerIsLeft(t *testing.T) {
	r := newReader()
	r.Begin(false)
	first := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	used, done, err := r.Feed([]byte(first + "HTTP/1.1 500"))
	if used != len(first) || !done || err != nil {
		t.Errorf("used %d of %d, done %v, %v", used, len(first), done, err)
	}
}

func TestBrokenAnswersAreRefused(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, test := range map[string]struct{ text, want string }{
		"garbage":              {"SSH-2.0-OpenSSH_9.2\r\n", "begins with"},
		"garbage, no line end": {strings.Repeat("\x00", 100), "begins with"},
		"http/2":               {"HTTP/2.0 200 OK\r\n\r\n", "begins with"},
		"status letters":       {"HTTP/1.1 2x0 OK\r\n\r\n", "status line"},
		"status too long":      {"HTTP/1.1 2000 OK\r\n\r\n", "status line"},
		"status 099":           {"HTTP/1.1 099 OK\r\n\r\n", "status line"},
		"bare newline":         {"HTTP/1.1 200 OK\nContent-Length: 0\n\n" + strings.Repeat("\r\n", 2), "status line"},
		"no colon":             {"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "header line"},
		"folded":               {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "header line"},
		"space before colon":   {"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "header line"},
		"NUL":                  {"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n", "header line"},
		"negative length":      {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "length"},
		"length of letters":    {"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n", "length"},
		"two lengths":          {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "length"},
		"huge length":          {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "length"},
		"body over limit":      {"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n", "more than the"},
		"gzip coding":          {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "transfer coding"},
		"chunked twice":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer coding"},
		"chunked HTTP/1.0":     {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer coding"},
		"switching":            {"HTTP/1.1 101 Switching Protocols\r\n\r\n", "switch of protocols"},
		"endless header":       {"HTTP/1.1 200 OK\r\nA: " + long, "header of more than"},
		"large header":         {"HTTP/1.1 200 OK\r\nA: " + long + "\r\n\r\n", "header of more than"},
		"chunk size":           {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunk size"},
		"chunk size empty":     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", "chunk size"},
		"chunk too large":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFF\r\n", "more than the"},
		"endless extensions":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+long[:2000]+"\r\nx\r\n", 10), "chunk sizes around"},
		"endless interim":      {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 20), "interim"},
		"chunk longer":         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", "longer than its size"},
		"endless chunk line":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + long, "line of the chunked coding"},
		"endless trailer":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("A: b\r\n", 1000), "trailers of more than"},
		"trailer garbage":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n???\x01\r\n\r\n", "trailer line"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 3, 100, len(test.text)} {
				r := newReader()
				r.Begin(false)
				_, done, err := feed(r, test.text, size, false)
				var broken *Error
				if done || !errors.As(err, &broken) || !strings.Contains(err.Error(), test.want) {
					t.Errorf("pieces of %d: done %v, %v; want %q", size, done, err, test.want)
				}
			}
		})
	}
}

func TestEveryCutIsNoticed(t *testing.T) {
	for name, test := range good {
		for cut := range len(test.text) {
			r := newReader()
			r.Begin(test.head)
			_, done, err := feed(r, test.text[:cut], 7, true)
			whole := test.closes && cut >= strings.Index(test.text, "\r\n\r\n")+4
			if done != whole || !whole && !errors.Is(err, ErrTruncated) {
				t.Errorf("%s cut after %d bytes: done %v, %v", name, cut, done, err)
			}
		}
	}
}

func TestHeaderIsFoundWhateverItsCase(t *testing.T) {
	r := newReader()
	r.Begin(false)
	if _, _, err := feed(r, "HTTP/1.1 200 OK\r\nX-One:  a b \r\nx-two: c\r\nContent-Length: 0\r\n\r\n", 9, false); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"x-one": "a b", "X-ONE": "a b", "X-Two": "c", "x-three": "", "": ""} {
		if have := r.Header(name); have != want {
			t.Errorf("%s: have %q, want %q", name, have, want)
		}
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"ok\":\"yes!\"}")
	r := newReader()
	if n := testing.AllocsPerRun(1000, func() {
		r.Begin(false)
		if _, done, err := r.Feed(answer); !done || err != nil {
			t.Fatal(done, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations an answer", n)
	}
}

// FuzzFeed holds the reader against itself in pieces, and against net/http where both read an answer.
func FuzzFeed(f *testing.F) {
	for _, test := range good {
		f.Add([]byte(test.text), byte(3))
	}
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello"), byte(1))
	f.Fuzz(func(t *testing.T, data []byte, size byte) {
		whole, pieces := newReader(), newReader()
		whole.Begin(false)
		pieces.Begin(false)
		body, done, err := feed(whole, string(data), len(data)+1, true)
		body2, done2, err2 := feed(pieces, string(data), int(size)+1, true)
		if done != done2 || (err == nil) != (err2 == nil) && !tooLarge(err) && !tooLarge(err2) {
			t.Fatalf("whole: %v %v; in pieces of %d: %v %v", done, err, int(size)+1, done2, err2)
		}
		if done && (body != body2 || whole.Status() != pieces.Status() || whole.KeepAlive() != pieces.KeepAlive()) {
			t.Fatalf("whole %d %q, in pieces %d %q", whole.Status(), body, pieces.Status(), body2)
		}
		if !done {
			return
		}
		theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data)), nil)
		if err != nil || theirs.StatusCode < 200 || theirs.StatusCode != whole.Status() {
			return // one of the two is stricter; interim answers are ours to skip
		}
		read, err := io.ReadAll(theirs.Body)
		if err == nil && string(read) != body {
			t.Fatalf("net/http reads %q, we %q", read, body)
		}
	})
}

// tooLarge: where a limit strikes may depend on how the bytes come.
func tooLarge(err error) bool { return err != nil && strings.Contains(err.Error(), "more than") }

func BenchmarkFeed(b *testing.B) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Mon, 02 Jan 2026 00:00:00 GMT\r\nContent-Length: 13\r\n\r\n{\"ok\":\"yes!\"}")
	b.ReportAllocs()
	r := newReader()
	r.KeepHeader = false
	for b.Loop() {
		r.Begin(false)
		if _, done, err := r.Feed(answer); !done || err != nil {
			b.Fatal(done, err)
		}
	}
}
