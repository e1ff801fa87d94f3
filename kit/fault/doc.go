// Package fault lets a program injure itself on purpose: at named points, as rules say, for a bounded time, and at
// next to no cost while there are none.
//
// A [Point] is a boundary of the program: an outgoing call, a write to disk, an engine, a queue. A [Rule] names
// points by pattern, says whom it meets (attributes, probability, every nth, a budget) and what happens to them: a
// delay, an error, a panic, a hang, lost or damaged bytes, burnt processor time, held memory, parked goroutines, a
// clock that is wrong. Rules come in documents from a few sources (a file, etcd, the admin port), each of which has
// a kill switch. Every rule ends by itself, and everything that it did ends with it.
//
// Do not use it to test what a unit test can reach by an argument, and do not make a point of what no engineer
// would ever want to see fail: each point is a promise that the code around it survives. Nothing may hold a lock
// while it passes a point.
//
//	faults, err := fault.New(fault.DefaultConfig())
//	// … check err
//	var charging = fault.Def{Name: "bank.charge", Doc: "The bank is asked for money.", Attrs: []string{"tenant"}, Effects: fault.Call}
//	point := faults.Point(charging)
//	// … and where the boundary is:
//	if point.On() {
//		if err := point.Hit(ctx, fault.Attr{Key: "tenant", Value: tenant}); err != nil {
//			return err
//		}
//	}
//
// A build with the tag dougong_nofault has no faults: [Point.On] is the constant false there, so that the compiler
// removes what it guards, and every document with rules is refused with [ErrCompiledOut].
package fault
