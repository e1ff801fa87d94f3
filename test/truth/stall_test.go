package truth

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/dougong-io/dougong/prove/load"
	"github.com/dougong-io/dougong/prove/load/schedule"
)

var long = os.Getenv("DOUGONG_LONG") != ""

// stallCase is a run against a target that stalls in its midst.
type stallCase struct {
	name                 string
	protocol             load.Protocol
	connections, streams int
	rate                 float64
	length               time.Duration
	target               stalling
}

// stallCases are all protocols with a free connection for each request that is due in the stall, and HTTP/1.1 once more
// with far fewer.
//
// Where there are enough, the target takes 100 ms for each request, so that p50 too is a figure that is known: with a
// target that answers at once it would be noise below a millisecond, of which 1 % means nothing.
func stallCases() []stallCase {
	length, stall, rate, calls, few := 4*time.Second, 200*time.Millisecond, 1000.0, 1000.0, 16
	if long {
		length, stall, rate, calls, few = 20*time.Second, time.Second, 5000, 2000, 64
	}
	slow := stalling{service: 100 * time.Millisecond, after: length * 9 / 20, length: stall}
	atOnce := slow
	atOnce.service = 0
	// In flight at most: what comes in the stall and, at its start, in the time of service; and some to spare.
	enough := func(rate float64) int { return int(rate*(stall+slow.service).Seconds()*1.15) + 200 }
	spaced := func(rate float64) stalling {
		slow.spacing = time.Duration(1e9 / (2 * rate)) // twice as fast as requests are due
		return slow
	}
	const shared = 8 // connections of HTTP/2 and gRPC
	return []stallCase{
		{"HTTP/1.1", load.HTTP1, enough(rate), 1, rate, length, spaced(rate)},
		{"HTTP/1.1 with few connections", load.HTTP1, few, 1, rate, length, atOnce},
		{"HTTP/2", load.HTTP2, shared, enough(rate) / shared, rate, length, spaced(rate)},
		{"gRPC", load.GRPC, shared, enough(calls) / shared, calls, length, spaced(calls)},
		{"WebSocket", load.WebSocket, enough(rate), 1, rate, length, spaced(rate)},
	}
}

// TestStallIsReportedInFull compares the quantiles of a run with two that the generator has no part in:
//
//   - by the schedule: of the requests that are due in the stall, which by the target's clock ends at e, the i-th is due
//     at t and takes e-t and i times the target's spacing. All others take the target's time of service. Where there
//     are fewer connections than requests in the stall, the schedule does not know how fast they are worked off: there
//     the measured quantile may be larger, by as long as the target says that took.
//   - by the target's account: request n was due when the schedule says, and the target answered it when its own clock
//     says. This holds for all.
func TestStallIsReportedInFull(t *testing.T) {
	for _, c := range stallCases() {
		t.Run(c.name, func(t *testing.T) { c.test(t) })
	}
}

// test tries again when the generator was late and says so: such a run proves nothing about either.
func (c stallCase) test(t *testing.T) {
	const tries = 3
	for try := 1; ; try++ {
		faults, late := c.try(t)
		if len(faults) == 0 {
			return
		}
		if late == "" || try == tries {
			for _, fault := range faults {
				t.Error(fault)
			}
			if late != "" {
				t.Errorf("the generator itself was late in all of %d tries (%s): give it a quieter machine", tries, late)
			}
			return
		}
		t.Logf("try %d: %v; %s", try, faults, late)
	}
}

