// Package live shows a load run while it goes on: in place on a terminal, as a line a second elsewhere, and its
// summary at the end.
//
//	view := live.New(os.Stderr, live.Detect(os.Stderr, os.Getenv))
//	defer view.Close(nil)  // gives the cursor back, whatever happens
//	view.Show(progress)    // about five times a second
//	view.Close(result)     // the summary
//
// Latencies are shown twice: corrected, from the time at which a request was due, which is what a user waits; and
// uncorrected, from the time at which it was sent, which is what most tools report. When the two part, the target
// slowed down the questions.
//
// It is for people. A program reads package load's Result, and a report that is to be kept is made by package report.
package live
