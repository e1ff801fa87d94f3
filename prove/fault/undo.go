package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Undone is what Undo did for one run.
type Undone struct {
	Journal string    `json:"journal"`
	Run     string    `json:"run"`
	Began   time.Time `json:"began"`
	Actions []string  `json:"actions"` // what was put right, in order
	Living  bool      `json:"living"`  // its prover is at work, and was left alone
	Left    []string  `json:"left"`    // what could not be undone, and why; the next Undo tries again
}

// politely is how long a process may take to end after SIGTERM, of those that Undo ends.
const politely = 2 * time.Second

// undoPatience bounds what one entry may take.
const undoPatience = 10 * time.Second

// Undo looks in a directory of journals for runs that did not end, and puts right what they had done: rules are
// taken back, stopped processes continue, quotas are as before, and the processes that a plan had started are ended.
// Runs whose prover lives are left alone. What is not there any more counts as undone, so that Undo can be called at
// any time, and again: what is done is not done twice.
//
// The error says that something is left, or that a journal cannot be read; the list is good in any case, and holds
// the runs for which there was something to do.
func Undo(ctx context.Context, dir string) ([]Undone, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJournal, err)
	}
	var all []Undone
	var errs []error
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), journalSuffix) || f.IsDir() {
			continue
		}
		undone, err := undoFile(ctx, filepath.Join(dir, f.Name()))
		if undone != nil {
			all = append(all, *undone)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return all, errors.Join(errs...)
}

// undoFile undoes one journal. It returns nil when there was nothing to do.
func undoFile(ctx context.Context, path string) (*Undone, error) {
	j, err := openJournal(path)
	if errors.Is(err, errLiving) {
		return &Undone{Journal: path, Living: true}, nil
	}
	if err != nil {
		return nil, err
	}
	defer j.close()
	if j.done {
		return nil, nil
	}
	begin := j.entries[0]
	u := &Undone{Journal: path, Run: begin.Run, Began: begin.At}
	if host, _ := os.Hostname(); begin.Boot != bootID() && begin.Host != host {
		err := fmt.Errorf("%w %s: is of another machine, %s: undo it there", ErrJournal, path, begin.Host)
		u.Left = []string{err.Error()}
		return u, err
	}
	if begin.Boot == bootID() && begin.PIDs != "" && begin.PIDs != pidNamespace() {
		err := fmt.Errorf("%w %s: is of another container of this machine (host name %s, %s), whose processes cannot be told from here: undo it there; if that container is gone, its processes are too, and this file can be removed", ErrJournal, path, begin.Host, begin.PIDs)
		u.Left = []string{err.Error()}
		return u, err
	}
	r := reverter{journal: j, run: begin.Run, thisBoot: begin.Boot == bootID(), did: func(text string) { u.Actions = append(u.Actions, text) }}
	if err := r.all(ctx); err != nil {
		u.Left = strings.Split(err.Error(), "\n")
		return u, fmt.Errorf("%s: %w", path, err)
	}
	_, err = j.write(entry{Op: opDone})
	return u, err
}

// reverter undoes entries. Each of its deeds may be done again at any time: it looks at what is, not at what was done.
type reverter struct {
	journal  *journal
	run      string
	thisBoot bool              // the run's processes and control groups may be there still
	did      func(text string) // is told of what was put right
}

// all undoes whatever is open, the last first, and goes on after an error.
func (r *reverter) all(ctx context.Context) error {
	var errs []error
	for range 2 { // what cannot be told to a process needs not be told when that has ended
		errs = nil
		for _, e := range r.journal.open() {
			if err := r.one(ctx, e); err != nil {
				errs = append(errs, err)
			}
		}
		if errs == nil {
			break
		}
	}
	return errors.Join(errs...)
}

