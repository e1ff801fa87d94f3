//go:build !noasm

package tree

import "golang.org/x/sys/cpu"

// hasWide says whether this processor runs the kernel in assembly.
var hasWide = cpu.X86.HasAVX2

//go:noescape
func runMuxesAVX2(slots, to *uint64, muxes *mux, n int)

//go:noescape
func joinPlanesAVX2(numbers *[16]uint64, slots *uint64, planes *uint16, n int)

//go:noescape
func addLeavesAVX2(margins *[128]float32, slots *uint64, planes *[8]uint16, leaves *[4][64]byte)

//go:noescape
func reachedAVX2(slots *uint64, thresholds *uint32, n int, keys *[128]uint32)

// compareUpTo is the number of thresholds up to which comparing each row with all of them is no
// slower than searching, as measured on columns of up to 1,019.
const compareUpTo = 1024

// setColumnWide is setColumn for both halves of a block; it answers false if searching is faster.
func setColumnWide[K key](slots []uint64, thresholds []K, keys *[2 * word]K) bool {
	narrow, ok := any(keys).(*[2 * word]uint32)
	if !ok || len(thresholds) > compareUpTo {
		return false
	}
	t := any(thresholds).([]uint32)
	slots = slots[2:][:2*len(t)]
	reachedAVX2(&slots[0], &t[0], len(t), narrow)
	return true
}

// addTreesWide is addTrees for a block of 128 rows.
func (s *sliced[L]) addTreesWide(margins []L, slots []uint64) {
	muxes := s.muxes
	narrow, _ := any(margins).([]float32)
	for i := range s.trees {
		t := &s.trees[i]
		if t.muxes > 0 {
			to := slots[s.own:][:2*t.muxes]
			runMuxesAVX2(&slots[0], &to[0], &muxes[0], int(t.muxes))
			muxes = muxes[t.muxes:]
		}
		if narrow != nil && t.digits <= 6 {
			addLeavesAVX2((*[128]float32)(narrow[int(t.output)*128:]), &slots[0], &t.planes, &s.bytes[i])
			continue
		}
		var numbers [16]uint64
		joinPlanesAVX2(&numbers, &slots[0], &t.planes[0], int(t.digits))
		for half := range 2 {
			s.addLeaves((*[word]L)(margins[(int(t.output)*2+half)*word:]), t, (*[word / 8]uint64)(numbers[half*8:]))
		}
	}
}
