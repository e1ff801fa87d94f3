package etcdserver

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/dougong-io/dougong/test/testenv"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const readyTimeout = 30 * time.Second

// Server is a cluster of one member, on ports and a folder of its own. It is for one goroutine.
type Server struct {
	t            *testing.T
	dir          string
	client, peer string // host:port
	process      *exec.Cmd
	stdin        io.Closer
	log          *testenv.Buffer
}

// New returns a server that does not run yet. It ends with the test.
func New(t *testing.T) *Server {
	t.Helper()
	s := &Server{t: t, dir: filepath.Join(t.TempDir(), "etcd"), client: freeAddress(t), peer: freeAddress(t), log: &testenv.Buffer{}}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("etcd:\n%s", s.log)
		}
	})
	return s
}

// Endpoint is the URL for clients.
func (s *Server) Endpoint() string { return "http://" + s.client }

// Start starts the server and returns when it serves.
func (s *Server) Start() {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = testenv.Environment([]string{envDir + "=" + s.dir, envClient + "=" + s.client, envPeer + "=" + s.peer})
	cmd.Stderr = s.log
	testenv.EndWithParent(cmd)
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.process = cmd
	ready := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(stdout) // ends with the process
		ready <- lines.Scan() && lines.Text() == readyLine
	}()
	select {
	case ok := <-ready:
		if !ok {
			s.t.Fatalf("etcd did not start:\n%s", s.log)
		}
	case <-time.After(readyTimeout):
		s.t.Fatalf("etcd is not ready in time:\n%s", s.log)
	}
}

// Kill kills the server, as kill -9 does, and waits for its end. It does nothing when there is none.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill()
	_ = s.stdin.Close()
	_ = s.process.Wait()
	s.process = nil
}

// Suspend makes the server hang, with its connections open.
func (s *Server) Suspend() { s.signal(syscall.SIGSTOP) }

// Resume ends that.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
}

// Wipe removes all data of a server that does not run.
func (s *Server) Wipe() {
	s.t.Helper()
	if s.process != nil {
		s.t.Fatal("etcd runs")
	}
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Fatal(err)
	}
}

// Dir is the data folder.
func (s *Server) Dir() string { return s.dir }

// Client returns a client that ends with the test.
func (s *Server) Client() *clientv3.Client {
	s.t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoint()}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := client.Close(); err != nil && !errors.Is(err, context.Canceled) {
			s.t.Error(err)
		}
	})
	return client
}

// freeAddress returns an address on which nobody listens now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
