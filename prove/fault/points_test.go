package fault

import (
	"errors"
	"strings"
	"testing"
	"time"

	inject "github.com/dougong-io/dougong/kit/fault"
)

func TestMisspeltPointsAreSaidBeforeTheFirstWindow(t *testing.T) {
	p, s := inProcess(t)
	p.Faults = []Fault{
		{Name: "slow", Rule: delay(time.Millisecond)},
		{Name: "slower", Rule: &Rule{Point: "target.wrok", Delay: &inject.Delay{Fixed: time.Millisecond}}},
		{Name: "lost", Rule: &Rule{Point: "target.work", Drop: &inject.Drop{}}},
	}
	begin := time.Now()
	_, err := Run(t.Context(), p, Options{Journal: t.TempDir()})
	if !errors.Is(err, ErrPlan) || time.Since(begin) > time.Duration(p.Warmup) {
		t.Fatalf("%v after %v", err, time.Since(begin))
	}
	for _, want := range []string{
		"\nfaults[1].rule.point: slower would strike nothing in target: no point is called target.wrok; did you mean target.work?",
		"\nfaults[2].rule.point: lost would strike nothing in target: the point target.work cannot drop",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	if status := s.set.Status(); len(status.Recent) > 0 || len(status.Rules) > 0 {
		t.Errorf("%+v", status)
	}
}
