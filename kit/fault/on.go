//go:build !dougong_nofault

package fault

const compiledOut = false
