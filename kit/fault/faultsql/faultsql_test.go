package faultsql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
)

var defs = map[string]fault.Def{
	"connect":  {Name: "db.connect", Doc: "It connects.", Effects: fault.Call},
	"ping":     {Name: "db.ping", Doc: "It pings.", Effects: fault.Call},
	"prepare":  {Name: "db.prepare", Doc: "It prepares.", Attrs: []string{"query"}, Effects: fault.Call},
	"exec":     {Name: "db.exec", Doc: "It executes.", Attrs: []string{"query"}, Effects: fault.Call | fault.Lose},
	"query":    {Name: "db.query", Doc: "It queries.", Attrs: []string{"query"}, Effects: fault.Call},
	"next":     {Name: "db.next", Doc: "It reads a row.", Attrs: []string{"query"}, Effects: fault.Call},
	"begin":    {Name: "db.begin", Doc: "It begins.", Effects: fault.Call},
	"commit":   {Name: "db.commit", Doc: "It commits.", Effects: fault.Call | fault.Lose},
	"rollback": {Name: "db.rollback", Doc: "It rolls back.", Effects: fault.Call},
}

func points(set *fault.Set) Points {
	return Points{
		Connect: set.Point(defs["connect"]), Ping: set.Point(defs["ping"]), Prepare: set.Point(defs["prepare"]), Exec: set.Point(defs["exec"]),
		Query: set.Point(defs["query"]), Next: set.Point(defs["next"]), Begin: set.Point(defs["begin"]), Commit: set.Point(defs["commit"]),
		Rollback: set.Point(defs["rollback"]),
	}
}

var kinds = []string{"full", "plain", "legacy", "execs", "queries", "skips"}

func newDB(t testing.TB, kind string) (*fault.Set, *engine, *sql.DB) {
	set := faulttest.New(t)
	e := &engine{kind: kind}
	db := sql.OpenDB(Connector(e, points(set)))
	t.Cleanup(func() { db.Close() })
	return set, e, db
}

// script does what programs do, and returns what they see. It runs in a bubble of synctest.
func script(db *sql.DB) (seen []string) {
	see := func(what string, err error) {
		text := "ok"
		if err != nil {
			text = "failed"
		}
		seen = append(seen, what+" "+text)
	}
	ctx, cancel := context.WithCancel(context.Background())
	see("ping", db.Ping())
	_, err := db.Exec("insert", 1)
	see("exec", err)
	_, err = db.Exec("insert", make(chan int))
	see("exec a channel", err)
	_, err = db.Exec("insert", make(chan string))
	see("exec a channel of strings", err)
	_, err = db.Exec("convert insert", struct{ a int }{7})
	see("exec what is converted", err)
	_, err = db.Exec("insert", sql.Named("a", 2))
	see("exec a name", err)
	_, err = db.Exec("nonsense")
	see("nonsense", err)
	stmt, err := db.Prepare("insert")
	see("prepare", err)
	for _, v := range []any{3, sql.Named("a", 4), make(chan int), make(chan string)} {
		_, err = stmt.Exec(v)
		see(fmt.Sprintf("exec prepared %T", v), err)
	}
	see("close", stmt.Close())
	for _, opts := range []*sql.TxOptions{nil, {ReadOnly: true}, {Isolation: sql.LevelSerializable}} {
		tx, err := db.BeginTx(ctx, opts)
		see("begin", err)
		if err == nil {
			_, err = tx.Exec("insert", 5)
			see("exec in it", err)
			see("commit", tx.Commit())
		}
	}
	tx, err := db.Begin()
	see("begin", err)
	_, err = tx.Exec("insert", "never")
	see("exec in it", err)
	see("rollback", tx.Rollback())
	// A transaction that ends with its context.
	before := db.Stats().OpenConnections
	if _, err = db.BeginTx(ctx, nil); err == nil {
		cancel()
	}
	cancel()
	synctest.Wait()
	seen = append(seen, fmt.Sprintf("connections %d, %d, in use %d", before, db.Stats().OpenConnections, db.Stats().InUse))
	rows, err := db.Query("select")
	see("query", err)
	columns, err := rows.ColumnTypes()
	see("columns", err)
	for _, c := range columns {
		length, hasLength := c.Length()
		nullable, hasNullable := c.Nullable()
		precision, scale, has := c.DecimalSize()
		seen = append(seen, fmt.Sprint(c.DatabaseTypeName(), c.ScanType(), length, hasLength, nullable, hasNullable, precision, scale, has))
	}
	for rows.Next() {
		var v string
		see("scan", rows.Scan(&v))
		seen = append(seen, v)
	}
	see("more", func() error {
		if rows.NextResultSet() {
			return errors.New("there are more")
		}
		return rows.Err()
	}())
	see("close", rows.Close())
	return seen
}

