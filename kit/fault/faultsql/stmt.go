package faultsql

import (
	"context"
	"database/sql/driver"
)

type stmt struct {
	driver.Stmt
	conn   *conn
	text   string
	passed passage
}

func newStmt(inner driver.Stmt, c *conn, query string, passed passage) driver.Stmt {
	s := &stmt{inner, c, query, passed}
	if converter, ok := inner.(oldConverter); ok {
		return convertingStmt{s, converter}
	}
	return s
}

// convertingStmt is a statement that converts its arguments itself.
type convertingStmt struct {
	*stmt
	converter oldConverter
}

func (s convertingStmt) ColumnConverter(i int) driver.ValueConverter {
	return s.converter.ColumnConverter(i)
}

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.exec(ctx, s.text, &s.passed, func() (driver.Result, error) {
		if x, ok := s.Stmt.(driver.StmtExecContext); ok {
			return x.ExecContext(ctx, args)
		}
		values, err := positional(ctx, args)
		if err != nil {
			return nil, err
		}
		return oldStmt(s.Stmt).Exec(values)
	})
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.query(ctx, s.text, &s.passed, func() (driver.Rows, error) {
		if x, ok := s.Stmt.(driver.StmtQueryContext); ok {
			return x.QueryContext(ctx, args)
		}
		values, err := positional(ctx, args)
		if err != nil {
			return nil, err
		}
		return oldStmt(s.Stmt).Query(values)
	})
}

// CheckNamedValue is the statement's, or else the connection's, as database/sql has it.
func (s *stmt) CheckNamedValue(v *driver.NamedValue) error {
	if n, ok := s.Stmt.(driver.NamedValueChecker); ok {
		return n.CheckNamedValue(v)
	}
	return s.conn.CheckNamedValue(v)
}
