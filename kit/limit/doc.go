// Package limit bounds how much work runs at once and how much waits for it, so that overload is answered
// fast instead of making everything slow.
//
// A [Limit] has a number of slots, fixed or found by itself ([Adaptive]), and, behind them, a queue of fixed length
// that knows deadlines, priorities and tenants: a request that can no longer be done in time is refused at once, at
// the door or in the queue; the urgent go first; a tenant that floods delays itself. Requests whose input is still on
// its way are counted apart: they can fill neither. A [Listener] bounds what comes before requests: connections, of
// all and of one client, and how slow they may be.
//
// Do not use it for a rate ("100 a second for this tenant"), which it does not know, nor to keep something
// unique, for which a mutex is cheaper. Work that nobody waits for needs a queue on disk, not this one.
//
// A server admits in two steps, so that a slow body takes a place of its own kind, and never a slot or a place
// in the queue:
//
//	permit, err := l.AdmitFor(limit.Request{Deadline: deadline, Tenant: user}) // before the body is read; never blocks
//	if err != nil {
//		return err // a *RejectedError: answer 429 or 503 with its RetryAfter
//	}
//	defer permit.Done()
//	// … read the body, then:
//	err = permit.Start(ctx) // waits for a slot
//
// Where there is no body, AcquireFor does both. Long work calls Yield between blocks, so that short work need not wait
// for all of it, and Extra for slots that nobody else needs.
package limit
