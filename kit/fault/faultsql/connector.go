package faultsql

import (
	"context"
	"database/sql/driver"
	"io"
)

// Connector returns inner with points around what it connects; inner itself if there are none. Of a driver that has
// no connectors, [database/sql.DB.Driver] and a data source name make one.
func Connector(inner driver.Connector, p Points) driver.Connector {
	if p.none() {
		return inner
	}
	c := &connector{inner, p}
	if closer, ok := inner.(io.Closer); ok {
		return closingConnector{c, closer}
	}
	return c
}

type connector struct {
	inner  driver.Connector
	points Points
}

// closingConnector is one that database/sql closes with the pool.
type closingConnector struct {
	*connector
	io.Closer
}

func (c *connector) Driver() driver.Driver { return c.inner.Driver() }

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	if p := c.points.Connect; p.On() {
		if err := contained(ctx, p); err != nil {
			return nil, err
		}
	}
	inner, err := c.inner.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return newConn(inner, &c.points), nil
}
