// Package faultnet has fault points where bytes pass a network: around a [net.Conn], a [net.Listener] and a function
// that dials.
//
// Use it below TLS and HTTP, where a program meets slow, lossy and broken connections. Do not use it for what
// faulthttp or the driver of a database can say better: a broken connection below a pool is mostly one more retry.
// The caller declares the points, so that their names say what is at the other end:
//
//	var write = fault.Def{Name: "redis.write", Doc: "Bytes go to Redis.", Attrs: []string{"network", "local", "remote", "address"}, Effects: fault.Bytes}
//	// …
//	points := faultnet.Points{Write: set.Point(write)}
//	dial := faultnet.Dial((&net.Dialer{}).DialContext, points)
//	conn, err := dial(ctx, "tcp", "redis:6379")
//
// A point tells "network", "local" and "remote", and of what was dialled "address", as it was asked for. At Dial
// itself there is only "network" and "address".
package faultnet
