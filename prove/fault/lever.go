package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	inject "github.com/dougong-io/dougong/kit/fault"
)

// lever applies a fault and lifts it, any number of times. It is used by one goroutine.
type lever interface {
	// apply has the fault on when it returns, and says since when at the earliest. An error says that it is not.
	apply(ctx context.Context) (since time.Time, err error)
	// hits says how often the fault, which is on, has struck since apply. An error says that nobody knows.
	hits(ctx context.Context) (uint64, error)
	// lift has the fault off when it returns. It is called once after each apply, after one that failed too.
	lift(ctx context.Context) error
}

// nothing is the control's.
type nothing struct{}

func (nothing) apply(context.Context) (time.Time, error) { return time.Now(), nil }
func (nothing) hits(context.Context) (uint64, error)     { return 0, nil }
func (nothing) lift(context.Context) error               { return nil }

// ruleLever puts a rule at an admin port, each time under another id: then its hits are those of this time.
type ruleLever struct {
	r      *runner
	admin  adminClient
	rule   inject.Rule
	name   string
	intent int           // the entry by which its service was started; 0: the plan did not start it
	lasts  time.Duration // after which it ends by itself, whatever becomes of the prover

	times int
	id    string
	entry entry
}

func (l *ruleLever) apply(ctx context.Context) (since time.Time, err error) {
	l.times++
	l.id = fmt.Sprintf("prove-%s-%s-%d", l.r.id, l.name, l.times)
	l.entry = entry{}
	status, err := l.admin.faults(ctx)
	if err != nil {
		return since, fmt.Errorf("%s/faults: %w", l.admin.base, err)
	}
	if len(status.Killed) > 0 {
		return since, fmt.Errorf("the kill switch of %s is thrown: no rule is in force", strings.Join(status.Killed, " and "))
	}
	rule, expires := l.bounded(time.Now())
	text, err := rule.MarshalJSON()
	if err != nil {
		return since, err
	}
	e := entry{Op: opRule, Of: l.intent, Admin: l.admin.base, TokenFile: l.admin.tokenFile, ID: l.id, Expires: expires.UTC()}
	if e.N, err = l.r.journal.write(e); err != nil {
		return since, err
	}
	since = time.Now()
	e.At = since
	l.entry = e
	err = l.admin.put(ctx, l.id, text)
	var answer *errAnswer
	l.entry.answered = err == nil || errors.As(err, &answer) && answer.status < http.StatusInternalServerError
	return since, wrapped(err, "the rule was not taken")
}

// bounded is the rule with its end, and when that is at the latest. On this machine the end is a time, so that a rule
// which arrives late ends when it would have; the clock of another may be a different one, and counts from the arrival.
func (l *ruleLever) bounded(now time.Time) (inject.Rule, time.Time) {
	rule := l.rule
	rule.ID = l.id
	if l.admin.local() {
		rule.Expires = now.Add(l.lasts)
		return rule, rule.Expires
	}
	rule.For = l.lasts
	return rule, now.Add(l.lasts + adminPatience)
}

func (l *ruleLever) hits(ctx context.Context) (uint64, error) { return l.admin.hits(ctx, l.id) }

// lift takes the rule back. A service that is down comes back without it.
func (l *ruleLever) lift(ctx context.Context) error {
	if l.entry.N == 0 {
		return nil
	}
	until := time.Now().Add(time.Duration(l.r.plan.Recover))
	for {
		err := l.r.revert.one(ctx, l.entry)
		if err == nil || time.Now().After(until) {
			return err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// killLever ends a process, hard or softly; its owner starts it again.
type killLever struct {
	child  *child
	softly bool
}

func (l *killLever) apply(context.Context) (time.Time, error) {
	since := time.Now()
	if l.softly {
		return since, l.child.terminate()
	}
	return since, l.child.signal(sigKill)
}

func (l *killLever) hits(context.Context) (uint64, error) { return 1, nil }
func (l *killLever) lift(context.Context) error           { return nil }

// stopLever stops a process.
type stopLever struct {
	r     *runner
	child *child
	entry entry
}

func (l *stopLever) apply(context.Context) (since time.Time, err error) {
	l.entry = entry{}
	p, err := l.child.identity()
	if err != nil {
		return since, err
	}
	e := entry{Op: opStop, Pid: p.pid, Since: p.since}
	if e.N, err = l.r.journal.write(e); err != nil {
		return since, err
	}
	l.entry, since = e, time.Now()
	stopped, err := signalIf(p.pid, p.since, sigStop)
	if err == nil && !stopped {
		err = errNoProcess
	}
	return since, err
}

func (l *stopLever) hits(context.Context) (uint64, error) { return 1, nil }

func (l *stopLever) lift(ctx context.Context) error {
	if l.entry.N == 0 {
		return nil
	}
	return l.r.revert.one(ctx, l.entry)
}

// limitLever writes a limit of a control group.
type limitLever struct {
	r     *runner
	file  string
	value string
	entry entry
}

func (l *limitLever) apply(context.Context) (since time.Time, err error) {
	l.entry = entry{}
	was := readLine(l.file)
	if was == "" {
		return since, fmt.Errorf("%s cannot be read", l.file)
	}
	e := entry{Op: opQuota, File: l.file, Was: was}
	if e.N, err = l.r.journal.write(e); err != nil {
		return since, err
	}
	l.entry, since = e, time.Now()
	written, err := writeLimit(l.file, l.value)
	if err == nil && !written {
		err = errors.New("the limit is so already")
	}
	return since, wrapped(err, "%s", filepath.Base(l.file))
}

func (l *limitLever) hits(context.Context) (uint64, error) { return 1, nil }

func (l *limitLever) lift(ctx context.Context) error {
	if l.entry.N == 0 {
		return nil
	}
	return l.r.revert.one(ctx, l.entry)
}
