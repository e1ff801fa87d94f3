// Package fault measures what faults do to a service: it offers a steady load, switches one fault after the other on
// and off, and says for each what it cost, how long it took until the service noticed, and how long until all was as
// before.
//
// A fault is a rule of kit/fault, put at the admin port of a running service, or something done to a process that the
// plan starts: killed, stopped, restarted, given less processor or memory.
//
//	plan := fault.DefaultPlan()
//	plan.Services = []fault.Service{{Name: "shop", Admin: "http://127.0.0.1:9090"}}
//	plan.Load.Target = "http://127.0.0.1:8080"
//	plan.Faults = []fault.Fault{{Name: "slow bank", Rule: &fault.Rule{Point: "bank.charge", Delay: &inject.Delay{Fixed: 5 * time.Millisecond}}}}
//	result, err := fault.Run(ctx, plan, fault.Options{})
//
// Do not use it on what other people use at the moment: it hurts. It is no search for unknown faults, and one machine
// drives it; it does not break networks or disks of other machines.
//
// # How it measures
//
// Windows with the fault on and off alternate in pairs, in random order within each, so that whatever drifts on the
// machine falls on both sides; package effect compares them. Latency counts from when a request was due (prove/load).
// A control, in which nothing is done, comes first: what is claimed for it is a false alarm. What a rule did not hit
// has no effect, and none is claimed. Windows in which the generator itself was late by a tenth of their length are
// left out, and made up for once.
//
// A service detects a fault when it says so itself: /readyz fails or tells another state than Ready, a circuit in
// /statusz is not closed, or it does not answer within half a second. It is asked every 50 ms, and each sign is known
// to no better than since it was asked before. What cannot be read is not silence: a run does not begin with a service
// that will not say how it is, and where it ceases to, nobody knows whether it detected. It has recovered when
// two spans of 300 ms, one after the other, are within what was normal for latency and failures, and it says
// of itself what it said before.
//
// # What it undoes
//
// Before anything is changed, what undoes it is on the disk: a journal, one file a run, locked while the prover lives.
// Run undoes everything when it ends, in whatever way. After a crash, Undo does: it takes rules back, continues stopped
// processes, puts quotas back, and ends what a plan had started, which is known by a mark in its environment and by
// when it began, never by its number alone, and in its own pid namespace only. Undo may be called at any time and be
// killed itself. A rule whose call was cut off is looked for until it cannot arrive any more. Rules end by themselves
// besides, half a minute after their window.
package fault