// try makes one run. It returns what is wrong with its result, and how late the generator says that it was.
func (c stallCase) try(t *testing.T) (faults []string, late string) {
	t.Helper()
	tg := startTarget(t, c.protocol, c.target)
	result, err := load.Run(context.Background(), c.plan(tg.addr), load.Options{})
	if err != nil {
		t.Fatal(err)
	}
	started := onMonotonic(result.Started)
	told, err := tg.account()
	if err != nil {
		t.Fatal("the target's account: ", err)
	}
	due := c.due(t)
	total := &result.Total
	if total.OK != uint64(len(due)) || total.Due != total.OK || told.Opened == 0 {
		t.Fatalf("%d requests in the schedule, %d due, %d good, %d unfinished, failed %v, errors %v", len(due), total.Due, total.OK, total.Unfinished, total.Failed, result.Errors)
	}

	bySchedule, byTarget := make([]float64, len(due)), make([]float64, len(due))
	held := int64(0)
	var drain float64 // until the last request that the stall held up was answered
	for n, at := range due {
		answered := told.Answered[n]
		if answered == 0 {
			t.Fatalf("request %d of the schedule never came to the target", n)
		}
		at += started
		bySchedule[n] = float64(c.target.service)
		if at >= told.From && at < told.Opened {
			leaves := told.Opened + held*int64(c.target.spacing)
			held++
			bySchedule[n] = max(bySchedule[n], float64(leaves-at))
			if c.target.spacing == 0 {
				drain = max(drain, float64(answered-leaves))
			}
		}
		byTarget[n] = float64(answered - at)
	}
	slices.Sort(bySchedule)
	slices.Sort(byTarget)
	t.Logf("stall %s, worked off in %s that the schedule does not know; generator late p99.9 %s, at most %s", time.Duration(told.Opened-told.From).Round(time.Microsecond),
		time.Duration(drain).Round(time.Microsecond), time.Duration(result.Client.Late.Quantile(0.999)), time.Duration(result.Client.Late.Max()))
	var admitted float64 // above what is known
	if !long {
		admitted = float64(c.target.length) / 4
	}
	t.Logf("%6s %12s %12s %12s %12s", "ms", "measured", "schedule", "target", "service")
	for _, q := range []float64{0.5, 0.99, 0.999} {
		measured, schedule, target := float64(total.Latency.Quantile(q)), quantile(bySchedule, q), quantile(byTarget, q)
		t.Logf("%6s %12.3f %12.3f %12.3f %12.3f", label(q), measured/1e6, schedule/1e6, target/1e6, float64(total.Service.Quantile(q))/1e6)
		if measured < target-tolerance(target) || measured > target+tolerance(target)+admitted {
			faults = append(faults, fmt.Sprintf("%s is %.3f ms; by the target's account it is %.3f ms", label(q), measured/1e6, target/1e6))
		}
		if measured < schedule-tolerance(schedule) || measured > schedule+tolerance(schedule)+admitted+drain {
			faults = append(faults, fmt.Sprintf("%s is %.3f ms; the schedule implies %.3f ms, and at most %.3f ms to work off the rest", label(q), measured/1e6, schedule/1e6, drain/1e6))
		}
	}
	if c.target.service == 0 {
		// The figure that others report: one request a connection met the stall, the rest waited unseen.
		if p99 := float64(total.Service.Quantile(0.99)); p99 > 0.5*quantile(bySchedule, 0.99) {
			faults = append(faults, fmt.Sprintf("service p99 is %.3f ms: the uncorrected figure shows the stall, so this test shows nothing", p99/1e6))
		}
	}
	if worst := result.Client.Late.Quantile(0.999); result.LateSeconds > 0 || float64(worst) > tolerance(0) {
		late = fmt.Sprintf("%.0f late seconds, p99.9 %s, at most %s", result.LateSeconds, time.Duration(worst), time.Duration(result.Client.Late.Max()))
	}
	return faults, late
}

// tolerance is 1 %, but never less than a millisecond: below it lie the way back from the target and the scheduler.
//
// Short runs have a stall of a fifth of a second and are meant for busy machines, where an answer may wait for a
// processor on its way back, and no clock of the generator's can tell. There it is three milliseconds, and a quarter of
// the stall upwards. Downwards nothing more: what a generator hides would be a hundred milliseconds, and nothing that a
// busy machine does makes a latency shorter.
func tolerance(of float64) float64 {
	least := 3e6
	if long {
		least = 1e6
	}
	return max(of/100, least)
}

func (c stallCase) plan(addr string) load.Plan {
	plan := load.DefaultPlan()
	plan.Protocol = c.protocol
	plan.Connections, plan.Streams = c.connections, c.streams
	plan.Open = schedule.Constant(c.rate, c.length)
	step := load.Step{Method: "GET", Path: "/?n={{seq}}"}
	plan.Target = "http://" + addr
	switch c.protocol {
	case load.GRPC:
		plan.Target = "grpc://" + addr
		step = load.Step{Method: "grpc.health.v1.Health/Check", Body: `{"service":"{{seq}}"}`}
	case load.WebSocket:
		plan.Target = "ws://" + addr
		step = load.Step{Body: "{{seq}}", Expect: 1}
	}
	plan.Scenarios = []load.Scenario{{Steps: []load.Step{step}}}
	return plan
}

// due is when the requests of the run are due, from its start.
func (c stallCase) due(t *testing.T) []int64 {
	t.Helper()
	s, err := schedule.New(schedule.Constant(c.rate, c.length), 1)
	if err != nil {
		t.Fatal(err)
	}
	var due []int64
	for at, ok := s.Next(); ok; at, ok = s.Next() {
		due = append(due, int64(at.At))
	}
	if len(due) != int(c.rate*c.length.Seconds()) || len(due) > maxRequests {
		t.Fatalf("the schedule has %d requests", len(due))
	}
	return due
}

// quantile reads sorted values by nearest rank.
func quantile(sorted []float64, q float64) float64 {
	rank := int(math.Ceil(q*float64(len(sorted)) - 1e-6))
	return sorted[max(rank, 1)-1]
}

func label(q float64) string { return fmt.Sprintf("p%g", q*100) }
