// Package supervisor runs a model in worker processes, so that what goes wrong in native code costs a process and no
// request: a crash, a hang, a leak, a device that is gone.
//
// A [Pool] keeps some workers of one version of a model. It spawns them over inherited sockets (package wire has the
// protocol), gives each the model's verified bytes, has it answer the golden rows before it serves, asks for its
// heartbeat, and replaces it when it dies, stops, hangs, breaks the protocol, grows too large or too old. Workers end
// with their parent, however that ends.
//
// A call that was on a worker when it died is sent once more, to another worker and alone there. If that one dies too,
// the call is what kills: its content goes into quarantine, and is refused with a reference from then on. A call that
// outlives its caller's deadline has let its caller go by then; if it goes on, its worker is replaced.
//
// Calls that wait while all workers are busy are sent together (Batch).
//
// It is not for engines in Go, which need no process of their own, nor for work that must not be done twice.
//
//	pool, err := supervisor.New(supervisor.DefaultConfig(), model, supervisor.Deps{})
//	go pool.Run(ctx)
//	permit, err := pool.Limit().AcquireFor(limit.Request{Ctx: ctx, Tenant: tenant})
//	defer permit.Done()
//	err = pool.Predict(ctx, answers, rows)
package supervisor
