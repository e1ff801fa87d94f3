package otel

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dougong-io/dougong/adapters/internal/faultrules"
	"github.com/dougong-io/dougong/kit/fault"
	"github.com/dougong-io/dougong/kit/fault/faulttest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// injured is a set that reports to meters of its own.
func injured(t *testing.T) (meters, *fault.Set) {
	t.Helper()
	m := newMeters()
	faults, err := NewFaults(m)
	if err != nil {
		t.Fatal(err)
	}
	set := faulttest.New(t, fault.WithObserver(faults.Observer()))
	if _, err := faults.Watch(set); err != nil {
		t.Fatal(err)
	}
	return m, set
}

func (m meters) collect(ctx context.Context) error {
	var data metricdata.ResourceMetrics
	return m.reader.Collect(ctx, &data)
}

// TestEveryPointIsTripped strikes each point by name and looks at what comes of it.
func TestEveryPointIsTripped(t *testing.T) {
	var cases []faultrules.Case
	for effect, want := range map[string]error{
		`"error":{"cause":"io"}`: fault.ErrInjected,
		`"panic":{}`:             fault.ErrInjected, // which ends no process
		`"hang":{}`:              context.DeadlineExceeded,
	} {
		cases = append(cases, faultrules.Case{Point: "otel.collect", Effect: effect, Check: func(t *testing.T, set *fault.Set) {
			m := newMeters()
			faults, err := NewFaults(m)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := faults.Watch(set); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			if err := m.collect(ctx); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
			faultrules.Put(t, set)
			if err := m.collect(t.Context()); err != nil {
				t.Errorf("without rules: %v", err)
			}
		}})
	}
	faultrules.Trip(t, cases)
}

func TestFaultsAreCounted(t *testing.T) {
	m, set := injured(t)
	point := set.Point(fault.Def{Name: "shop.order", Doc: "For tests.", Attrs: []string{"sku"}, Effects: fault.Call})
	faultrules.Put(t, set, `{"point":"shop.*","error":{},"count":2}`, `{"point":"shop.*","memory":{"bytes":4096}}`)
	for range 4 {
		_ = point.Hit(t.Context(), fault.Attr{Key: "sku", Value: "4711"})
	}
	if err := set.Kill(fault.Etcd, true); err != nil {
		t.Fatal(err)
	}
	lines := m.read(t, "dougong.fault.")
	for _, want := range []string{
		"dougong.fault.hits {call} error,shop.order 2 monotonic=true",
		"dougong.fault.hits {call} memory,shop.order 2 monotonic=true",
		"dougong.fault.rules {rule} admin,exhausted 1 monotonic=false",
		"dougong.fault.rules {rule} admin,killed 1 monotonic=false",
		"dougong.fault.rules {rule} etcd,active 0 monotonic=false",
		"dougong.fault.killed 1 etcd 1 monotonic=false",
		"dougong.fault.killed 1 admin 0 monotonic=false",
		"dougong.fault.changes {change} etcd,killed 1 monotonic=true",
		"dougong.fault.held 1 calls 0 monotonic=false",
		"dougong.fault.memory By  0 monotonic=false",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("there is no %q in %q", want, lines)
		}
	}
}