// TestWrappedDriverIsSeenAsTheDriver runs the same script with each kind of driver bare, off, and with rules that match
// nothing: the program sees the same, and the driver gets the same calls in the same order.
func TestWrappedDriverIsSeenAsTheDriver(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bare := &engine{kind: kind}
				db := sql.OpenDB(bare)
				defer db.Close()
				want := script(db)
				for name, rule := range map[string]*fault.Rule{"off": nil, "no match": {Point: "*", Skip: 1 << 40, Error: &fault.Failure{}}} {
					set, e, db := newDB(t, kind)
					if rule != nil {
						faulttest.Put(t, set, *rule)
					}
					if got := script(db); !slices.Equal(got, want) {
						t.Errorf("%s: saw\n%q\nnot\n%q", name, got, want)
					}
					if got, want := e.took(), bare.took(); !slices.Equal(got, want) {
						t.Errorf("%s: the driver took\n%q\nnot\n%q", name, got, want)
					}
				}
			})
		})
	}
}

func TestConnectorWithoutPointsIsTheConnector(t *testing.T) {
	e := &engine{}
	if Connector(e, Points{}) != driver.Connector(e) {
		t.Error("it is another")
	}
}

func TestEveryCallFailsBeforeAnythingIsDone(t *testing.T) {
	calls := map[string]func(db *sql.DB) error{
		"db.connect": func(db *sql.DB) error { return db.Ping() },
		"db.ping":    func(db *sql.DB) error { return db.Ping() },
		"db.prepare": func(db *sql.DB) error { _, err := db.Prepare("insert"); return err },
		"db.exec":    func(db *sql.DB) error { _, err := db.Exec("insert", 1); return err },
		"db.query":   func(db *sql.DB) error { _, err := db.Query("select"); return err },
		"db.next":    func(db *sql.DB) error { return db.QueryRow("select").Scan(new(string)) },
		"db.begin":   func(db *sql.DB) error { _, err := db.Begin(); return err },
	}
	for _, kind := range kinds {
		for point, call := range calls {
			t.Run(kind+" "+point, func(t *testing.T) {
				set, e, db := newDB(t, kind)
				faulttest.Put(t, set, fault.Rule{Point: point, Count: 1, Error: &fault.Failure{Cause: "too_many_files"}})
				if err := call(db); !errors.Is(err, fault.ErrInjected) || !errors.Is(err, syscall.EMFILE) || errors.Is(err, driver.ErrBadConn) {
					t.Error(err)
				}
				if rows := e.holds(); len(rows) > 0 {
					t.Error(rows)
				}
				faulttest.Put(t, set, fault.Rule{Point: point, ID: "panic", Count: 1, Panic: &fault.Panicking{}})
				if point == "db.connect" { // the pool has one
					db.SetMaxIdleConns(0)
				}
				if err := call(db); !errors.Is(err, fault.ErrInjected) {
					t.Error("after a panic:", err)
				}
				if n := db.Stats().InUse; n != 0 {
					t.Errorf("%d connections are in use", n)
				}
				if _, err := db.Exec("insert", 1); err != nil {
					t.Error(err)
				}
				if hits := faulttest.Hits(set, point); hits != 2 {
					t.Errorf("%d hits", hits)
				}
			})
		}
	}
}

func TestBrokenConnectionIsReplacedAndTheCallTriedAgain(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			set, e, db := newDB(t, kind)
			if err := db.Ping(); err != nil {
				t.Fatal(err)
			}
			faulttest.Put(t, set, fault.Rule{Point: "db.exec", Count: 2, Error: &fault.Failure{Cause: "reset"}})
			if _, err := db.Exec("insert", 1); err != nil {
				t.Error(err)
			}
			if rows := e.holds(); !slices.Equal(rows, []string{"1"}) || e.opened != 3 || e.closed != 2 {
				t.Error(rows, e.opened, e.closed)
			}
			faulttest.Put(t, set, fault.Rule{Point: "db.exec", ID: "all", Error: &fault.Failure{Cause: "broken_pipe"}})
			if _, err := db.Exec("insert", 1); !errors.Is(err, driver.ErrBadConn) || !errors.Is(err, syscall.EPIPE) || !errors.Is(err, fault.ErrInjected) {
				t.Error(err)
			}
			if hits := faulttest.Hits(set, "db.exec"); hits != 2+3 {
				t.Error(hits)
			}
		})
	}
}

