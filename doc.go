// Package dougong is the root of the Dougong platform: it holds the tests of the house itself. The
// programs are under cmd, the rooms are listed in ARCHITECTURE.md.
package dougong
