package limit

import "time"

const (
	tickLeast = 5 * time.Millisecond
	tickMost  = time.Second / 4
)

// sweep moves the clock, closes the slow, and looks for those who could make room, until Close.
func (l *Listener) sweep() {
	defer close(l.swept)
	ticker := time.NewTicker(l.tick)
	defer ticker.Stop()
	var slow, found []candidate
	for {
		select {
		case <-l.stop:
			return
		case <-ticker.C:
		}
		now := time.Since(l.epoch)
		l.now.Store(int64(now))
		slow, found = slow[:0], found[:0]
		l.mu.Lock()
		crowded := l.config.MaxConns > 0 && len(l.conns) >= l.config.MaxConns-l.config.MaxConns/8
		if crowded || l.config.MinRate > 0 {
			for c := range l.conns {
				verdict, may := c.judge(now)
				switch {
				case may.reason == "":
				case verdict:
					slow = append(slow, may)
				case crowded:
					found = append(found, may)
				}
			}
		}
		l.mu.Unlock()
		for _, s := range slow {
			s.conn.evict(s.reason)
		}
		found = firstOf(found, l.config.MaxConns)
		l.mu.Lock()
		l.room.fill(found)
		l.mu.Unlock()
		clear(slow)
		clear(found)
	}
}
