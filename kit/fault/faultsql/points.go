package faultsql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/dougong-io/dougong/kit/fault"
)

// Points are those of a database. One that is nil is off. All are fault.Call, and an error comes before anything was
// done, but for what is said. What is held ends with the context of its call; Next, Commit and Rollback are held by the
// context of their query or transaction.
//
// An error whose cause is reset or broken_pipe, at Ping, Prepare, Exec, Query or Begin, is [driver.ErrBadConn], too:
// database/sql closes the connection, and tries again with another, up to three times in all, each of which passes
// the point.
//
// An injected panic is an error here. database/sql does not expect one of a driver: its pool would lose the connection,
// and on its own goroutines, which connect and roll back, nobody recovers.
type Points struct {
	Connect *fault.Point
	Ping    *fault.Point
	Prepare *fault.Point

	// Exec is a statement that returns no rows (fault.Call|fault.Lose). Dropped, it is executed and its answer lost.
	Exec  *fault.Point
	Query *fault.Point
	Next  *fault.Point // each row. An end of file (cause eof) is that of the rows: fewer than there are, and no error
	Begin *fault.Point

	// Commit (fault.Call|fault.Lose). An error has the transaction rolled back: it is surely not committed. Dropped,
	// it is committed and its answer lost: the error is the same to the caller, who cannot know.
	Commit *fault.Point

	// Rollback has the transaction rolled back in any case: an error is of its answer.
	Rollback *fault.Point
}

func (p *Points) none() bool { return *p == Points{} }

// errLost is what a caller sees when a connection breaks before the answer is there. It is not driver.ErrBadConn,
// which promises that nothing was done.
var errLost = fmt.Errorf("faultsql: %w: the answer is lost: %w", fault.ErrInjected, io.ErrUnexpectedEOF)

// badConn is an injected error after which database/sql takes another connection.
type badConn struct{ *injected }

type injected = fault.Error // a name that does not hide the method Error

func (e badConn) Is(target error) bool { return target == driver.ErrBadConn || e.injected.Is(target) }

func (e badConn) Unwrap() error { return e.injected }

// hit passes a point before a call on a connection.
func hit(ctx context.Context, p *fault.Point, query string) error {
	if !p.On() {
		return nil
	}
	return asDriver(contained(ctx, p, attrs(query)...))
}

func contained(ctx context.Context, p *fault.Point, attrs ...fault.Attr) (err error) {
	defer fault.Contain(&err)
	return p.Hit(ctx, attrs...)
}

// damage is contained where an answer can be lost.
func damage(ctx context.Context, p *fault.Point, attrs ...fault.Attr) (_ fault.Damage, err error) {
	defer fault.Contain(&err)
	return p.Damage(ctx, attrs...)
}

func attrs(query string) []fault.Attr {
	if query == "" {
		return nil
	}
	return []fault.Attr{{Key: "query", Value: query}}
}

func asDriver(err error) error {
	if e, ok := err.(*fault.Error); ok && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
		return badConn{e}
	}
	return err
}
