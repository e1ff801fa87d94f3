package limit

// flows is a heap that knows where in it each flow is, so that any can be moved or dropped in O(log n).
type flows struct {
	heap   []*flow
	before func(a, b *flow) bool
	place  func(*flow) *int // index + 1, 0 for one that is not in the heap
}

func (h *flows) add(f *flow) {
	h.heap = append(h.heap, f)
	h.settle(len(h.heap) - 1)
}

// drop takes f out, if it is there.
func (h *flows) drop(f *flow) {
	i := *h.place(f) - 1
	if i < 0 {
		return
	}
	*h.place(f) = 0
	last := len(h.heap) - 1
	moved := h.heap[last]
	h.heap[last] = nil
	h.heap = h.heap[:last]
	if i < last {
		h.heap[i] = moved
		h.settle(i)
	}
}

// moved says that the order of f has changed, if it is there.
func (h *flows) moved(f *flow) {
	if i := *h.place(f) - 1; i >= 0 {
		h.settle(i)
	}
}

// settle moves the flow at i up or down to where it belongs.
func (h *flows) settle(i int) {
	f := h.heap[i]
	for i > 0 {
		up := (i - 1) / 2
		if !h.before(f, h.heap[up]) {
			break
		}
		h.put(i, h.heap[up])
		i = up
	}
	for {
		down := 2*i + 1
		if down >= len(h.heap) {
			break
		}
		if down+1 < len(h.heap) && h.before(h.heap[down+1], h.heap[down]) {
			down++
		}
		if !h.before(h.heap[down], f) {
			break
		}
		h.put(i, h.heap[down])
		i = down
	}
	h.put(i, f)
}

func (h *flows) put(i int, f *flow) {
	h.heap[i] = f
	*h.place(f) = i + 1
}