// TestCommitThatFailsIsNotCommittedAndOneThatIsLostIs is the unknown outcome: two errors that a caller cannot tell
// apart for what they did.
func TestCommitThatFailsIsNotCommittedAndOneThatIsLostIs(t *testing.T) {
	for _, kind := range kinds {
		for name, test := range map[string]struct {
			rule fault.Rule
			want []string
			is   error
		}{
			"error":      {fault.Rule{Error: &fault.Failure{Cause: "timeout"}}, []string{"b"}, fault.ErrInjected},
			"broken":     {fault.Rule{Error: &fault.Failure{Cause: "reset"}}, []string{"b"}, syscall.ECONNRESET},
			"lost":       {fault.Rule{Drop: &fault.Drop{}}, []string{"a", "b"}, io.ErrUnexpectedEOF},
			"only early": {fault.Rule{Skip: 2, Drop: &fault.Drop{}}, []string{"a", "b"}, nil},
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				set, e, db := newDB(t, kind)
				test.rule.Point, test.rule.Count = "db.commit", 1
				faulttest.Put(t, set, test.rule)
				for i, v := range []string{"a", "b"} {
					tx, err := db.Begin()
					if err != nil {
						t.Fatal(err) // a transaction was left open
					}
					if _, err := tx.Exec("insert", v); err != nil {
						t.Fatal(err)
					}
					err = tx.Commit()
					if first := i == 0; first && test.is != nil && (!errors.Is(err, fault.ErrInjected) || !errors.Is(err, test.is) || errors.Is(err, driver.ErrBadConn)) {
						t.Error(err)
					} else if (!first || test.is == nil) && err != nil {
						t.Error(err)
					}
				}
				if got := e.holds(); !slices.Equal(got, test.want) {
					t.Errorf("holds %q, not %q", got, test.want)
				}
				if lost := test.rule.Drop != nil && test.is != nil; lost != (e.closed == 1) {
					t.Errorf("%d connections were closed", e.closed)
				}
			})
		}
	}
}

// TestCallPassesItsPointOnce, also where a driver would rather prepare, and then with what was drawn the first time.
func TestCallPassesItsPointOnce(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			set, _, db := newDB(t, kind)
			faulttest.Put(t, set, fault.Rule{Point: "*", Burn: &fault.Burn{CPU: 1}})
			for i := range int64(3) {
				if _, err := db.Exec("insert", 1); err != nil {
					t.Fatal(err)
				}
				if err := db.QueryRow("select").Scan(new(string)); err != nil {
					t.Fatal(err)
				}
				if exec, query := faulttest.Hits(set, "db.exec"), faulttest.Hits(set, "db.query"); exec != i+1 || query != i+1 {
					t.Fatal(exec, query)
				}
			}
		})
	}
}

func TestExecWhoseAnswerIsLostWasDone(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			set, e, db := newDB(t, kind)
			faulttest.Put(t, set, fault.Rule{Point: "db.exec", Count: 1, Drop: &fault.Drop{}})
			if _, err := db.Exec("insert", 1); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn) {
				t.Error(err)
			}
			if got := e.holds(); !slices.Equal(got, []string{"1"}) || e.closed != 1 {
				t.Error(got, e.closed)
			}
			// In a transaction it takes the transaction with it.
			faulttest.Put(t, set, fault.Rule{Point: "db.exec", ID: "again", Count: 1, Drop: &fault.Drop{}})
			tx, err := db.Begin()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec("insert", 2); !errors.Is(err, fault.ErrInjected) {
				t.Error(err)
			}
			if _, err := tx.Exec("insert", 3); !errors.Is(err, driver.ErrBadConn) {
				t.Error(err)
			}
			if err := tx.Commit(); !errors.Is(err, driver.ErrBadConn) {
				t.Error(err)
			}
			if got := e.holds(); !slices.Equal(got, []string{"1"}) {
				t.Error(got)
			}
		})
	}
}

func TestRollbackFailsAndIsDone(t *testing.T) {
	set, e, db := newDB(t, "full")
	faulttest.Put(t, set, fault.Rule{Point: "db.rollback", Count: 1, Error: &fault.Failure{}})
	for range 2 {
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = tx.Exec("insert", 1)
		_ = tx.Rollback()
	}
	if got := e.holds(); len(got) > 0 || faulttest.Hits(set, "db.rollback") != 1 || db.Stats().InUse != 0 {
		t.Error(got, db.Stats().InUse)
	}
}

