//go:build unix

package workercheck

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dougong-io/dougong/services/inference/wire"
)

const (
	patience = 10 * time.Second // for whatever is not a LOAD
	maxFrame = 16 << 20
	firstFD  = 3
	tail     = 20 // lines of the log that are kept
)

// end is our end of a socket to the worker.
type end struct {
	file   *os.File
	reader wire.Reader
}

// process is a worker that was started.
type process struct {
	ctx     context.Context
	cmd     *exec.Cmd
	pid     int
	modelFD int
	control *end
	lanes   []*end
	detach  func() bool   // from the context
	exited  chan struct{} // closed when it has ended, and its log too
	state   *os.ProcessState
	lastID  atomic.Uint64

	mu  sync.Mutex
	log []string
}

// pair makes a socket: our end, which has deadlines, and the worker's, in blocking mode.
func pair() (*end, *os.File, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		return nil, nil, err
	}
	ours := os.NewFile(uintptr(fds[0]), "socket")
	return &end{file: ours, reader: wire.Reader{R: ours, Max: maxFrame}}, os.NewFile(uintptr(fds[1]), "socket of the worker"), nil
}

// modelFile holds data without a name in the file system.
func modelFile(data []byte) (*os.File, error) {
	f, err := os.CreateTemp("", "workercheck")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	defer os.Remove(f.Name())
	if _, err := f.Write(data); err != nil {
		return nil, err
	}
	return os.Open(f.Name())
}

func start(ctx context.Context, c Command, data []byte, lanes int) (*process, error) {
	p := &process{ctx: ctx, exited: make(chan struct{}), modelFD: firstFD + 1 + lanes}
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	for i := range 1 + lanes {
		ours, other, err := pair()
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, other)
		if i == 0 {
			p.control = ours
		} else {
			p.lanes = append(p.lanes, ours)
		}
	}
	file, err := modelFile(data)
	if err != nil {
		return nil, err
	}
	theirs = append(theirs, file)
	p.cmd = exec.Command(c.Path, c.Args...)
	p.cmd.ExtraFiles = theirs
	p.cmd.Env = append([]string{fmt.Sprintf("DOUGONG_WORKER_LANES=%d", lanes)}, c.Env...)
	for _, name := range []string{"PATH", "HOME", "LANG", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			p.cmd.Env = append(p.cmd.Env, name+"="+v)
		}
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = in, in
	err = p.cmd.Start()
	in.Close()
	if err != nil {
		out.Close()
		p.hangUp()
		return nil, fmt.Errorf("starting the worker: %w", err)
	}
	p.pid = p.cmd.Process.Pid
	p.detach = context.AfterFunc(ctx, p.hangUp) // so that no read outlasts it
	go func() {
		defer close(p.exited)
		var logged sync.WaitGroup
		logged.Go(func() { p.follow(out, c.Log) })
		_ = p.cmd.Wait() // what it says is in the state
		p.state = p.cmd.ProcessState
		_ = out.SetReadDeadline(time.Now().Add(time.Second)) // who has it still was left behind
		logged.Wait()
		out.Close()
	}()
	return p, nil
}

func (p *process) follow(out io.Reader, line func(string)) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if line != nil {
			line(lines.Text())
		}
		p.mu.Lock()
		if p.log = append(p.log, lines.Text()); len(p.log) > tail {
			p.log = p.log[1:]
		}
		p.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, out) // after a line that is too long
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.log) == 0 {
		return ""
	}
	return "\nits last lines:\n  " + strings.Join(p.log, "\n  ")
}

func (p *process) hangUp() {
	if p.control != nil {
		p.control.file.Close()
	}
	for _, l := range p.lanes {
		l.file.Close()
	}
}

// stop ends whatever is left of the worker.
func (p *process) stop() {
	p.detach()
	p.hangUp()
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // its group; ESRCH: it has ended
	<-p.exited
}

// exits waits for the worker to end by itself.
func (p *process) exits(within time.Duration, codes ...int) error {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-p.ctx.Done():
		return p.ctx.Err()
	case <-timer.C:
		return fmt.Errorf("it still runs after %v", within)
	}
	if len(codes) == 0 {
		return nil
	}
	for _, code := range codes {
		if p.state.ExitCode() == code {
			return nil
		}
	}
	return fmt.Errorf("it ended with %v; exit code %d was expected", p.state, codes[0])
}

// leavesNothing: no process of its group goes on.
func (p *process) leavesNothing() error {
	if err := syscall.Kill(-p.pid, 0); !errors.Is(err, syscall.ESRCH) {
		return errors.New("processes that it started go on without it")
	}
	return nil
}

func (p *process) id() uint64 { return p.lastID.Add(1) }

func (p *process) within(e *end, limit time.Duration) {
	by := time.Now().Add(limit)
	if deadline, ok := p.ctx.Deadline(); ok && deadline.Before(by) {
		by = deadline
	}
	_ = e.file.SetDeadline(by)
}

func (p *process) write(e *end, frame []byte) error {
	p.within(e, patience)
	if _, err := e.file.Write(frame); err != nil {
		return fmt.Errorf("it does not read: %w", err)
	}
	return nil
}

// read reads the answer to what was asked with this id.
func (p *process) read(e *end, id uint64, limit time.Duration) (wire.Type, []byte, error) {
	p.within(e, limit)
	h, body, err := e.reader.Next()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, nil, fmt.Errorf("no answer within %v", limit)
	case errors.Is(err, io.EOF):
		return 0, nil, errors.New("it closed the socket instead of answering")
	case err != nil:
		return 0, nil, err
	case h.ID != id:
		return 0, nil, fmt.Errorf("%v answers %d, not %d", h.Type, h.ID, id)
	}
	return h.Type, body, nil
}

// silent: nothing comes that was not asked for.
func (p *process) silent(e *end, what string) error {
	_ = e.file.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	b := make([]byte, 1)
	if n, err := e.file.Read(b); n > 0 {
		return fmt.Errorf("it writes unasked on %s", what)
	} else if !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
