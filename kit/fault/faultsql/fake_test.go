package faultsql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// engine is a database of one column: "insert" adds its argument, "select" returns all. What happens to it is noted.
type engine struct {
	kind string // of the connections: full, plain, legacy, execs, queries, skips

	mu     sync.Mutex
	rows   []string
	notes  []string
	opened int
	closed int
}

func (e *engine) note(format string, args ...any) {
	e.mu.Lock()
	e.notes = append(e.notes, fmt.Sprintf(format, args...))
	e.mu.Unlock()
}

func (e *engine) holds() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.rows)
}

func (e *engine) took() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.notes)
}

func (e *engine) Driver() driver.Driver { return fakeDriver{e} }

func (e *engine) Connect(context.Context) (driver.Conn, error) {
	e.mu.Lock()
	e.opened++
	e.mu.Unlock()
	c := &plainConn{e: e}
	switch e.kind {
	case "full":
		return &fullConn{c}, nil
	case "legacy":
		return &legacyConn{c}, nil
	case "execs":
		return &execConn{c}, nil
	case "queries":
		return &queryConn{c}, nil
	case "skips":
		return &skipConn{c}, nil
	}
	return c, nil
}

type fakeDriver struct{ e *engine }

func (d fakeDriver) Open(string) (driver.Conn, error) { return d.e.Connect(context.Background()) }

// plainConn has nothing that is optional.
type plainConn struct {
	e      *engine
	inTx   bool
	staged []string
}

func (c *plainConn) Close() error {
	c.e.mu.Lock()
	c.e.closed++
	c.e.mu.Unlock()
	return nil
}

func (c *plainConn) Prepare(query string) (driver.Stmt, error) {
	c.e.note("prepare %s", query)
	if strings.HasPrefix(query, "convert ") {
		return &convStmt{plainStmt{c, strings.TrimPrefix(query, "convert ")}}, nil
	}
	return &plainStmt{c, query}, nil
}

func (c *plainConn) Begin() (driver.Tx, error) {
	c.e.note("begin")
	if c.inTx {
		return nil, errors.New("fake: a transaction is open")
	}
	c.inTx = true
	return (*plainTx)(c), nil
}

func (c *plainConn) exec(query string, args []driver.Value) (driver.Result, error) {
	c.e.note("exec %s %v", query, args)
	if query != "insert" {
		return nil, errors.New("fake: syntax")
	}
	c.staged = append(c.staged, fmt.Sprint(args[0]))
	if !c.inTx {
		c.commit()
	}
	return driver.RowsAffected(1), nil
}

func (c *plainConn) commit() {
	c.e.mu.Lock()
	c.e.rows = append(c.e.rows, c.staged...)
	c.e.mu.Unlock()
	c.staged = nil
}

func (c *plainConn) query(query string, args []driver.Value) (driver.Rows, error) {
	c.e.note("query %s %v", query, args)
	if query != "select" {
		return nil, errors.New("fake: syntax")
	}
	return &plainRows{rows: append(c.e.holds(), c.staged...)}, nil
}

type plainTx plainConn

func (t *plainTx) Commit() error {
	t.e.note("commit")
	(*plainConn)(t).commit()
	t.inTx = false
	return nil
}

func (t *plainTx) Rollback() error {
	t.e.note("rollback")
	t.staged, t.inTx = nil, false
	return nil
}

type plainStmt struct {
	c     *plainConn
	query string
}

func (s *plainStmt) Close() error { return nil }

func (s *plainStmt) NumInput() int { return -1 }

func (s *plainStmt) Exec(args []driver.Value) (driver.Result, error) { return s.c.exec(s.query, args) }

func (s *plainStmt) Query(args []driver.Value) (driver.Rows, error) { return s.c.query(s.query, args) }

// convStmt converts what no driver can by default.
type convStmt struct{ plainStmt }

func (*convStmt) NumInput() int { return 1 }

func (*convStmt) ColumnConverter(int) driver.ValueConverter { return converter{} }

type converter struct{}

func (converter) ConvertValue(v any) (driver.Value, error) {
	return fmt.Sprintf("converted %v", v), nil
}

type plainRows struct{ rows []string }

func (r *plainRows) Columns() []string { return []string{"value"} }

func (r *plainRows) Close() error { return nil }

func (r *plainRows) Next(dest []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	dest[0], r.rows = r.rows[0], r.rows[1:]
	return nil
}

func values(args []driver.NamedValue) []driver.Value {
	list := make([]driver.Value, len(args))
	for i, a := range args {
		list[i] = a.Name + fmt.Sprint(a.Value)
	}
	return list
}

// fullConn has all that is optional.
type fullConn struct{ *plainConn }

func (c *fullConn) Ping(context.Context) error { c.e.note("ping"); return nil }

func (c *fullConn) PrepareContext(_ context.Context, query string) (driver.Stmt, error) {
	stmt, err := c.Prepare(query)
	if p, ok := stmt.(*plainStmt); ok {
		return &fullStmt{p}, err
	}
	return stmt, err
}

func (c *fullConn) BeginTx(_ context.Context, opts driver.TxOptions) (driver.Tx, error) {
	c.e.note("begin %d %v", opts.Isolation, opts.ReadOnly)
	return c.Begin()
}

func (c *fullConn) ExecContext(_ context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.exec(query, values(args))
}

func (c *fullConn) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.query(query, values(args))
	if p, ok := rows.(*plainRows); ok {
		return &fullRows{p}, err
	}
	return rows, err
}

func (c *fullConn) ResetSession(context.Context) error { c.e.note("reset"); return nil }

func (c *fullConn) IsValid() bool { c.e.note("valid"); return true }

func (c *fullConn) CheckNamedValue(v *driver.NamedValue) error {
	if _, ok := v.Value.(chan int); ok {
		v.Value = "a channel"
		return nil
	}
	return driver.ErrSkip
}

type fullStmt struct{ *plainStmt }

func (s *fullStmt) ExecContext(_ context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.c.exec(s.query, values(args))
}

func (s *fullStmt) QueryContext(_ context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.c.query(s.query, values(args))
}

func (s *fullStmt) CheckNamedValue(v *driver.NamedValue) error {
	if _, ok := v.Value.(chan string); ok {
		v.Value = "a channel of the statement"
		return nil
	}
	return driver.ErrSkip
}

type fullRows struct{ *plainRows }

func (r *fullRows) HasNextResultSet() bool { return false }

func (r *fullRows) NextResultSet() error { return io.EOF }

func (r *fullRows) ColumnTypeDatabaseTypeName(int) string { return "TEXT" }

func (r *fullRows) ColumnTypeLength(int) (int64, bool) { return 7, true }

func (r *fullRows) ColumnTypeNullable(int) (bool, bool) { return true, true }

func (r *fullRows) ColumnTypePrecisionScale(int) (int64, int64, bool) { return 3, 2, true }

// legacyConn executes and queries without contexts.
type legacyConn struct{ *plainConn }

func (c *legacyConn) Exec(query string, args []driver.Value) (driver.Result, error) {
	return c.exec(query, args)
}

func (c *legacyConn) Query(query string, args []driver.Value) (driver.Rows, error) {
	return c.query(query, args)
}

type execConn struct{ *plainConn }

func (c *execConn) ExecContext(_ context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.exec(query, values(args))
}

type queryConn struct{ *plainConn }

func (c *queryConn) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.query(query, values(args))
}

// skipConn would always rather prepare.
type skipConn struct{ *plainConn }

func (c *skipConn) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return nil, driver.ErrSkip
}

func (c *skipConn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return nil, driver.ErrSkip
}
