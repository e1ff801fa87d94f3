package main

import (
	"time"

	"github.com/dougong-io/dougong/kit/breaker"
	"github.com/dougong-io/dougong/kit/ramp"
)

// eachCounted is the policy that a group has by default, without sampling.
func eachCounted() breaker.Policy {
	p := breaker.DefaultPolicy()
	p.Sampling.Least = 1
	return p
}

// staysOpen is for what must be open for as long as it is measured.
func staysOpen() breaker.Policy {
	p := breaker.DefaultPolicy()
	p.Open = ramp.Backoff{First: time.Hour, Factor: 1, Most: time.Hour}
	return p
}

// newGroup returns a group that knows keys.
func newGroup(p breaker.Policy, keys []upstream, opts ...breaker.Option[upstream]) *breaker.Group[upstream] {
	g := must(breaker.New(p, opts...))
	for _, k := range keys {
		permit, err := g.Allow(k)
		passed(err)
		permit.Done(breaker.Success)
	}
	return g
}

// succeedBy is one allowed call that succeeds, by handle.
func succeedBy(c *breaker.Circuit) func(n int) {
	return func(n int) {
		for range n {
			p, err := c.Allow()
			if err != nil {
				passed(err)
			}
			p.Done(breaker.Success)
		}
	}
}

// succeedByKey is the same by key, always the same one.
func succeedByKey(g *breaker.Group[upstream], key upstream) func(n int) {
	return func(n int) {
		for range n {
			p, err := g.Allow(key)
			if err != nil {
				passed(err)
			}
			p.Done(breaker.Success)
		}
	}
}
