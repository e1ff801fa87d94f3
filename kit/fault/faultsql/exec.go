package faultsql

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/dougong-io/dougong/kit/fault"
)

// What drivers have that were written before contexts. The names in package driver are deprecated, for drivers.
type (
	oldExecer interface {
		Exec(query string, args []driver.Value) (driver.Result, error)
	}
	oldQueryer interface {
		Query(query string, args []driver.Value) (driver.Rows, error)
	}
	oldBeginner interface {
		Begin() (driver.Tx, error)
	}
	oldStmt interface {
		Exec(args []driver.Value) (driver.Result, error)
		Query(args []driver.Value) (driver.Rows, error)
	}
	oldConverter interface {
		ColumnConverter(i int) driver.ValueConverter
	}
)

func canExec(c driver.Conn) bool {
	_, ok := c.(driver.ExecerContext)
	if !ok {
		_, ok = c.(oldExecer)
	}
	return ok
}

func canQuery(c driver.Conn) bool {
	_, ok := c.(driver.QueryerContext)
	if !ok {
		_, ok = c.(oldQueryer)
	}
	return ok
}

// execer is a connection that executes without preparing.
type execer struct{ c *conn }

func (e execer) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return e.c.exec(ctx, query, nil, func() (driver.Result, error) {
		if x, ok := e.c.Conn.(driver.ExecerContext); ok {
			return x.ExecContext(ctx, query, args)
		}
		values, err := positional(ctx, args)
		if err != nil {
			return nil, err
		}
		return e.c.Conn.(oldExecer).Exec(query, values)
	})
}

// exec passes the point, unless its statement did, does it, and loses the answer if that is to be lost.
func (c *conn) exec(ctx context.Context, query string, before *passage, do func() (driver.Result, error)) (driver.Result, error) {
	c.passed = passage{}
	if c.broken {
		return nil, driver.ErrBadConn
	}
	found, passed := before.take(c.points.Exec)
	if !passed && c.points.Exec.On() {
		var err error
		if found, err = damage(ctx, c.points.Exec, attrs(query)...); err != nil {
			return nil, asDriver(err)
		}
	}
	result, err := do()
	switch {
	case err == driver.ErrSkip: // compared by database/sql, too
		c.passed = passage{c.points.Exec, query, found}
	case err == nil && found.Dropped():
		return nil, c.lost()
	}
	return result, err
}

// passage is a point that was passed with a call which the driver would rather prepare (driver.ErrSkip). What is
// prepared next is the same call, and does not pass it again; whatever comes instead is another, and does.
type passage struct {
	point  *fault.Point // nil: none
	query  string
	damage fault.Damage
}

func (p *passage) take(point *fault.Point) (fault.Damage, bool) {
	if p == nil || p.point == nil {
		return fault.Damage{}, false
	}
	was := *p
	*p = passage{}
	return was.damage, was.point == point
}

// queryer is a connection that queries without preparing.
type queryer struct{ c *conn }

func (q queryer) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return q.c.query(ctx, query, nil, func() (driver.Rows, error) {
		if x, ok := q.c.Conn.(driver.QueryerContext); ok {
			return x.QueryContext(ctx, query, args)
		}
		values, err := positional(ctx, args)
		if err != nil {
			return nil, err
		}
		return q.c.Conn.(oldQueryer).Query(query, values)
	})
}

func (c *conn) query(ctx context.Context, query string, before *passage, do func() (driver.Rows, error)) (driver.Rows, error) {
	c.passed = passage{}
	if c.broken {
		return nil, driver.ErrBadConn
	}
	if _, passed := before.take(c.points.Query); !passed {
		if err := hit(ctx, c.points.Query, query); err != nil {
			return nil, err
		}
	}
	inner, err := do()
	if err == driver.ErrSkip { // compared by database/sql, too
		c.passed = passage{point: c.points.Query, query: query}
	}
	if err != nil || c.points.Next == nil {
		return inner, err
	}
	return &rows{Rows: inner, point: c.points.Next, ctx: ctx, query: query}, nil
}

// positional is what a driver gets that knows neither contexts nor names.
func positional(ctx context.Context, args []driver.NamedValue) ([]driver.Value, error) {
	values := make([]driver.Value, len(args))
	for i, a := range args {
		if a.Name != "" {
			return nil, errors.New("faultsql: the driver has no named parameters")
		}
		values[i] = a.Value
	}
	return values, ctx.Err()
}
