package grpcserver

import (
	"time"

	"google.golang.org/grpc/codes"
)

// Observer receives what the server does. Its methods are called from many goroutines, with no lock held.
type Observer interface {
	// Method is called once for each method that is registered: the place to resolve labels. The name is the full one,
	// as in "/inference.GRPCInferenceService/ModelInfer"; calls of a method that there is not, or of a path that is
	// none, are reported under "other".
	Method(name string) MethodObserver

	// LogLinesDropped reports access lines that were not written because the sink did not keep up.
	LogLinesDropped(n int)
}

// MethodObserver receives the calls of one method. Its methods are on the path of every call.
type MethodObserver interface {
	// Begin and End enclose each call, so that Begin minus End is in flight.
	Begin()
	End(Outcome)
	// Panic reports a handler that panicked; End follows.
	Panic()
}

// Outcome is one finished call.
type Outcome struct {
	Code     codes.Code    // InvalidArgument for a message that cannot be read, whatever gRPC told the client
	Duration time.Duration // 0 if gRPC answered the call itself
	BytesIn  int64         // of messages that the handler read, decompressed
	BytesOut int64         // of messages, before compression
}

// otherMethod is the name under which calls of unknown methods are reported.
const otherMethod = "other"

type discardObserver struct{}

func (discardObserver) Method(string) MethodObserver { return discardObserver{} }
func (discardObserver) LogLinesDropped(int)          {}
func (discardObserver) Begin()                       {}
func (discardObserver) End(Outcome)                  {}
func (discardObserver) Panic()                       {}
