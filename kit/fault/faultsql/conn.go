package faultsql

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/dougong-io/dougong/kit/fault"
)

// conn does what a connection of any driver can: what it has by default is what database/sql does without it.
type conn struct {
	driver.Conn
	points *Points
	broken bool    // after a lost answer
	passed passage // of the call before, if that is to be prepared
}

// newConn returns a connection that executes or queries directly if the one beneath does: database/sql converts
// arguments otherwise where it can.
func newConn(inner driver.Conn, p *Points) driver.Conn {
	c := &conn{Conn: inner, points: p}
	switch execs, queries := canExec(inner), canQuery(inner); {
	case execs && queries:
		return struct {
			*conn
			execer
			queryer
		}{c, execer{c}, queryer{c}}
	case execs:
		return struct {
			*conn
			execer
		}{c, execer{c}}
	case queries:
		return struct {
			*conn
			queryer
		}{c, queryer{c}}
	}
	return c
}

// Unwrap returns the driver's connection.
func (c *conn) Unwrap() driver.Conn { return c.Conn }

func (c *conn) Ping(ctx context.Context) error {
	c.passed = passage{}
	if err := c.hit(ctx, c.points.Ping, ""); err != nil {
		return err
	}
	if p, ok := c.Conn.(driver.Pinger); ok {
		return p.Ping(ctx)
	}
	return nil
}

func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	passed := c.passed
	c.passed = passage{}
	if passed.query != query {
		passed = passage{}
	}
	if err := c.hit(ctx, c.points.Prepare, query); err != nil {
		return nil, err
	}
	inner, err := c.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return newStmt(inner, c, query, passed), nil
}

func (c *conn) prepare(ctx context.Context, query string) (driver.Stmt, error) {
	if p, ok := c.Conn.(driver.ConnPrepareContext); ok {
		return p.PrepareContext(ctx, query)
	}
	stmt, err := c.Conn.Prepare(query)
	if err == nil && ctx.Err() != nil {
		_ = stmt.Close()
		return nil, ctx.Err()
	}
	return stmt, err
}

func (c *conn) Begin() (driver.Tx, error) {
	return c.BeginTx(context.Background(), driver.TxOptions{})
}

func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	c.passed = passage{}
	if err := c.hit(ctx, c.points.Begin, ""); err != nil {
		return nil, err
	}
	inner, err := c.begin(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &tx{inner: inner, conn: c, ctx: ctx}, nil
}

func (c *conn) begin(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if b, ok := c.Conn.(driver.ConnBeginTx); ok {
		return b.BeginTx(ctx, opts)
	}
	switch {
	case opts.Isolation != 0:
		return nil, errors.New("faultsql: the driver has no isolation levels")
	case opts.ReadOnly:
		return nil, errors.New("faultsql: the driver has no read-only transactions")
	}
	tx, err := oldBeginner(c.Conn).Begin()
	if err == nil && ctx.Err() != nil {
		_ = tx.Rollback()
		return nil, ctx.Err()
	}
	return tx, err
}

// ResetSession is asked before a connection is used again.
func (c *conn) ResetSession(ctx context.Context) error {
	c.passed = passage{}
	if c.broken {
		return driver.ErrBadConn
	}
	if r, ok := c.Conn.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

// IsValid is asked before a connection goes back into the pool.
func (c *conn) IsValid() bool {
	if c.broken {
		return false
	}
	v, ok := c.Conn.(driver.Validator)
	return !ok || v.IsValid()
}

func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if n, ok := c.Conn.(driver.NamedValueChecker); ok {
		return n.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// hit passes a point before a call.
func (c *conn) hit(ctx context.Context, p *fault.Point, query string) error {
	if c.broken {
		return driver.ErrBadConn
	}
	return hit(ctx, p, query)
}

// lost is what a call says whose answer got lost, after which the connection is of no use.
func (c *conn) lost() error {
	c.broken = true
	return errLost
}
