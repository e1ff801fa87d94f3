// Package schedule says when requests are due, before anything is known of how the target takes them. That is what
// makes a load open: the schedule does not wait.
//
// A schedule is a list of stages, each with a rate that changes on a straight line or swings as a sine. Requests are
// spaced evenly, or as a Poisson process: the k-th is due at the time t at which the integral of the rate reaches k
// (evenly), or a sum of k draws from Exp(1) (Poisson; time rescaling, Daley and Vere-Jones, An Introduction to the
// Theory of Point Processes, 7.4). So a Poisson schedule keeps the rates of any shape. A schedule can also be
// recorded: times read from a file.
//
//	spec, err := schedule.Steps("200:+200/10s:12000")
//	s, err := schedule.New(spec, seed)
//	for due, ok := s.Next(); ok; due, ok = s.Next() { … }
//
// A Schedule is not safe for concurrent use.
package schedule
