// Package soak holds the inference service under load for a while and watches it from outside: the real binary as a
// process of its own, on a fifth of a processor where cgroups allow that, loaded by prove/load. It holds tests only.
//
//	make soak-inference        200 predict loops and 5 scrapers that read a byte a second, for 2 minutes
//	make overload-inference    bursts, then 2.5 times what the process can do, for 90 s a part
//
// In make test the same tests take 20 s and 10 s. What they judge is behaviour that a noisy machine does not change:
// who lives, what is answered, what is bounded and what comes back. For figures there is make bench-serve. Where to
// look for a single behaviour, such as the order of a stop, is test/e2e.
package soak
