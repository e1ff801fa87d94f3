package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// journalVersion is the version of the journal's form. A later one is refused.
const journalVersion = 1

// journalSuffix ends the name of a journal; a file that is not yet, or no more, a journal has another.
const journalSuffix = ".jsonl"

// halfMade begins the name of a file that is not yet a journal.
const halfMade = ".dougong-journal-"

// op is what an entry of a journal is about.
type op string

const (
	opBegin   op = "begin"   // the run, first of all
	opCgroup  op = "cgroup"  // a control group is about to be made
	opStart   op = "start"   // a process is about to be started, with the run's mark in its environment
	opStarted op = "started" // it was started; Of is the entry of the intent
	opStop    op = "stop"    // a process is about to be stopped by SIGSTOP
	opQuota   op = "quota"   // a file of a control group is about to be written
	opRule    op = "rule"    // a rule is about to be put
	opUndone  op = "undone"  // what the entry Of says was undone
	opDone    op = "done"    // nothing is left to undo
)

// entry is a line of a journal: what is about to be done, and what is needed to undo it. It is on the disk before the
// deed. Secrets are not in it, only the paths of their files.
type entry struct {
	N  int       `json:"n"` // of the line, from 1
	At time.Time `json:"at"`
	Op op        `json:"op"`

	Version int    `json:"version,omitempty"` // begin
	Run     string `json:"run,omitempty"`     // begin
	Boot    string `json:"boot,omitempty"`    // begin: the boot of the system, without which a pid means nothing
	Host    string `json:"host,omitempty"`    // begin
	PIDs    string `json:"pids,omitempty"`    // begin: the pid namespace, out of which a pid means another process or none
	Prover  int    `json:"prover,omitempty"`  // begin: for people; whether it lives is told by its lock

	Of int `json:"of,omitempty"` // started, undone; rule: the intent by which its service was started, with which it ends

	Service string `json:"service,omitempty"` // start
	Pid     int    `json:"pid,omitempty"`     // started, stop
	Since   uint64 `json:"since,omitempty"`   // started, stop: when the process began, in ticks since boot

	Dir  string `json:"dir,omitempty"`  // cgroup
	Home string `json:"home,omitempty"` // cgroup: where processes go that are still in it
	File string `json:"file,omitempty"` // quota
	Was  string `json:"was,omitempty"`  // quota: what the file said

	Admin     string    `json:"admin,omitempty"`      // rule: the admin port
	TokenFile string    `json:"token_file,omitempty"` // rule
	ID        string    `json:"id,omitempty"`         // rule
	Expires   time.Time `json:"expires,omitzero"`     // rule: when it ends by itself

	answered bool // rule: whether it was taken is known, so that it cannot arrive any more; not in the file
}

// ErrJournal is wrapped by errors of a journal that cannot be read or written.
var ErrJournal = errors.New("journal")

// journal is a file that says what will undo a run. It is locked by whoever works on it, and the lock dies with its
// holder: that tells a living prover from a dead one. It is safe for concurrent use.
type journal struct {
	path string
	trip func() // for tests; may be nil

	mu      sync.Mutex
	good    int64 // bytes of whole lines
	broken  error // why nothing more can be written
	file    *os.File
	entries []entry
	undone  map[int]bool
	done    bool
}

// createJournal begins the journal of a run in dir. It gets its name when it is locked and begun, so that nobody
// finds one that is neither.
func createJournal(dir, run string, now time.Time, trip func()) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJournal, err)
	}
	file, err := os.CreateTemp(dir, halfMade+"*.tmp")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJournal, err)
	}
	j := &journal{path: filepath.Join(dir, now.UTC().Format("20060102T150405Z")+"-"+run+journalSuffix), file: file, trip: trip, undone: map[int]bool{}}
	host, _ := os.Hostname()
	_, err = j.write(entry{Op: opBegin, Version: journalVersion, Run: run, Boot: bootID(), Host: host, PIDs: pidNamespace(), Prover: os.Getpid()})
	if err == nil {
		if err = lockFile(file); err == nil {
			err = os.Rename(file.Name(), j.path)
		}
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		file.Close()
		os.Remove(file.Name())
		return nil, fmt.Errorf("%w %s: %w", ErrJournal, j.path, err)
	}
	return j, nil
}

// write appends an entry and returns its number once it is on the disk.
func (j *journal) write(e entry) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.trip != nil {
		j.trip()
		defer j.trip()
	}
	e.N, e.At = len(j.entries)+1, time.Now().UTC()
	line, err := json.Marshal(e)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrJournal, err)
	}
	if j.broken != nil {
		return 0, fmt.Errorf("%w %s: %w", ErrJournal, j.path, j.broken)
	}
	line = append(line, '\n')
	_, err = j.file.Write(line)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.broken = j.takeBack()
		return 0, fmt.Errorf("%w %s: %w", ErrJournal, j.path, err)
	}
	j.good += int64(len(line))
	j.take(e)
	return e.N, nil
}

