package schedule

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Steps reads "200:+200/10s:12000": 200 a second, 200 more every 10 s, up to 12,000, which lasts as long as the
// others. A step may be negative.
func Steps(text string) (*Spec, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%q: steps look like 200:+200/10s:12000 (from, step/every, to)", text)
	}
	from, err := rate(parts[0])
	if err != nil {
		return nil, err
	}
	step, every, err := rateOver(parts[1])
	if err != nil {
		return nil, err
	}
	to, err := rate(parts[2])
	if err != nil {
		return nil, err
	}
	if step == 0 || (to-from)/step < 0 {
		return nil, fmt.Errorf("%q: steps of %v never lead from %v to %v", text, step, from, to)
	}
	if (to-from)/step > maxStages {
		return nil, fmt.Errorf("%q: more than %d steps", text, maxStages)
	}
	spec := new(Spec)
	for k := 0; ; k++ {
		at := from + float64(k)*step
		past := step > 0 && at >= to || step < 0 && at <= to
		if past {
			at = to
		}
		spec.Stages = append(spec.Stages, Stage{Length: Duration(every), From: at, To: at})
		if past {
			return spec, nil
		}
	}
}

// Ramp reads "100:2000/30s": from 100 to 2,000 a second on a straight line within 30 s.
func Ramp(text string) (*Spec, error) {
	left, right, ok := strings.Cut(text, ":")
	if !ok {
		return nil, fmt.Errorf("%q: a ramp looks like 100:2000/30s (from, to/within)", text)
	}
	from, err := rate(left)
	if err != nil {
		return nil, err
	}
	to, within, err := rateOver(right)
	if err != nil {
		return nil, err
	}
	return &Spec{Stages: []Stage{{Length: Duration(within), From: from, To: to}}}, nil
}

// Sine reads "1000:500/1m": around 1,000 a second with a swing of 500 and a period of a minute.
func Sine(text string, length time.Duration) (*Spec, error) {
	left, right, ok := strings.Cut(text, ":")
	if !ok {
		return nil, fmt.Errorf("%q: a sine looks like 1000:500/1m (mean, swing/period)", text)
	}
	mean, err := rate(left)
	if err != nil {
		return nil, err
	}
	swing, period, err := rateOver(right)
	if err != nil {
		return nil, err
	}
	return &Spec{Stages: []Stage{{Length: Duration(length), From: mean, To: mean, Swing: swing, Period: Duration(period)}}}, nil
}

func rate(text string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || v != v || v < -MaxRate || v > MaxRate {
		return 0, fmt.Errorf("%q is no rate in requests a second up to %d", text, MaxRate)
	}
	return v, nil
}

func rateOver(text string) (float64, time.Duration, error) {
	left, right, ok := strings.Cut(text, "/")
	if !ok {
		return 0, 0, fmt.Errorf("%q: a duration is missing, as in 200/10s", text)
	}
	v, err := rate(left)
	if err != nil {
		return 0, 0, err
	}
	d, err := time.ParseDuration(strings.TrimSpace(right))
	if err != nil || d <= 0 {
		return 0, 0, fmt.Errorf("%q is no duration such as 250ms, 10s or 1h30m", right)
	}
	return v, d, nil
}
