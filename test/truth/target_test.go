package truth

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/dougong-io/dougong/prove/load"
)

// The target is a process of its own, so that the generator and the target do not share a scheduler and a garbage
// collector: this test binary, started again with these variables.
const (
	targetProtocol = "DOUGONG_TRUTH_TARGET"
	targetCase     = "DOUGONG_TRUTH_CASE"
)

func TestMain(m *testing.M) {
	if protocol := os.Getenv(targetProtocol); protocol != "" {
		if err := beTarget(load.Protocol(protocol), os.Getenv(targetCase)); err != nil {
			fmt.Fprintln(os.Stderr, "target:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// stalling is a target that answers each request after a fixed time of service, but stalls once.
type stalling struct {
	service time.Duration // from the arrival of a request to its answer
	after   time.Duration // from the first request to the stall
	length  time.Duration
	spacing time.Duration // after the stall, between two of the requests that it held up
}

func (s stalling) String() string {
	return fmt.Sprintf("%d %d %d %d", s.service, s.after, s.length, s.spacing)
}

// gate lets requests through, except in the stall: what arrives in it leaves at its end, in the order of arrival and
// spaced, as thousands of answers at one instant take a machine longer than what is to be told apart. It keeps, by the
// system's monotonic clock, when it answered each request.
type gate struct {
	stalling
	answered []atomic.Int64 // by the number of the request

	mu         sync.Mutex
	from, till int64 // of the stall
	held       []chan struct{}
	opened     int64 // when the gate was really opened again
}

const maxRequests = 1 << 17

// pass returns when request seq is to be answered.
func (g *gate) pass(seq int) {
	now := monotonic()
	g.mu.Lock()
	if g.from == 0 {
		g.from = now + int64(g.after)
		g.till = g.from + int64(g.length)
		time.AfterFunc(g.after+g.length, g.open)
	}
	if now >= g.from && g.opened == 0 {
		turn := make(chan struct{})
		g.held = append(g.held, turn)
		g.mu.Unlock()
		<-turn
	} else {
		g.mu.Unlock()
	}
	if left := g.service - time.Duration(monotonic()-now); left > 0 {
		time.Sleep(left)
	}
	if seq >= 0 && seq < maxRequests {
		g.answered[seq].Store(monotonic())
	}
}

func (g *gate) open() {
	g.mu.Lock()
	g.opened = monotonic()
	held := g.held
	g.held = nil
	g.mu.Unlock()
	for i, turn := range held {
		if left := g.opened + int64(i)*int64(g.spacing) - monotonic(); left > 0 {
			time.Sleep(time.Duration(left))
		}
		close(turn)
	}
}

// account is what the target knows of a run.
type account struct {
	From, Opened int64 // the stall, as it was
	Answered     [maxRequests]int64
}

// beTarget serves on a port of the system's choice, which it prints, until its standard input ends; then it prints its
// account.
func beTarget(protocol load.Protocol, what string) error {
	var g gate
	if _, err := fmt.Sscan(what, &g.service, &g.after, &g.length, &g.spacing); err != nil {
		return fmt.Errorf("%q: %w", what, err)
	}
	g.answered = make([]atomic.Int64, maxRequests)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	failed := make(chan error, 1)
	go func() { failed <- serve(protocol, listener, &g) }()
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	select {
	case err := <-failed:
		return err
	case <-ended:
	}
	a := new(account)
	g.mu.Lock()
	a.From, a.Opened = g.from, g.opened
	g.mu.Unlock()
	for i := range a.Answered {
		a.Answered[i] = g.answered[i].Load()
	}
	out := bufio.NewWriter(os.Stdout)
	if err := binary.Write(out, binary.LittleEndian, a); err != nil {
		return err
	}
	return out.Flush()
}

func serve(protocol load.Protocol, listener net.Listener, g *gate) error {
	switch protocol {
	case load.HTTP1, load.HTTP2:
		server := &http.Server{Handler: http.HandlerFunc(g.serveHTTP), Protocols: new(http.Protocols)}
		server.Protocols.SetHTTP1(protocol == load.HTTP1)
		server.Protocols.SetUnencryptedHTTP2(protocol == load.HTTP2)
		server.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 10_000}
		return server.Serve(listener)
	case load.GRPC:
		server := grpc.NewServer()
		healthpb.RegisterHealthServer(server, &checked{gate: g})
		reflection.Register(server)
		return server.Serve(listener)
	case load.WebSocket:
		return http.Serve(listener, http.HandlerFunc(g.serveWebSocket))
	}
	return fmt.Errorf("no protocol %q", protocol)
}

func (g *gate) serveHTTP(w http.ResponseWriter, r *http.Request) {
	seq, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil {
		http.Error(w, "no number", http.StatusBadRequest)
		return
	}
	g.pass(seq)
	io.WriteString(w, "ok\n")
}

// checked is the health service; the name of the service that is asked for is the number of the request.
type checked struct {
	healthpb.UnimplementedHealthServer
	gate *gate
}

func (c *checked) Check(_ context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	seq, err := strconv.Atoi(r.Service)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "no number")
	}
	c.gate.pass(seq)
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}

func (g *gate) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	conn, _, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		text, err := wsutil.ReadClientText(conn)
		if err != nil {
			return
		}
		seq, err := strconv.Atoi(string(text))
		if err != nil {
			return
		}
		g.pass(seq)
		if err := wsutil.WriteServerText(conn, text); err != nil {
			return
		}
	}
}

// target is a stalling target that runs.
type target struct {
	addr string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

func startTarget(t *testing.T, protocol load.Protocol, s stalling) *target {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), targetProtocol+"="+string(protocol), targetCase+"="+s.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tg := &target{cmd: cmd, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		if tg.cmd != nil {
			tg.cmd.Process.Kill()
			tg.cmd.Wait()
		}
	})
	if tg.addr, err = tg.out.ReadString('\n'); err != nil {
		t.Fatal("the target did not start: ", err)
	}
	tg.addr = tg.addr[:len(tg.addr)-1]
	return tg
}

// account ends the target and returns what it knows.
func (tg *target) account() (*account, error) {
	tg.in.Close()
	a := new(account)
	err := binary.Read(tg.out, binary.LittleEndian, a)
	err = errors.Join(err, tg.cmd.Wait())
	tg.cmd = nil
	return a, err
}

// monotonic is the clock that all processes of a machine share, and that Go's time.Time carries.
func monotonic() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(os.NewSyscallError("clock_gettime", err.(syscall.Errno))) // every Linux has it
	}
	return now.Nano()
}

// onMonotonic puts a time on that clock.
func onMonotonic(at time.Time) int64 {
	return monotonic() - int64(time.Since(at))
}
