package fault

import (
	"context"
	"time"
)

// Observer is told of what is rare without faults. It is called on the goroutine that did it, with no lock held,
// and must not call the set.
type Observer interface {
	Struck(context.Context, Hit) // a call was struck; before the effect
	Changed(Change)              // a rule began or ended, or a kill switch was thrown
}

// Hit is a call that a rule strikes.
type Hit struct {
	At         time.Time         `json:"at"`
	Point      string            `json:"point"`
	Source     string            `json:"source"`
	Rule       string            `json:"rule"`
	Effect     string            `json:"effect"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

// Change is a rule that came into force or left it. Of a kill switch Rule is empty.
type Change struct {
	Source string
	Rule   string
	State  State
}

type nobody struct{}

func (nobody) Struck(context.Context, Hit) {}
func (nobody) Changed(Change)              {}
