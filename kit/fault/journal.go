package fault

import "sync"

// journal keeps the last hits.
type journal struct {
	mu   sync.Mutex
	ring [64]Hit
	n    int
}

func (j *journal) add(h Hit) {
	j.mu.Lock()
	j.ring[j.n%len(j.ring)] = h
	j.n++
	j.mu.Unlock()
}

func (j *journal) list() []Hit {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := []Hit{}
	for i := j.n - 1; i >= 0 && i >= j.n-len(j.ring); i-- {
		list = append(list, j.ring[i%len(j.ring)])
	}
	return list
}