// takeBack cuts off a line that was not written whole, or may not be on the disk: what follows it could not be read.
func (j *journal) takeBack() error {
	if err := j.file.Truncate(j.good); err != nil {
		return err
	}
	_, err := j.file.Seek(j.good, io.SeekStart)
	return err
}

func (j *journal) take(e entry) {
	j.entries = append(j.entries, e)
	switch e.Op {
	case opUndone:
		j.undone[e.Of] = true
	case opDone:
		j.done = true
	}
}

// markUndone says that what entry n is about was undone.
func (j *journal) markUndone(n int) error {
	_, err := j.write(entry{Op: opUndone, Of: n})
	return err
}

// open lists the entries that are still to be undone, the last first.
func (j *journal) open() []entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	var left []entry
	for i := len(j.entries) - 1; i >= 0; i-- {
		switch e := j.entries[i]; e.Op {
		case opCgroup, opStart, opStop, opQuota, opRule:
			if !j.undone[e.N] {
				left = append(left, e)
			}
		}
	}
	return left
}

// started lists the processes that were started by the intent n.
func (j *journal) started(n int) []entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []entry
	for _, e := range j.entries {
		if e.Op == opStarted && e.Of == n {
			found = append(found, e)
		}
	}
	return found
}

// entry is the entry n.
func (j *journal) entry(n int) entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.entries[n-1]
}

func (j *journal) close() error { return j.file.Close() }

// errLiving says that the prover of a journal is still at work.
var errLiving = errors.New("its prover is still at work")

// openJournal reads a journal whose prover has ended, and locks it.
func openJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|noFollow, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJournal, err)
	}
	j := &journal{path: path, file: file, undone: map[int]bool{}}
	if err = ownedByUs(file); err == nil {
		err = lockFile(file)
	}
	if err == nil {
		err = j.read()
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%w %s: %w", ErrJournal, path, err)
	}
	return j, nil
}

const maxJournal = 64 << 20

// read takes in all entries. A last line that is not whole was never followed by its deed: it is cut off.
func (j *journal) read() error {
	text, err := io.ReadAll(io.LimitReader(j.file, maxJournal+1))
	if err != nil {
		return err
	}
	if len(text) > maxJournal {
		return fmt.Errorf("has more than %d bytes", maxJournal)
	}
	entries, whole, err := parseJournal(text)
	if err != nil {
		return err
	}
	// A journal got its name when it had begun: a file without a beginning is somebody else's.
	if len(entries) == 0 {
		return errors.New("is no journal")
	}
	for _, e := range entries {
		j.take(e)
	}
	j.good = int64(whole)
	if err := j.file.Truncate(int64(whole)); err != nil {
		return err
	}
	_, err = j.file.Seek(int64(whole), io.SeekStart)
	return err
}

// parseJournal returns the entries of a journal, and how many of its bytes are whole lines.
func parseJournal(text []byte) (entries []entry, whole int, err error) {
	for {
		line, _, ok := bytes.Cut(text[whole:], []byte("\n"))
		if !ok {
			return entries, whole, nil
		}
		at := len(entries) + 1
		var version struct {
			Op      op  `json:"op"`
			Version int `json:"version"`
		}
		if err := json.Unmarshal(line, &version); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", at, err)
		}
		if version.Op == opBegin && version.Version != journalVersion {
			return nil, 0, fmt.Errorf("is of version %d; this program knows %d: undo it with the program that wrote it", version.Version, journalVersion)
		}
		var e entry
		strict := json.NewDecoder(bytes.NewReader(line))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&e); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", at, err)
		}
		if e.N != at || (at == 1) != (e.Op == opBegin) || e.Of >= at || e.Of < 0 {
			return nil, 0, fmt.Errorf("line %d: is out of place", at)
		}
		entries = append(entries, e)
		whole += len(line) + 1
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// DefaultJournal is the directory of journals of this user: below XDG_STATE_HOME, or ~/.local/state.
func DefaultJournal() (string, error) {
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("%w: no directory for it: %w; name one", ErrJournal, err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "dougong", "faults"), nil
}

// keptJournals is how many journals of runs that are done stay for people to read.
const keptJournals = 20

// prune removes the oldest journals that are done, and what dead provers left half made.
func prune(dir string) {
	files, err := os.ReadDir(dir) // sorted: the names begin with the time
	if err != nil {
		return
	}
	kept := 0
	for i := len(files) - 1; i >= 0; i-- {
		path := filepath.Join(dir, files[i].Name())
		switch {
		case strings.HasPrefix(files[i].Name(), halfMade) && strings.HasSuffix(path, ".tmp"):
			if info, err := files[i].Info(); err == nil && time.Since(info.ModTime()) > time.Hour {
				os.Remove(path)
			}
		case strings.HasSuffix(path, journalSuffix):
			j, err := openJournal(path)
			if err != nil {
				continue
			}
			if j.done {
				if kept++; kept > keptJournals {
					os.Remove(path)
				}
			}
			j.close()
		}
	}
}
