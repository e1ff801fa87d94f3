//go:build !dougong_nofault

package faultsql

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
)

// A transaction is committed, and whoever committed it sees an error: only a look at the database tells.
func ExampleConnector() {
	set, err := fault.New(fault.DefaultConfig())
	if err != nil {
		panic(err)
	}
	defer set.Close()
	commit := fault.Def{Name: "orders.commit", Doc: "A transaction is committed.", Effects: fault.Call | fault.Lose}
	orders := &engine{kind: "full"} // a driver.Connector
	db := sql.OpenDB(Connector(orders, Points{Commit: set.Point(commit)}))
	defer db.Close()

	if err := set.Put(fault.Admin, fault.Rule{ID: "unknown", Point: "orders.*", For: time.Minute, Drop: &fault.Drop{}}); err != nil {
		panic(err)
	}
	tx, err := db.Begin()
	if err != nil {
		panic(err)
	}
	if _, err := tx.Exec("insert", "order 7"); err != nil {
		panic(err)
	}
	err = tx.Commit()
	fmt.Println(errors.Is(err, io.ErrUnexpectedEOF), orders.holds())
	// Output: true [order 7]
}
