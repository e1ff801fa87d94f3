package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// starter starts processes on one thread that lives until close: the kernel ends a process with the thread that
// started it (PR_SET_PDEATHSIG, prctl(2)), and the runtime may end any other thread before the prover ends.
type starter struct {
	calls chan func()
	ended chan struct{}
}

func newStarter() *starter {
	s := &starter{calls: make(chan func()), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for call := range s.calls {
			call()
		}
	}()
	return s
}

func (s *starter) start(cmd *exec.Cmd) (err error) {
	done := make(chan struct{})
	s.calls <- func() {
		err = cmd.Start()
		close(done)
	}
	<-done
	return err
}

// close waits for the thread. No process that it started may be left.
func (s *starter) close() {
	close(s.calls)
	<-s.ended
}

// child is a service that the plan starts, and starts again whenever it ends, until it is told to end. One goroutine
// owns its process. It is safe for concurrent use.
type child struct {
	service *Service
	run     string
	intent  int // the entry of the journal
	journal *journal
	starter *starter
	alone   bool           // it is not to end with the prover; for tests of what is left then
	groups  []place        // that its processes are put into
	limits  map[Kind]place // where limits are written
	noLimit map[Kind]error // why they are not
	tell    func(text string)
	output  io.Writer // besides; may be nil
	tail    tail

	ending chan struct{} // closed when it is to end for good
	ended  chan struct{}

	mu    sync.Mutex
	cmd   *exec.Cmd // nil while there is none
	since uint64
	start time.Time // of the last process
	exits int
	term  *time.Timer // kills what does not end after SIGTERM
}

// errNoProcess says that a process is not there at the moment.
var errNoProcess = errors.New("the process is not running")

const (
	defaultStart = 30 * time.Second
	defaultStop  = 30 * time.Second
	leastPause   = 100 * time.Millisecond // between two starts of a process that ends by itself
	mostPause    = 2 * time.Second
	livedLong    = 2 * time.Second // after so long, its end is not taken for that of one that cannot start
)

// begin starts the process, and its goroutine. It does not wait until the service is ready.
func (c *child) begin() error {
	c.ending, c.ended = make(chan struct{}), make(chan struct{})
	n, err := c.journal.write(entry{Op: opStart, Service: c.service.Name})
	if err != nil {
		close(c.ended)
		return err
	}
	c.intent = n
	if err := c.spawn(); err != nil {
		close(c.ended)
		return fmt.Errorf("%s cannot be started: %w", c.service.Name, err)
	}
	go c.supervise()
	return nil
}

// spawn starts one process.
func (c *child) spawn() error {
	cmd := exec.Command(c.service.Command[0], c.service.Command[1:]...)
	cmd.Dir = c.service.Dir
	cmd.Env = os.Environ()
	for name, value := range c.service.Environment {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Env = append(cmd.Env, mark(c.run, c.service.Name))
	cmd.Stdout = &c.tail
	if c.output != nil {
		cmd.Stdout = io.MultiWriter(&c.tail, c.output)
	}
	cmd.Stderr = cmd.Stdout
	cmd.SysProcAttr = attributes(!c.alone)
	cmd.WaitDelay = 200 * time.Millisecond // for what it may have left behind with its output open
	if err := c.starter.start(cmd); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	since, err := began(pid)
	for _, g := range c.groups {
		if err == nil {
			err = g.join(pid)
		}
	}
	if err == nil {
		_, err = c.journal.write(entry{Op: opStarted, Of: c.intent, Pid: pid, Since: since})
	}
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return err
	}
	c.mu.Lock()
	c.cmd, c.since, c.start = cmd, since, time.Now()
	c.mu.Unlock()
	c.tell(fmt.Sprintf("%s started, process %d", c.service.Name, pid))
	return nil
}

// supervise waits for the process and starts it again, until it is to end for good.
func (c *child) supervise() {
	defer close(c.ended)
	wait := time.Duration(0)
	for {
		c.mu.Lock()
		cmd := c.cmd
		c.mu.Unlock()
		start := time.Now()
		if cmd != nil {
			err := cmd.Wait()
			c.sweep()
			c.mu.Lock()
			c.cmd = nil
			c.exits++
			if c.term != nil {
				c.term.Stop()
				c.term = nil
			}
			c.mu.Unlock()
			why := "exit status 0"
			if err != nil {
				why = err.Error()
			}
			c.tell(fmt.Sprintf("%s ended: %s", c.service.Name, why))
		}
		wait = min(max(2*wait, leastPause), mostPause)
		delay := wait
		if cmd != nil && time.Since(start) >= livedLong {
			wait, delay = 0, time.Duration(c.service.RestartDelay)
		}
		select {
		case <-c.ending:
			return
		case <-time.After(delay):
		}
		select {
		case <-c.ending:
			return
		default:
		}
		if err := c.spawn(); err != nil {
			c.tell(fmt.Sprintf("%s cannot be started: %v", c.service.Name, err))
		}
	}
}

// sweep ends what the process, which has ended, has left behind.
func (c *child) sweep() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if n, err := endMarked(ctx, mark(c.run, c.service.Name), nil, 0); n > 0 || err != nil {
		c.tell(fmt.Sprintf("%s had left %d processes behind", c.service.Name, n))
	}
}

// signal sends a signal to the process.
func (c *child) signal(s syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return errNoProcess
	}
	return c.cmd.Process.Signal(s)
}

// identity says which process it is now.
func (c *child) identity() (identity, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return identity{}, errNoProcess
	}
	return identity{c.cmd.Process.Pid, c.since}, nil
}

// started is when the last process was started, and how many had ended before it.
func (c *child) started() (at time.Time, ends int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.start, c.exits
}

// group is where a limit of a kind is written.
func (c *child) group(kind Kind) (place, error) {
	if p, ok := c.limits[kind]; ok {
		return p, nil
	}
	return place{}, c.noLimit[kind]
}

// terminate asks the process to end, and ends it after the service's bound. It asks once: many programs take a second
// SIGTERM for an order to end at once.
func (c *child) terminate() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return errNoProcess
	}
	if c.term != nil {
		return nil
	}
	process := c.cmd.Process
	c.term = time.AfterFunc(or(time.Duration(c.service.Stop), defaultStop), func() { process.Kill() })
	return process.Signal(sigTerm)
}

// end ends the process for good and waits for it, and for what it has left behind.
func (c *child) end(ctx context.Context) error {
	select {
	case <-c.ending:
	default:
		close(c.ending)
	}
	for ended := false; !ended; {
		_ = c.terminate() // again and again: it may be between two processes
		_ = c.signal(sigCont)
		if ctx.Err() != nil {
			_ = c.signal(sigKill)
		}
		select {
		case <-c.ended:
			ended = true
		case <-time.After(50 * time.Millisecond):
		}
	}
	left, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoPatience)
	defer cancel()
	_, err := endMarked(left, mark(c.run, c.service.Name), nil, politely)
	if err != nil || c.intent == 0 {
		return err
	}
	return c.journal.markUndone(c.intent)
}

func or(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// tail keeps the end of what a process writes.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if cut := len(t.text) - tailBytes; cut > 0 {
		t.text = append(t.text[:0], t.text[cut:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
