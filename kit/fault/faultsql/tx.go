package faultsql

import (
	"context"
	"database/sql/driver"
)

// tx ends in the driver whatever happens here: a connection does not go back into the pool with an open transaction.
type tx struct {
	inner driver.Tx
	conn  *conn
	ctx   context.Context
	ended bool
}

func (t *tx) Commit() error {
	if t.conn.broken { // what the database does when a connection breaks
		t.rollback()
		return driver.ErrBadConn
	}
	if p := t.conn.points.Commit; p.On() {
		defer t.rollback()
		found, err := damage(t.ctx, p)
		if err != nil {
			return err
		}
		t.ended = true
		err = t.inner.Commit()
		if err == nil && found.Dropped() {
			return t.conn.lost()
		}
		return err
	}
	return t.inner.Commit()
}

func (t *tx) Rollback() error {
	defer t.discard()
	if p := t.conn.points.Rollback; p.On() {
		defer t.rollback()
		if err := contained(t.ctx, p); err != nil {
			return err
		}
		t.ended = true
	}
	return t.inner.Rollback()
}

// rollback ends a transaction that a fault would leave open. If that fails the connection is of no use.
func (t *tx) rollback() {
	if t.ended {
		return
	}
	t.ended = true
	if t.inner.Rollback() != nil {
		t.conn.broken = true
	}
}

// discard has database/sql not keep the connection of a transaction that ended with its context, where the driver's
// own would not be kept: one that can neither be reset nor asked whether it is valid.
func (t *tx) discard() {
	if t.ctx.Err() == nil {
		return
	}
	_, resets := t.conn.Conn.(driver.SessionResetter)
	_, validates := t.conn.Conn.(driver.Validator)
	if !resets || !validates {
		t.conn.broken = true
	}
}
