package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func newJournal(t testing.TB, dir, run string) *journal {
	t.Helper()
	j, err := createJournal(dir, run, time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.close() })
	return j
}

func written(t testing.TB, j *journal, e entry) int {
	t.Helper()
	n, err := j.write(e)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestUndoLeavesTheLivingAlone(t *testing.T) {
	dir := t.TempDir()
	j := newJournal(t, dir, "a")
	written(t, j, entry{Op: opQuota, File: filepath.Join(dir, groupName("a", 0), "cpu.max"), Was: "1"})
	undone, err := Undo(t.Context(), dir)
	if err != nil || len(undone) != 1 || !undone[0].Living {
		t.Fatalf("%+v, %v", undone, err)
	}
	j.close() // as if the prover had died
	if undone, err = Undo(t.Context(), dir); err != nil || len(undone) != 1 || undone[0].Living {
		t.Fatalf("%+v, %v", undone, err)
	}
	if undone, err = Undo(t.Context(), dir); err != nil || len(undone) != 0 {
		t.Errorf("a second undo: %+v, %v", undone, err)
	}
}

func TestUndoOfNothing(t *testing.T) {
	if undone, err := Undo(t.Context(), filepath.Join(t.TempDir(), "none")); err != nil || len(undone) != 0 {
		t.Errorf("%+v, %v", undone, err)
	}
}

func TestUndoPutsLimitsBackTheFirstLast(t *testing.T) {
	dir := t.TempDir()
	group := filepath.Join(dir, groupName("a", 0))
	file, other := filepath.Join(group, "cpu.max"), filepath.Join(group, "cgroup.procs")
	if err := os.Mkdir(group, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{file, other} {
		if err := os.WriteFile(f, []byte("3"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j := newJournal(t, dir, "a")
	written(t, j, entry{Op: opQuota, File: file, Was: "1"})
	n := written(t, j, entry{Op: opQuota, File: file, Was: "2"})
	if err := j.markUndone(n); err != nil {
		t.Fatal(err)
	}
	written(t, j, entry{Op: opQuota, File: file, Was: "3"})
	j.close()
	if _, err := Undo(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(file); string(text) != "1" {
		t.Errorf("the limit is %q", text)
	}
}

// Whatever a journal says, Undo writes limits of groups of its run and removes those groups, and nothing else.
func TestUndoTouchesNothingElse(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("7"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	begin := entry{Op: opBegin, Version: journalVersion, Run: "a", Boot: bootID()}
	for name, e := range map[string]entry{
		"any file":            {Op: opQuota, File: precious, Was: "1"},
		"a way around":        {Op: opQuota, File: filepath.Join(dir, groupName("a", 0)) + "/../precious", Was: "1"},
		"another run's group": {Op: opQuota, File: filepath.Join(dir, groupName("b", 0), "cpu.max"), Was: "1"},
		"text instead":        {Op: opQuota, File: filepath.Join(dir, groupName("a", 0), "cpu.max"), Was: "$(reboot)"},
		"a folder":            {Op: opCgroup, Dir: empty, Home: dir},
		"a folder, around":    {Op: opCgroup, Dir: filepath.Join(dir, groupName("a", 0)) + "/../empty", Home: dir},
		"the first process":   {Op: opStop, Pid: 1},
		"everybody's process": {Op: opStop, Pid: -1},
	} {
		journals := t.TempDir()
		writeJournal(t, journals, begin, e)
		undone, err := Undo(t.Context(), journals)
		if err == nil || len(undone) != 1 || len(undone[0].Actions) > 0 {
			t.Errorf("%s: %+v, %v", name, undone, err)
		}
	}
	if text, err := os.ReadFile(precious); string(text) != "7" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Stat(empty); err != nil {
		t.Error(err)
	}
	path := writeJournal(t, t.TempDir(), begin)
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Undo(t.Context(), filepath.Dir(path)); err == nil || !strings.Contains(err.Error(), "nobody else may write") {
		t.Errorf("a journal that anybody may write: %v", err)
	}
	path = writeJournal(t, t.TempDir(), entry{Op: opBegin, Version: journalVersion, Run: "a", Boot: "another", Host: "another"})
	if _, err := Undo(t.Context(), filepath.Dir(path)); err == nil || !strings.Contains(err.Error(), "is of another machine, another: undo it there") {
		t.Errorf("a journal of another machine: %v", err)
	}
}

// writeJournal writes a journal as a prover that has died would have left it.
func writeJournal(t testing.TB, dir string, entries ...entry) string {
	t.Helper()
	var text bytes.Buffer
	for i, e := range entries {
		e.N = i + 1
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(append(line, '\n'))
	}
	path := filepath.Join(dir, "20260101T000000Z-a"+journalSuffix)
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The last line of a journal may be cut off by a crash: its deed was never done.
func TestUndoOfATornJournal(t *testing.T) {
	whole := []entry{{Op: opBegin, Version: journalVersion, Run: "a", Boot: bootID()}, {Op: opQuota, File: "/none/such", Was: "1"}}
	path := writeJournal(t, t.TempDir(), whole...)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begun := bytes.IndexByte(text, '\n') + 1 // before that it has no name
	for cut := begun; cut < len(text); cut++ {
		dir := t.TempDir()
		torn := filepath.Join(dir, "a"+journalSuffix)
		if err := os.WriteFile(torn, text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Undo(t.Context(), dir); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if undone, err := Undo(t.Context(), dir); err != nil || len(undone) > 0 {
			t.Fatalf("cut at %d, again: %+v, %v", cut, undone, err)
		}
	}
}

// A directory may hold what others keep there.
func TestFilesOfOthersAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	theirs := map[string]string{"export.jsonl": `{"row":1}`, "empty.jsonl": "", "new-1.tmp": "draft"}
	for name, text := range theirs {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Now().Add(-48*time.Hour), time.Now().Add(-48*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	prune(dir)
	_, _ = Undo(t.Context(), dir)
	for name, text := range theirs {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != text {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// A line that was not written whole is taken back: what is written afterwards can still be read.
func TestJournalIsReadableAfterAWriteThatFailed(t *testing.T) {
	dir := t.TempDir()
	j, err := createJournal(dir, "a", time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	path, file := j.path, j.file
	// Half a line, as of a disk that is full; then the disk has room again.
	if _, err := file.WriteString(`{"n":2,"op":"ru`); err != nil {
		t.Fatal(err)
	}
	if err := j.takeBack(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.write(entry{Op: opQuota, File: "/none/such", Was: "1"}); err != nil {
		t.Fatal(err)
	}
	readOnly, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	j.file = readOnly // nothing can be written, nor taken back
	for range 2 {
		if _, err := j.write(entry{Op: opDone}); !errors.Is(err, ErrJournal) {
			t.Error(err)
		}
	}
	readOnly.Close()
	file.Close()
	read, err := openJournal(path)
	if err != nil || len(read.entries) != 2 {
		t.Fatalf("%v: %+v", err, read)
	}
	read.close()
}

func TestUndoRefusesWhatItDoesNotUnderstand(t *testing.T) {
	for name, text := range map[string]string{
		"is of version 2; this program knows 1": `{"n":1,"op":"begin","version":2,"run":"a","later":true}`,
		"line 1: is out of place":               `{"n":1,"op":"rule","id":"a"}`,
		"line 2: is out of place":               `{"n":1,"op":"begin","version":1}` + "\n" + `{"n":3,"op":"done"}`,
		"line 2: json: unknown field":           `{"n":1,"op":"begin","version":1}` + "\n" + `{"n":2,"op":"done","more":1}`,
		"line 1: invalid character":             `what?`,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "a"+journalSuffix)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Undo(t.Context(), dir); err == nil || !strings.Contains(err.Error(), name) || !errors.Is(err, ErrJournal) {
			t.Errorf("%s: %v", name, err)
		}
		if after, _ := os.ReadFile(path); string(after) != text+"\n" {
			t.Errorf("%s: the file was changed to %s", name, after)
		}
	}
}

// A rule that cannot be taken back stays in the journal, until it can or has ended by itself.
func TestUndoTriesAgainWhatItCouldNotDo(t *testing.T) {
	s, err := newTarget()
	if err != nil {
		t.Fatal(err)
	}
	defer s.set.Close()
	s.set.Point(pointIdle)
	open := false
	admin := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !open {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		s.admin().ServeHTTP(w, r)
	}))[0]
	host, _ := os.Hostname()
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	writeJournal(t, dir, entry{Op: opBegin, Version: journalVersion, Run: "a", Boot: "another", Host: host}, entry{Op: opRule, Admin: admin, TokenFile: token, ID: "r", Expires: later})
	undone, err := Undo(t.Context(), dir)
	if err == nil || len(undone) != 1 || len(undone[0].Left) != 1 || !strings.Contains(undone[0].Left[0], "rule r cannot be taken back; it ends by itself at") {
		t.Fatalf("%+v, %v", undone, err)
	}
	open = true
	rule := delay(time.Millisecond)
	rule.Point = "target.idle"
	text, _ := rule.MarshalJSON()
	text = append(text[:len(text)-1], `,"for":"1m"}`...)
	if err := (adminClient{base: admin}).put(t.Context(), "r", text); err != nil {
		t.Fatal(err)
	}
	if undone, err = Undo(t.Context(), dir); err != nil || len(undone) != 1 || len(undone[0].Actions) != 1 {
		t.Errorf("%+v, %v", undone, err)
	}
	if left := s.set.Status().Rules; len(left) > 0 {
		t.Errorf("%+v", left)
	}
	dir = t.TempDir()
	writeJournal(t, dir, entry{Op: opBegin, Version: journalVersion, Run: "a", Host: host}, entry{Op: opRule, Admin: "http://127.0.0.1:1", ID: "r", Expires: time.Now().Add(-time.Second)})
	if _, err := Undo(t.Context(), dir); err != nil {
		t.Errorf("a rule that has ended by itself: %v", err)
	}
}

func TestJournalsHoldNoToken(t *testing.T) {
	p, _ := inProcess(t)
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Services[0].TokenFile = token
	p.Window, p.Guard, p.Warmup = Duration(minWindow), 0, Duration(time.Second)
	p.Faults = []Fault{{Name: "slow", Rule: delay(time.Millisecond)}}
	if _, err := Run(t.Context(), p, Options{Journal: filepath.Join(dir, "journal")}); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "journal", "*"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "hunter2") || !strings.Contains(string(text), token) || !strings.Contains(string(text), `"op":"done"`) {
		t.Errorf("%s", text)
	}
	if info, _ := os.Stat(files[0]); info.Mode().Perm() != 0o600 {
		t.Error(info.Mode())
	}
}

func TestOldJournalsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	for i := range keptJournals + 5 {
		j := newJournal(t, dir, string(rune('a'+i)))
		if i != 0 { // the first is not done
			written(t, j, entry{Op: opDone})
		}
		j.close()
	}
	living := newJournal(t, dir, "living")
	written(t, living, entry{Op: opDone})
	prune(dir)
	files, _ := filepath.Glob(filepath.Join(dir, "*"+journalSuffix))
	if len(files) != keptJournals+2 {
		t.Errorf("%d are left", len(files))
	}
}

func FuzzParseJournal(f *testing.F) {
	f.Add([]byte(`{"n":1,"op":"begin","version":1,"run":"a"}` + "\n" + `{"n":2,"op":"rule","id":"a","admin":"http://127.0.0.1:1"}` + "\n" + `{"n":3,"op":"undone","of":2}` + "\n" + `{"n":4,"op":"do`))
	f.Add([]byte(`{"n":1,"op":"begin","version":2}` + "\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, whole, err := parseJournal(text)
		if err != nil {
			return
		}
		if whole > len(text) || bytes.Count(text[:whole], []byte("\n")) != len(entries) || whole < len(text) && bytes.IndexByte(text[whole:], '\n') >= 0 {
			t.Errorf("%d entries in %d bytes of %q", len(entries), whole, text)
		}
		j := &journal{undone: map[int]bool{}}
		for _, e := range entries {
			j.take(e)
		}
		for _, e := range j.open() {
			if e.Of > 0 {
				j.entry(e.Of)
			}
			j.started(e.N)
		}
	})
}

func TestSignalsGoToNoGroupAndNotToInit(t *testing.T) {
	for _, pid := range []int{-1, 0, 1} {
		if _, err := signalIf(pid, 0, sigCont); err == nil {
			t.Errorf("%d was signalled", pid)
		}
	}
	if n, err := endMarked(context.Background(), mark("none", "such"), nil, politely); processFaults && (n != 0 || err != nil) {
		t.Errorf("%d, %v", n, err)
	}
}

// The pids of another container mean other processes here, or none: that they are not here does not say that they ended.
func TestUndoLeavesOtherContainersToThemselves(t *testing.T) {
	dir := t.TempDir()
	host, _ := os.Hostname()
	path := writeJournal(t, dir, entry{Op: opBegin, Version: journalVersion, Run: "a", Boot: bootID(), Host: host, PIDs: "pid:[7]"}, entry{Op: opStop, Pid: 1 << 21, Since: 1})
	before, _ := os.ReadFile(path)
	undone, err := Undo(t.Context(), dir)
	if !errors.Is(err, ErrJournal) || !strings.Contains(err.Error(), "is of another container of this machine") || len(undone) != 1 || len(undone[0].Left) != 1 {
		t.Errorf("%+v, %v", undone, err)
	}
	if after, _ := os.ReadFile(path); !slices.Equal(before, after) {
		t.Errorf("the journal was changed: %s", after)
	}
	// After a boot they have ended with it.
	dir = t.TempDir()
	writeJournal(t, dir, entry{Op: opBegin, Version: journalVersion, Run: "a", Boot: "another", Host: host, PIDs: "pid:[7]"}, entry{Op: opStop, Pid: 1 << 21, Since: 1})
	if _, err := Undo(t.Context(), dir); err != nil {
		t.Error(err)
	}
	if processFaults && (pidNamespace() == "" || newJournal(t, t.TempDir(), "b").entries[0].PIDs != pidNamespace()) {
		t.Error("the journal does not say in which pid namespace it was written")
	}
}
