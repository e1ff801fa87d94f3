// Package load offers load to a service and tells the truth about what it found.
//
// Most load generators send the next request when the answer to the last has come, and measure from when it was sent.
// A target that stalls for a second then costs them one slow answer a connection, and the thousands of requests that
// users would have made in that second are neither made nor counted (coordinated omission; Gil Tene, "How NOT to
// Measure Latency", 2015). Here an open loop decides by a schedule when requests are due, and latency runs from that
// time. The uncorrected figure stands beside it. The generator watches itself as well: seconds in which it was
// late by its own fault are marked, and are not held against the target.
//
//	plan := load.DefaultPlan()
//	plan.Target = server.URL
//	plan.Open = schedule.Constant(500, 10*time.Second)
//	plan.SLO = []string{"p99<50ms", "errors<0.1%"}
//	result, err := load.Run(ctx, plan, load.Options{})
//
// It speaks HTTP/1.1, HTTP/2, gRPC (unary and server streams) and WebSocket, in clear text and over TLS; requests come
// from templates over rows of CSV or JSONL (package script), schedules from package schedule. A search finds the
// highest rate that holds the objectives. Reports are written by prove/report, the terminal view is prove/live.
//
// It is no tool for micro-benchmarks of a function, for browsers, or for load from many machines: it is one process,
// which says when it is itself the limit.
//
// # How it works
//
// A pacer holds the schedule and the idle users. A user is a connection of HTTP/1.1 or WebSocket, or a stream of
// HTTP/2 or gRPC. The dispatcher sleeps until the next request is due and gives it to an idle user; when all
// are busy the schedule is not read on, and the user that is free first takes the request that has been due
// longest. So what waits costs no memory, and memory does not grow with the length of a run. Counts go to
// stripes, one a processor, and are joined four times a second.
package load
