package problem

import (
	"fmt"
	"net/http"
	"time"
)

// Problem is a problem document. It is an error, so that a client can return what it read.
type Problem struct {
	Type     string // a URI that identifies the kind of problem; "" is the same as "about:blank"
	Title    string // the kind of problem in a few words; Write falls back to the text of the status
	Status   int    // the HTTP status; Write falls back to 500
	Detail   string // what is wrong with this request, and what to do about it
	Instance string // a URI that identifies this occurrence
	Code     string // what programs branch on, such as "out_of_stock"; stable

	// RetryAfter travels as the header Retry-After, in whole seconds rounded up. 0 sends none.
	RetryAfter time.Duration

	// Extensions are further members, such as "expected". Names of the members above are not written from here,
	// nor are values that encoding/json cannot marshal. Numbers are read as float64.
	Extensions map[string]any
}

// Error returns status, code and the most specific text that there is.
func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if text == "" {
		text = http.StatusText(p.Status)
	}
	if p.Code == "" {
		return fmt.Sprintf("problem %d: %s", p.Status, text)
	}
	return fmt.Sprintf("problem %d %s: %s", p.Status, p.Code, text)
}
