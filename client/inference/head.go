package inferenceclient

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/dougong-io/dougong/kit/ramp"
)

// head is what goes with every attempt of a call beside its message.
type head struct {
	id     string // X-Request-Id: the same in all attempts, so that whoever hashes it treats them alike
	token  string
	others []string // names in lower case, each followed by its value
}

// head asks whoever has something to say.
func (c *Client) head(ctx context.Context, id string) (head, *Error) {
	h := head{id: requestID(id)}
	if c.parts.headers != nil {
		var failed *Error
		c.parts.headers(ctx, func(name, value string) {
			name = strings.ToLower(name)
			switch {
			case !isName(name) || !isValue(value):
				failed = invalid("header %.64q: the name or the value is none", name)
			case isOurs(name):
				failed = invalid("header %s: the client sets it itself", name)
			}
			h.others = append(h.others, name, value)
		})
		if failed != nil {
			return head{}, failed
		}
	}
	if c.parts.token != nil {
		token, err := c.parts.token(ctx)
		if err == nil && (token == "" || !isValue(token)) {
			err = errBadToken
		}
		switch {
		case err != nil && ctx.Err() != nil:
			failed := broken(ctx, err)
			return head{}, failed
		case err != nil:
			return head{}, &Error{Kind: ErrDenied, cause: err}
		}
		h.token = token
	}
	return h, nil
}

const maxRequestID = 128

// requestID is the caller's id, or what stands for it, or a random one.
func requestID(id string) string {
	switch {
	case id == "":
		b := make([]byte, 0, 32)
		b = strconv.AppendUint(b, rand.Uint64(), 16)
		return string(strconv.AppendUint(b, rand.Uint64(), 16))
	case len(id) > maxRequestID || !isValue(id):
		return strconv.FormatUint(ramp.HashString(id), 16)
	}
	return id
}

// isName tells whether a header can be called so, over HTTP and gRPC.
func isName(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return name != ""
}

func isValue(value string) bool {
	for _, c := range []byte(value) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

func isOurs(name string) bool {
	switch name {
	case "authorization", "x-request-id", "x-request-timeout", "host", "connection", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "expect":
		return true
	}
	return strings.HasPrefix(name, "content-") || strings.HasPrefix(name, "grpc-") || strings.HasPrefix(name, "inference-") ||
		strings.HasPrefix(name, "accept") || strings.HasPrefix(name, "proxy-") || strings.HasSuffix(name, "-bin")
}
