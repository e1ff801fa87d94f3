// Package faultsql has fault points where [database/sql] meets its driver: a [driver.Connector] around another.
//
// Use it to show what a program does when its database is slow, refuses, breaks in the midst, or commits and cannot
// say so: the outcome that nobody knows. Do not use it for the statements' own failures, such as a duplicate key: give
// the database one. The caller declares the points, so that their names say which database it is:
//
//	var commit = fault.Def{Name: "orders.commit", Doc: "A transaction is committed.", Effects: fault.Call | fault.Lose}
//	// …
//	db := sql.OpenDB(faultsql.Connector(connector, faultsql.Points{Commit: set.Point(commit)}))
//
// Prepare, Exec, Query and Next tell the attribute "query", the text of the statement.
//
// What a connection beneath cannot do (contexts, named values, resets), the one around it cannot either, or it does
// what database/sql does without it. Who needs the driver's own connection, by [database/sql.Conn.Raw], finds it by a
// method Unwrap() driver.Conn.
package faultsql