// one undoes an entry and writes that it is undone.
func (r *reverter) one(ctx context.Context, e entry) error {
	ctx, cancel := context.WithTimeout(ctx, undoPatience)
	defer cancel()
	var text string
	var err error
	switch e.Op {
	case opRule:
		text, err = r.rule(ctx, e)
	case opStop, opStart, opQuota, opCgroup:
		if r.thisBoot {
			text, err = r.local(ctx, e)
		}
	}
	if err != nil {
		return err
	}
	if text != "" && r.did != nil {
		r.did(text)
	}
	return r.journal.markUndone(e.N)
}

// local undoes what is of this machine and this boot of it.
func (r *reverter) local(ctx context.Context, e entry) (string, error) {
	switch e.Op {
	case opStop:
		cont, err := signalIf(e.Pid, e.Since, sigCont)
		return said(cont, "process %d goes on", e.Pid), wrapped(err, "process %d cannot be continued", e.Pid)
	case opStart:
		known := []identity{}
		for _, s := range r.journal.started(e.N) {
			known = append(known, identity{s.Pid, s.Since})
		}
		n, err := endMarked(ctx, mark(r.run, e.Service), known, politely)
		return said(n > 0, "%d processes of %s ended", n, e.Service), wrapped(err, "the processes of %s cannot be ended", e.Service)
	case opQuota:
		if !limitOf(r.run, e.File, e.Was) {
			return "", fmt.Errorf("%w: %s is no limit of this run", ErrJournal, e.File)
		}
		changed, err := writeLimit(e.File, e.Was)
		return said(changed, "%s is %s again", e.File, e.Was), wrapped(err, "the limit cannot be put back")
	default:
		if !groupOf(r.run, e.Dir) {
			return "", fmt.Errorf("%w: %s is no control group of this run", ErrJournal, e.Dir)
		}
		removed, err := removeCgroup(ctx, e.Dir, e.Home)
		return said(removed, "control group %s removed", e.Dir), wrapped(err, "control group %s cannot be removed", e.Dir)
	}
}

// rule takes a rule back. A rule that has ended by itself needs nobody, and neither does one of a process that the
// plan had started: it ended with it.
func (r *reverter) rule(ctx context.Context, e entry) (string, error) {
	if e.Of > 0 {
		if !r.thisBoot {
			return "", nil
		}
		if alive, err := r.alive(e.Of); err == nil && !alive {
			return "", nil
		}
	}
	was, err := r.takeBack(ctx, e)
	if err != nil && !e.Expires.IsZero() && time.Now().After(e.Expires) {
		return "", nil
	}
	return said(was, "rule %s taken back from %s", e.ID, e.Admin), wrapped(err, "rule %s cannot be taken back; it ends by itself at %s", e.ID, e.Expires.Format(time.RFC3339))
}

// lateArrival is for how long after its call began a rule may arrive whose call was cut off: the call ends after
// adminPatience, and what was sent by then is waited for as long again.
const lateArrival = 2 * adminPatience

// takeBack removes a rule. One whose call was cut off may not have arrived yet: it is looked for again and again until
// it has, or could not any more.
func (r *reverter) takeBack(ctx context.Context, e entry) (was bool, err error) {
	admin := adminClient{base: e.Admin, tokenFile: e.TokenFile}
	for {
		was, err = admin.remove(ctx, e.ID)
		if was || err != nil || e.answered || !sinceLess(e.At, lateArrival) {
			return was, err
		}
		if err := pause(ctx, watchEvery); err != nil {
			return false, err
		}
	}
}

// sinceLess tells whether less than a time has passed since another. Of a time to come, by a clock that was put back,
// nothing is waited for.
func sinceLess(at time.Time, d time.Duration) bool {
	passed := time.Since(at)
	return passed >= 0 && passed < d
}

// alive tells whether there is a process that was started by the intent n.
func (r *reverter) alive(n int) (bool, error) {
	for _, s := range r.journal.started(n) {
		if lives(identity{s.Pid, s.Since}) {
			return true, nil
		}
	}
	found, err := marked(mark(r.run, r.journal.entry(n).Service))
	return len(found) > 0, err
}

func said(did bool, format string, args ...any) string {
	if !did {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

func wrapped(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
