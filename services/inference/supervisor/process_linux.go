package supervisor

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// process is a worker's process, with our ends of its sockets.
type process struct {
	pid     int
	control *os.File
	lanes   []*os.File
	reaped  chan struct{}      // closed when it is known how it ended
	status  syscall.WaitStatus // then
	ended   chan struct{}      // closed when what it said is known too

	mu   sync.Mutex
	dead bool // its number may be another process's by now

	logs     *os.File
	logsDone chan struct{}
}

// endLogs waits for what the process said last, which tells how it ended. A process of its own that it left behind, and that
// has the pipe, is not waited for.
func (p *process) endLogs() {
	select {
	case <-p.logsDone:
	case <-time.After(250 * time.Millisecond):
	}
	p.logs.Close()
	<-p.logsDone
}

// kill ends the process and those that it has started, whatever they do. Who waits for ended knows that it has.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dead {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL) // ESRCH: it has ended
	}
}

// closeSockets ends the worker's side of the protocol, and whatever reads here.
func (p *process) closeSockets() {
	p.control.Close()
	for _, lane := range p.lanes {
		lane.Close()
	}
}

// describe says how the process ended.
func (p *process) describe() string {
	switch s := p.status; {
	case s.Signaled() && s.CoreDump():
		return fmt.Sprintf("killed by %s, core dumped", unix.SignalName(s.Signal()))
	case s.Signaled():
		return fmt.Sprintf("killed by %s", unix.SignalName(s.Signal()))
	default:
		return fmt.Sprintf("exit code %d", s.ExitStatus())
	}
}

// spawner starts processes. They are told to die with the thread that started them, which is how Linux knows a parent: so one
// thread starts them all, and lives as long as any of them.
type spawner struct {
	jobs chan func()
	done chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

// close is called when all processes have ended.
func (s *spawner) close() {
	close(s.jobs)
	<-s.done
}

// spawn starts a worker. on tells what happens to it.
func (s *spawner) spawn(c Command, lanes int, model *os.File, on events) (*process, error) {
	path, err := exec.LookPath(c.Path)
	if err != nil {
		return nil, err
	}
	p := &process{reaped: make(chan struct{}), ended: make(chan struct{})}
	var theirs []*os.File // closed here, whatever comes of it
	keep := false
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if !keep && p.control != nil {
			p.closeSockets()
		}
	}()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	theirs = append(theirs, null)
	logs, logsOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	theirs = append(theirs, logsOut)
	defer func() {
		if !keep {
			logs.Close()
		}
	}()
	files := []uintptr{null.Fd(), logsOut.Fd(), logsOut.Fd()}
	for i := range lanes + 1 {
		ours, their, err := socketPair()
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, their)
		files = append(files, their.Fd())
		if i == 0 {
			p.control = ours
		} else {
			p.lanes = append(p.lanes, ours)
		}
	}
	bytes, err := reopen(model)
	if err != nil {
		return nil, err
	}
	theirs = append(theirs, bytes)
	files = append(files, bytes.Fd())
	attributes := &syscall.ProcAttr{
		Files: files,
		Env:   append(append([]string{}, c.Env...), "DOUGONG_WORKER_LANES="+strconv.Itoa(lanes)),
		Sys:   childAttributes(),
	}
	started := make(chan error)
	s.jobs <- func() {
		var err error
		p.pid, err = syscall.ForkExec(path, append([]string{path}, c.Args...), attributes)
		started <- err
	}
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	keep = true
	p.logs, p.logsDone = logs, make(chan struct{})
	go func() {
		defer close(p.logsDone)
		readLines(logs, on.line)
	}()
	go p.wait(on) // ends with the process; who needs that waits for ended
	return p, nil
}

// wait reaps the process. A signal that stops it is told too: nothing else would tell for as long as heartbeats may take.
func (p *process) wait(on events) {
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(p.pid, &status, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err == nil && status.Stopped():
			on.stopped()
			continue
		}
		_ = syscall.Kill(-p.pid, syscall.SIGKILL) // what it has started, and left behind
		p.mu.Lock()
		p.dead, p.status = true, status
		p.mu.Unlock()
		close(p.reaped)
		on.reaped() // its sockets may be open still: a process of its own may have them
		p.endLogs()
		close(p.ended)
		return
	}
}

// maxLine is how much of a line is kept.
const maxLine = 4096

// readLines hands on what a worker prints, until nobody can print any more or the pipe is closed.
func readLines(from *os.File, line func(string)) {
	r := bufio.NewReaderSize(from, maxLine)
	for {
		text, rest, err := r.ReadLine()
		if err != nil {
			return
		}
		if len(text) > 0 {
			line(string(text))
		}
		for rest && err == nil { // of a long one the beginning will do
			_, rest, err = r.ReadLine()
		}
	}
}

// childAttributes has a worker die with us, and keeps the terminal's signals from it.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// socketPair makes our end, which the runtime polls, and theirs, which blocks.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "worker socket")
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		syscall.Close(fds[0])
		theirs.Close()
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fds[0]), "worker socket"), theirs, nil
}

// memoryFile is bytes that no one can change, to be inherited.
func memoryFile(bytes []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("model", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "model")
	if _, err := f.Write(bytes); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL); err != nil {
		f.Close()
		return nil, os.NewSyscallError("fcntl", err)
	}
	return f, nil
}

// reopen makes a file of the same bytes with a place of its own, which can only be read.
func reopen(f *os.File) (*os.File, error) { return os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd())) }

// peeker reads what is there, without waiting; 0 if that is nothing, or an error, which a read will tell.
func peeker(f *os.File) func(p []byte) int {
	raw, err := f.SyscallConn()
	if err != nil { // it is closed
		return func([]byte) int { return 0 }
	}
	var (
		into []byte
		n    int
	)
	peek := func(fd uintptr) { // one for all calls: it allocates nothing
		got, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(into))), uintptr(len(into)), syscall.MSG_DONTWAIT, 0, 0)
		if n = int(got); errno != 0 {
			n = 0
		}
	}
	return func(p []byte) int {
		into, n = p, 0
		if raw.Control(peek) != nil {
			n = 0
		}
		into = nil
		return n
	}
}
