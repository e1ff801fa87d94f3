// Package report tests prove/report where it is read: in a real browser, on a result as a real run gives it.
package report
