// Package loadcmd tests `dougong load` from outside: the real binary against a real `dougong up`, by exit codes, by
// what it prints, and by the reports that it leaves. It holds tests only.
//
// Where a test needs a certain verdict it runs with a plan whose late_after no machine reaches, so that a busy one
// cannot make the verdict inconclusive. TestCommandsOfThePage runs every command of docs/load.md that is marked as
// one to run. What the generator counts and how is tested in prove/load.
package loadcmd
