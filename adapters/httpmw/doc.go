// Package httpmw puts the joints of the kit into net/http: middleware for servers, and a RoundTripper and tuned
// connections for clients. A limit, a ramp and a breaker take part in each call, a fallback in those of a client;
// their permits come back whatever a handler or a caller does.
//
// Server: [Limit], [Ramp] and [Breaker] wrap a handler. From outside in that is the right order: a request that
// waits is no probe yet, and what the limit refuses is no failure of the handler.
//
// Client: [NewClient] gives connections by a preset and puts a [Transport] upon them. The result of a call is known
// once its body is read or closed, and counted then.
//
// [Faults] and [WithFaults] give handlers and calls fault points, beneath the joints.
//
// Do not use it to retry: a retry belongs outside, so that each try is asked for and counted. Do not use the limit
// for long-lived streams together with short requests: a stream keeps its slot until it ends.
//
//	guard := httpmw.Limit(l, httpmw.LimitOptions{})
//	mux.Handle("POST /v1/orders", guard(orders))
//
//	client, err := httpmw.NewClient(httpmw.DefaultClientConfig(), httpmw.WithBreaker(g, httpmw.ByHost))
//	resp, err := client.Get("http://stock:8080/v1/stock/4711") // a *breaker.RejectedError inside: it was not sent
package httpmw
