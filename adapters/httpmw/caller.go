package httpmw

import (
	"net/http"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/ramp"
)

// Caller says for whom a request is, which matters while something recovers. The zero Caller lets a share of the
// requests in at random, and believes the mark of anyone.
type Caller struct {
	// Key is that of a user, or of what else shall be let in as a whole and then stay in. "" and nil: at random.
	Key func(*http.Request) string

	// Marked reports whether a request is a test, which passes first. nil: whether it has the header x-ai-test: true.
	// Whoever may send that takes the few places of a test: in front of the public, ask who it is, or strip it.
	Marked func(*http.Request) bool
}

func (c Caller) marked(r *http.Request) bool {
	if c.Marked != nil {
		return c.Marked(r)
	}
	return ramp.Marked(r.Header)
}

// hash is that of the key, 0 if there is none: then the kit lets chance decide.
func (c Caller) hash(r *http.Request) uint64 {
	if c.Key != nil {
		if key := c.Key(r); key != "" {
			return ramp.HashString(key)
		}
	}
	return 0
}

func (c Caller) ofBreaker(r *http.Request) breaker.Call {
	return breaker.Call{Hash: c.hash(r), Marked: c.marked(r), Ctx: r.Context()}
}

func (c Caller) ofRamp(r *http.Request) ramp.Call {
	return ramp.Call{Hash: c.hash(r), Marked: c.marked(r), Ctx: r.Context()}
}

// ByPattern is the key of a breaker with a circuit for each route: the pattern of http.ServeMux that matched. It is
// "" in middleware around the mux instead of around its handlers.
func ByPattern(r *http.Request) string { return r.Pattern }

// ByHost is the key of a breaker with a circuit for each host and port that is called.
func ByHost(r *http.Request) string { return r.URL.Host }
