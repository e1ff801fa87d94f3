package faultnet

import (
	"context"

	"github.com/dougong-io/dougong/kit/fault"
)

// Points are those of connections and of how they come about. One that is nil is off.
//
// Every call of Read and Write passes its point on its own: the offsets of a rule count from the first byte of the
// call that it strikes.
type Points struct {
	Dial *fault.Point // before dialling (fault.Call)

	// Accept is when a connection was accepted, and before the caller has it (fault.Call or fault.Bytes). Dropped, it
	// is closed and the next is waited for. So it is after an error, unless that is temporary (too_many_files,
	// timeout), which Accept returns: to a server any other is the end of its listener, which no rule could take
	// back. Close ends what hangs.
	Accept *fault.Point

	// Read is each read (fault.Bytes). What is dropped was read and is lost; the next bytes are waited for. What is
	// truncated ends the connection: the first bytes of the read are returned, then nothing but ECONNRESET.
	Read *fault.Point

	// Write is each write (fault.Bytes). What is dropped is not written, and reported as written, if the connection
	// is open and its deadline has not passed. What is truncated
	// ends the connection: the first bytes are written, it is closed, and the write fails with ECONNRESET.
	Write *fault.Point

	// Close is when a connection is closed by its owner (fault.Call). It is closed whatever happens here.
	Close *fault.Point
}

// hit passes a point where nobody recovers.
func hit(ctx context.Context, p *fault.Point, attrs ...fault.Attr) (err error) {
	defer fault.Contain(&err)
	return p.Hit(ctx, attrs...)
}

func (p *Points) none() bool {
	return p.Accept == nil && p.Read == nil && p.Write == nil && p.Close == nil
}
