// Package faultcmd tests `dougong prove faults` from outside: the real binary against real inference services, by exit
// codes, by the result, and by what is left when it is interrupted or killed. It holds tests only.
//
// What windows, intervals and the journal promise is tested in prove/fault.
package faultcmd
