//go:build !amd64 || noasm

package tree

// hasWide says that there is no kernel in assembly; the rest is never called.
const hasWide = false

func setColumnWide[K key](slots []uint64, thresholds []K, keys *[2 * word]K) bool { return false }

func (s *sliced[L]) addTreesWide(margins []L, slots []uint64) {}
