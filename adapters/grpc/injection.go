package grpcmw

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/dougong-io/dougong/kit/fault"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// codeOfFault is the status that a rule asked for, or else what gRPC makes of such a failure in earnest.
func codeOfFault(e *fault.Error) codes.Code {
	is := func(causes ...error) bool {
		for _, c := range causes {
			if errors.Is(e.Cause, c) {
				return true
			}
		}
		return false
	}
	switch {
	case e.GRPCCode != 0:
		return codes.Code(e.GRPCCode)
	case is(context.Canceled):
		return codes.Canceled
	case e.Timeout():
		return codes.DeadlineExceeded
	case is(fs.ErrNotExist):
		return codes.NotFound
	case is(fs.ErrPermission):
		return codes.PermissionDenied
	case is(syscall.ENOSPC):
		return codes.ResourceExhausted
	case is(syscall.EIO, syscall.EROFS):
		return codes.Internal
	}
	return codes.Unavailable // there is nobody, or nobody any more
}

// injected is a failure that follows from a rule and is not its error.
func injected(code codes.Code, point, format string, args ...any) *refusal {
	err := fmt.Errorf("%w at %s: "+format, append([]any{fault.ErrInjected, point}, args...)...)
	return &refusal{error: err, status: status.New(code, err.Error())}
}

func cutOff(point string) *refusal {
	return injected(codes.Unavailable, point, "the stream was cut")
}

// mangle has a message be what is left of it when its bytes are damaged. What can no longer be read is the error that
// gRPC has for that. Messages of other codecs than protobuf stay as they are.
func mangle(m any, point string, damage func([]byte) []byte) *refusal {
	message, ok := m.(proto.Message)
	if !ok {
		return nil
	}
	b, err := proto.Marshal(message)
	if err != nil {
		return nil // it could not have come
	}
	proto.Reset(message)
	if err := proto.Unmarshal(damage(b), message); err != nil {
		return injected(codes.Internal, point, "the message cannot be read: %v", err)
	}
	return nil
}

// mangleAll has a message be what is left of it when the damage falls upon it alone.
func mangleAll(m any, point string, d *fault.Damage) *refusal {
	return mangle(m, point, func(b []byte) []byte { return d.Apply(b, 0) })
}
