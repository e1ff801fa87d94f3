package inference

import (
	"context"
	"net/http"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/limit"
	"github.com/dougong-io/dougong/kit/ramp"
)

// caller is what the service knows of who calls, whatever protocol they speak.
type caller struct {
	ctx      context.Context
	tenant   string
	priority limit.Priority
	marked   bool   // as a test
	hash     uint64 // of the request's id; 0: it has none

	acceptsGzip bool
}

// callerOf reads an HTTP request's header.
func (s *Service) callerOf(r *http.Request) caller {
	c := caller{ctx: r.Context()}
	if s.deps.Tenant != nil {
		c.tenant = s.deps.Tenant(c.ctx, r.RemoteAddr)
	}
	s.readHeader(&c, func(name string) string {
		if values := r.Header[name]; len(values) > 0 {
			return values[0]
		}
		return ""
	})
	return c
}

// readHeader takes what a header says of a caller; get looks a name up in it, which is in canonical form.
func (s *Service) readHeader(c *caller, get func(name string) string) {
	if s.cfg.PriorityHeader != "" {
		c.priority = priorityOf(get(s.cfg.PriorityHeader))
	}
	if s.cfg.TestHeader != "" {
		c.marked = get(s.cfg.TestHeader) == "true"
	}
	if id := get("X-Request-Id"); id != "" {
		c.hash = ramp.HashString(id)
	}
}

// priorityOf is what a caller says that its request is; what is no priority is a normal one.
func priorityOf(text string) limit.Priority {
	for _, p := range [...]limit.Priority{limit.Critical, limit.Batch} {
		if text == p.String() {
			return p
		}
	}
	return limit.Normal
}

// admission is what the limit may know of a request.
func (c *caller) admission() limit.Request {
	request := limit.Request{Ctx: c.ctx, Tenant: c.tenant, Priority: c.priority}
	request.Deadline, _ = c.ctx.Deadline()
	return request
}

// attr is what a fault point may know of it.
func (c *caller) attr() fault.Attr { return fault.Attr{Key: "tenant", Value: c.tenant} }

// expired tells whether nobody waits for the answer any more.
func expired(ctx context.Context) bool { return late(ctx) || ctx.Err() != nil }

// late tells whether the deadline has passed.
func late(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}
