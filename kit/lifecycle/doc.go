// Package lifecycle says in which state a service, a model or a plugin is, starts and stops the parts of a
// process in order, and turns signals into an orderly stop.
//
//   - A [Machine] holds one [State]. It refuses every transition that the table does not list.
//   - A [Group] starts members in order, waits, and stops them in reverse order within bounds.
//   - [Signals] gives the context that a main function runs its group with.
//
// Do not use a Machine for states that your business defines (an order, a saga): its table is fixed. Do not
// use a Group for a few goroutines that may end in any order and share one fate: an errgroup is shorter.
//
//	ctx, stop := lifecycle.Signals(context.Background(), nil)
//	defer stop()
//	web := lifecycle.Member{Name: "web", Run: server.Run}
//	group, err := lifecycle.NewGroup("shop", lifecycle.DefaultConfig(), []lifecycle.Member{store, web})
//	// … check err, then:
//	err = group.Run(ctx)
package lifecycle
