package schedule

import (
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// Part is a stage as it runs.
type Part struct {
	Name     string
	From, To time.Duration // since the start
	Rate     float64       // on average, requests a second
}

// piece is a straight line of the rate, in seconds and requests a second.
type piece struct {
	part           int
	start, length  float64
	rateAt, rateTo float64
}

// Schedule yields the times at which requests are due.
type Schedule struct {
	parts   []Part
	pieces  []piece
	poisson *rand.Rand // nil: even gaps

	at     int     // the piece in which the last request was due
	passed float64 // integral of the rate up to the start of that piece
	want   float64 // value of the integral at which the next request is due

	recorded []time.Duration // instead of pieces
	next     int
}

// New makes a schedule of spec. The seed fixes the draws of a Poisson schedule. It reads the file of a recorded one.
func New(spec *Spec, seed uint64) (*Schedule, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	s := new(Schedule)
	if spec.Recorded != "" {
		speed := spec.Speed
		if speed == 0 {
			speed = 1
		}
		times, err := readRecorded(spec.Recorded, speed)
		if err != nil {
			return nil, err
		}
		s.recorded = times
		// The last is still within; times that are all one would else make a rate without bound.
		length := max(times[len(times)-1]+1, time.Second)
		s.parts = []Part{{Name: "recorded", To: length, Rate: float64(len(times)) / max(length.Seconds(), 1e-9)}}
		return s, nil
	}
	var at time.Duration
	for i, stage := range spec.Stages {
		length := time.Duration(stage.Length)
		s.parts = append(s.parts, Part{Name: stageName(stage), From: at, To: at + length, Rate: (stage.From + stage.To) / 2})
		s.cut(i, stage, at)
		at += length
	}
	if spec.Poisson {
		s.poisson = rand.New(rand.NewPCG(seed, 0x5eed0fa7715a1))
		s.want = s.poisson.ExpFloat64()
	}
	return s, nil
}

// linesAPeriod is how many straight lines draw one period of a sine: the rate is then within 0.2 % of its swing.
const linesAPeriod = 64

// cut adds the pieces of one stage.
func (s *Schedule) cut(part int, stage Stage, at time.Duration) {
	start, length := at.Seconds(), time.Duration(stage.Length).Seconds()
	if stage.Swing == 0 {
		s.pieces = append(s.pieces, piece{part, start, length, stage.From, stage.To})
		return
	}
	period := time.Duration(stage.Period).Seconds()
	rate := func(t float64) float64 {
		return max(stage.From+(stage.To-stage.From)*t/length+stage.Swing*math.Sin(2*math.Pi*t/period), 0)
	}
	step := period / linesAPeriod
	for k := 0; float64(k)*step < length; k++ {
		from := float64(k) * step
		to := min(from+step, length)
		s.pieces = append(s.pieces, piece{part, start + from, to - from, rate(from), rate(to)})
	}
}

func stageName(stage Stage) string {
	if stage.Name != "" {
		return stage.Name
	}
	name := number(stage.From)
	if stage.To != stage.From {
		name += " to " + number(stage.To)
	}
	if stage.Swing != 0 {
		name += " ± " + number(stage.Swing)
	}
	return name + "/s"
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

// Parts returns the stages in order. The caller must not change them.
func (s *Schedule) Parts() []Part { return s.parts }

// Length returns how long the schedule is.
func (s *Schedule) Length() time.Duration { return s.parts[len(s.parts)-1].To }

// Due is the time at which a request is due, since the start, and the index of the part that it belongs to.
type Due struct {
	At   time.Duration
	Part int
}

// Next returns when the next request is due; ok is false when there is none any more. Times never go back.
func (s *Schedule) Next() (due Due, ok bool) {
	if s.recorded != nil {
		if s.next == len(s.recorded) {
			return Due{}, false
		}
		s.next++
		return Due{At: s.recorded[s.next-1]}, true
	}
	for s.at < len(s.pieces) {
		p := &s.pieces[s.at]
		whole := (p.rateAt + p.rateTo) / 2 * p.length
		left := s.want - s.passed
		if left >= whole {
			s.passed += whole
			s.at++
			continue
		}
		// The root of rateAt·t + slope/2·t² = left, in the form that does not cancel.
		slope := (p.rateTo - p.rateAt) / p.length
		t := 2 * left / (p.rateAt + math.Sqrt(max(p.rateAt*p.rateAt+2*slope*left, 0)))
		if left == 0 {
			t = 0
		}
		if s.poisson != nil {
			s.want += s.poisson.ExpFloat64()
		} else {
			s.want++
		}
		return Due{At: time.Duration((p.start + min(t, p.length)) * 1e9), Part: p.part}, true
	}
	return Due{}, false
}

// Rate returns the rate that the schedule asks for at a time since the start; for a recorded one its average.
func (s *Schedule) Rate(at time.Duration) float64 {
	if s.recorded != nil {
		return s.parts[0].Rate
	}
	t := at.Seconds()
	low, high := 0, len(s.pieces)
	for low < high { // the first piece that ends after t
		if mid := (low + high) / 2; s.pieces[mid].start+s.pieces[mid].length <= t {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == len(s.pieces) {
		return 0
	}
	p := s.pieces[low]
	return p.rateAt + (p.rateTo-p.rateAt)*max(t-p.start, 0)/p.length
}
