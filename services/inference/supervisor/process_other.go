//go:build !linux

package supervisor

import (
	"errors"
	"os"
	"syscall"
)

// process is what it is on Linux, where alone there are any.
type process struct {
	pid     int
	control *os.File
	lanes   []*os.File
	reaped  chan struct{}
	ended   chan struct{}
	status  syscall.WaitStatus
}

var errOnlyLinux = errors.New("worker processes need Linux: they have to end with their parent")

func (p *process) kill()            {}
func (p *process) closeSockets()    {}
func (p *process) describe() string { return "" }

type spawner struct{}

func newSpawner() *spawner { return &spawner{} }

func (s *spawner) close() {}

func (s *spawner) spawn(Command, int, *os.File, events) (*process, error) {
	return nil, errOnlyLinux
}

func memoryFile([]byte) (*os.File, error) { return nil, errOnlyLinux }

func peeker(*os.File) func([]byte) int { return func([]byte) int { return 0 } }
