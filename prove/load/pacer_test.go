package load

import "testing"

// The dispatcher may look before the users are there, when nothing is in flight and a closed loop has no schedule.
func TestRunIsNotOverBeforeItsUsersAreThere(t *testing.T) {
	p := newPacer(&run{plan: &Plan{Closed: &Closed{}}}, nil)
	p.mu.Lock()
	u, _ := p.due(0)
	p.mu.Unlock()
	select {
	case <-p.settled:
		t.Error("settled before it began")
	default:
	}
	if u != nil {
		t.Error("a user out of nothing")
	}
	p.start(nil) // nobody comes
	select {
	case <-p.settled:
	default:
		t.Error("not settled with nothing to do")
	}
}