func TestPanicAtCommitRollsBackAndCostsNoConnection(t *testing.T) {
	set, e, db := newDB(t, "full")
	for _, point := range []string{"db.begin", "db.commit", "db.rollback"} {
		faulttest.Put(t, set, fault.Rule{Point: point, Count: 1, Panic: &fault.Panicking{}})
		tx, err := db.Begin()
		if err == nil {
			_, _ = tx.Exec("insert", 1)
			if point == "db.rollback" {
				err = tx.Rollback()
			} else {
				err = tx.Commit()
			}
		}
		if !errors.Is(err, fault.ErrInjected) {
			t.Error(point, err)
		}
		if got := e.holds(); len(got) > 0 || db.Stats().InUse != 0 {
			t.Error(point, got, db.Stats().InUse)
		}
	}
	if _, err := db.Exec("insert", 1); err != nil {
		t.Error(err)
	}
}

// TestPanicOnAGoroutineOfThePoolIsAnError: database/sql rolls back and connects on goroutines of its own.
func TestPanicOnAGoroutineOfThePoolIsAnError(t *testing.T) {
	t.Run("rollback", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			set, _, db := newDB(t, "full")
			ctx, cancel := context.WithCancel(t.Context())
			if _, err := db.BeginTx(ctx, nil); err != nil {
				t.Fatal(err)
			}
			faulttest.Put(t, set, fault.Rule{Point: "db.rollback", Panic: &fault.Panicking{}})
			cancel()
			synctest.Wait()
			if hits := faulttest.Hits(set, "db.rollback"); hits != 1 || db.Stats().InUse != 0 {
				t.Error(hits, db.Stats().InUse)
			}
		})
	})
	t.Run("connect", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			set, _, db := newDB(t, "full")
			db.SetMaxOpenConns(1)
			c, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			waits := make(chan error, 1)
			go func() { waits <- db.Ping() }()
			synctest.Wait()
			faulttest.Put(t, set, fault.Rule{Point: "db.exec", Count: 1, Drop: &fault.Drop{}})
			if _, err := c.ExecContext(t.Context(), "insert", 1); !errors.Is(err, fault.ErrInjected) {
				t.Error(err)
			}
			faulttest.Put(t, set, fault.Rule{ID: "p", Point: "db.connect", Count: 1, Panic: &fault.Panicking{}})
			_ = c.Close() // it is of no use: another is opened for who waits
			if err := <-waits; !errors.Is(err, fault.ErrInjected) {
				t.Error(err)
			}
			if err := db.Ping(); err != nil {
				t.Error(err)
			}
		})
	})
}

// TestPassageIsOfOneCall: if a driver would rather prepare, and cannot, what was drawn for that call is gone with it.
func TestPassageIsOfOneCall(t *testing.T) {
	for name, within := range map[string]bool{"from the pool": false, "in a transaction": true} {
		t.Run(name, func(t *testing.T) {
			set, e, db := newDB(t, "skips")
			db.SetMaxOpenConns(1)
			execs := db.Exec
			if within {
				tx, err := db.Begin()
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = tx.Rollback() }()
				execs = tx.Exec
			}
			faulttest.Put(t, set, fault.Rule{ID: "drop", Point: "db.exec", Drop: &fault.Drop{}})
			faulttest.Put(t, set, fault.Rule{ID: "p", Point: "db.prepare", Count: 1, Error: &fault.Failure{}})
			if _, err := execs("insert", 1); !errors.Is(err, fault.ErrInjected) {
				t.Error(err)
			}
			// The next is another call: it passes the point itself, and with what is drawn for it.
			faulttest.Clear(t, set)
			faulttest.Put(t, set, fault.Rule{ID: "look", Point: "db.exec", Burn: &fault.Burn{CPU: 1}})
			if _, err := execs("insert", 2); err != nil {
				t.Error(err)
			}
			if hits := faulttest.Hits(set, "db.exec"); hits != 2 || e.opened != 1 {
				t.Errorf("%d hits, %d connections", hits, e.opened)
			}
		})
	}
}

