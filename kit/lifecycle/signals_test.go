package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// childEnv makes the test binary play the program that is signalled.
const childEnv = "LIFECYCLE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "drains":
		os.Exit(child(0))
	case "lingers":
		os.Exit(child(3 * together))
	case "hangs":
		os.Exit(child(time.Minute))
	}
}

// child runs a group until a signal comes; its member then takes the given time to stop.
func child(toStop time.Duration) int {
	ctx, stop := Signals(context.Background(), nil)
	defer stop()
	web := Member{Name: "web", Run: func(ctx context.Context, ready func()) error {
		ready()
		fmt.Println("ready")
		<-ctx.Done()
		fmt.Println("stopping")
		time.Sleep(toStop)
		return nil
	}}
	group, err := NewGroup("child", Config{StartTimeout: time.Minute, StopTimeout: time.Hour}, []Member{web})
	if err != nil {
		panic(err)
	}
	if err := group.Run(ctx); err != nil {
		return 1
	}
	fmt.Println(context.Cause(ctx))
	return 0
}

// signalChild runs a child, sends it the signals that come before the line "stopping" and those well after it, and
// returns its exit code and output.
func signalChild(t *testing.T, mode string, before, after []os.Signal) (code int, output string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+mode)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	var out strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := read.Read(buf)
		out.Write(buf[:n])
		if strings.Contains(out.String(), "ready\n") {
			send(cmd, &before)
		}
		if strings.Contains(out.String(), "stopping\n") && len(after) > 0 {
			time.Sleep(2 * together) // so that they are not the first once more
			send(cmd, &after)
		}
		if err != nil {
			break
		}
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), out.String()
}

func send(cmd *exec.Cmd, signals *[]os.Signal) {
	for _, s := range *signals {
		_ = cmd.Process.Signal(s) // a child that has ended already is what some tests want
	}
	*signals = nil
}

func TestFirstSignalDrainsAndExitsZero(t *testing.T) {
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		code, output := signalChild(t, "drains", []os.Signal{s}, nil)
		if want := fmt.Sprintf("ready\nstopping\nreceived signal: %v\n", s); code != 0 || output != want {
			t.Errorf("%v: exit code %d, output %q, want %q", s, code, output, want)
		}
	}
}

// timeout(1) signals a process and then its group.
func TestSignalThatComesTwiceAtOnceDrains(t *testing.T) {
	twice := []os.Signal{syscall.SIGINT, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	code, output := signalChild(t, "lingers", twice, nil)
	if code != 0 || strings.Count(output, "stopping") != 1 {
		t.Errorf("exit code %d, output %q", code, output)
	}
}

func TestSignalsTogetherAreOne(t *testing.T) {
	for name, c := range map[string]struct {
		after []time.Duration // one after the other
		exits int
	}{
		"one":                    {[]time.Duration{time.Second}, 0},
		"two at once":            {[]time.Duration{0, time.Millisecond}, 0},
		"three at once":          {[]time.Duration{0, time.Millisecond, together - 2*time.Millisecond}, 0},
		"two":                    {[]time.Duration{0, together}, 1},
		"two at once, and later": {[]time.Duration{0, 0, time.Second}, 1},
		"a slow drum":            {[]time.Duration{0, together / 2, together / 2}, 1},
		"many":                   {[]time.Duration{0, time.Second, time.Second, time.Second}, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			received := make(chan os.Signal)
			exits := 0
			ctx, stop := onSignals(t.Context(), received, func(code int) {
				exits++
				if code != 130 {
					t.Errorf("%s: exit code %d", name, code)
				}
			})
			for _, after := range c.after {
				time.Sleep(after)
				received <- syscall.SIGINT
			}
			synctest.Wait()
			if _, ok := errors.AsType[*SignalError](context.Cause(ctx)); !ok || exits != c.exits {
				t.Errorf("%s: %v, %d exits, want %d", name, context.Cause(ctx), exits, c.exits)
			}
			stop()
			stop()
		})
	}
}

func TestSecondSignalExits130(t *testing.T) {
	code, output := signalChild(t, "hangs", []os.Signal{syscall.SIGTERM}, []os.Signal{syscall.SIGINT})
	if code != 130 {
		t.Errorf("exit code %d, output %q", code, output)
	}
}

func TestSignalStormStopsOnce(t *testing.T) {
	storm := make([]os.Signal, 0, 400)
	for range 200 {
		storm = append(storm, syscall.SIGTERM, syscall.SIGINT)
	}
	code, output := signalChild(t, "hangs", []os.Signal{syscall.SIGTERM}, storm)
	if code != 130 || strings.Count(output, "stopping") != 1 {
		t.Errorf("exit code %d, output %q", code, output)
	}
}

func TestSignalsInProcess(t *testing.T) {
	// A signal that is still on its way when nobody listens any more would end the test process.
	arrived := make(chan os.Signal, 1)
	signal.Notify(arrived, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(arrived)
	self := func(s syscall.Signal) {
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		<-arrived
	}

	exits := make(chan int, 100)
	ctx, stop := Signals(t.Context(), func(code int) { exits <- code })
	defer stop()
	self(syscall.SIGINT)
	<-ctx.Done()
	if cause, ok := errors.AsType[*SignalError](context.Cause(ctx)); !ok || cause.Signal != syscall.SIGINT {
		t.Fatalf("cause %v", context.Cause(ctx))
	}
	time.Sleep(2 * together) // of the real clock: closer together they would be one
	self(syscall.SIGTERM)
	if code := <-exits; code != 130 {
		t.Fatal(code)
	}
	for range 50 {
		self(syscall.SIGTERM)
	}
	stop() // waits for the goroutine, so that nothing is sent after it
	stop()
	if len(exits) != 0 {
		t.Fatalf("exit was called %d more times", len(exits))
	}
}

func TestTenThousandRoundsLeaveNoGoroutine(t *testing.T) {
	_, stop := Signals(t.Context(), nil)
	stop() // starts the one goroutine of os/signal, which stays
	before := runtime.NumGoroutine()
	for range 10_000 {
		ctx, stop := Signals(t.Context(), nil)
		stop()
		if ctx.Err() == nil {
			t.Fatal("stop did not end the context")
		}
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Fatalf("%d goroutines before, %d after", before, after)
	}
}