func TestPreparedStatementAfterAPassagePassesItsPoint(t *testing.T) {
	set, _, db := newDB(t, "skips")
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	faulttest.Put(t, set, fault.Rule{Point: "db.exec", Burn: &fault.Burn{CPU: 1}})
	faulttest.Put(t, set, fault.Rule{ID: "p", Point: "db.prepare", Count: 1, Error: &fault.Failure{}})
	if _, err := tx.Exec("insert", 1); !errors.Is(err, fault.ErrInjected) {
		t.Error(err)
	}
	stmt, err := tx.Prepare("insert")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stmt.Exec(2); err != nil {
		t.Error(err)
	}
	if hits := faulttest.Hits(set, "db.exec"); hits != 2 {
		t.Errorf("%d hits", hits)
	}
}

func TestRowsEndEarlyOrFail(t *testing.T) {
	set, e, db := newDB(t, "full")
	e.rows = []string{"a", "b", "c"}
	read := func() (got []string, err error) {
		rows, err := db.Query("select")
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		for rows.Next() {
			var v string
			if err := rows.Scan(&v); err != nil {
				return nil, err
			}
			got = append(got, v)
		}
		return got, rows.Err()
	}
	faulttest.Put(t, set, fault.Rule{Point: "db.next", Where: map[string]string{"query": "sel*"}, Skip: 2, Error: &fault.Failure{Cause: "reset"}})
	if got, err := read(); len(got) != 2 || !errors.Is(err, syscall.ECONNRESET) {
		t.Error(got, err)
	}
	faulttest.Put(t, set, fault.Rule{Point: "db.next", Skip: 1, Error: &fault.Failure{Cause: "eof"}})
	if got, err := read(); len(got) != 1 || err != nil {
		t.Error(got, err)
	}
}

func TestHangEndsWithTheContextOfItsCall(t *testing.T) {
	for _, kind := range []string{"full", "plain"} {
		for _, point := range []string{"db.connect", "db.ping", "db.prepare", "db.exec", "db.query", "db.next", "db.begin", "db.commit", "db.rollback"} {
			t.Run(kind+" "+point, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					set := faulttest.New(t)
					e := &engine{kind: kind, rows: []string{"a"}}
					db := sql.OpenDB(Connector(e, points(set)))
					defer db.Close()
					faulttest.Put(t, set, fault.Rule{Point: point, Hang: &fault.Hang{}})
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					began := time.Now()
					err := func() error {
						switch point {
						case "db.connect", "db.ping":
							return db.PingContext(ctx)
						case "db.prepare":
							_, err := db.PrepareContext(ctx, "insert")
							return err
						case "db.exec":
							_, err := db.ExecContext(ctx, "insert", 1)
							return err
						case "db.query", "db.next":
							return db.QueryRowContext(ctx, "select").Scan(new(string))
						}
						tx, err := db.BeginTx(ctx, nil)
						if err != nil {
							return err
						}
						if point == "db.rollback" {
							return tx.Rollback()
						}
						return tx.Commit()
					}()
					if took := time.Since(began); took != time.Second || !errors.Is(err, context.DeadlineExceeded) {
						t.Error(took, err)
					}
					faulttest.Clear(t, set)
					if _, err := db.Exec("insert", 1); err != nil {
						t.Error(err)
					}
					if got := e.holds(); !slices.Equal(got, []string{"a", "1"}) {
						t.Error(got)
					}
				})
			})
		}
	}
}

func TestRawConnectionIsFound(t *testing.T) {
	_, _, db := newDB(t, "full")
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Raw(func(c any) error {
		if _, ok := c.(interface{ Unwrap() driver.Conn }).Unwrap().(*fullConn); !ok {
			return errors.New("another connection")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestConnThatIsOffAllocatesNothing(t *testing.T) {
	c, err := Connector(quiet{}, points(faulttest.New(t))).Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	exec, ctx := c.(driver.ExecerContext), t.Context()
	if n := testing.AllocsPerRun(100, func() { _, _ = exec.ExecContext(ctx, "insert", nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// quiet answers without cost of its own.
type quiet struct{ driver.Conn }

func (q quiet) Connect(context.Context) (driver.Conn, error) { return q, nil }

func (quiet) Driver() driver.Driver { return nil }

func (quiet) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return driver.ResultNoRows, nil
}

func BenchmarkOff(b *testing.B) {
	for name, connector := range map[string]driver.Connector{"bare": quiet{}, "points": Connector(quiet{}, points(faulttest.New(b)))} {
		c, err := connector.Connect(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		exec := c.(driver.ExecerContext)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = exec.ExecContext(b.Context(), "insert", nil)
			}
		})
	}
}
