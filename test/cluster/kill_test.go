package cluster

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var seed = flag.Uint64("seed", 0, "of the random kills; 0 takes a new one")

// Whatever is killed, and whenever, Down leaves nothing.
func TestDownAfterAKillLeavesNothing(t *testing.T) {
	needsCluster(t)
	rounds := 6
	if os.Getenv("DOUGONG_LONG") != "" {
		rounds = 60
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed=%d", *seed)
	random := rand.New(rand.NewPCG(*seed, 0))
	for range rounds {
		at := time.Duration(random.Int64N(int64(9 * time.Second)))
		if random.IntN(2) == 0 { // the first instants, in which it is half made
			at = time.Duration(random.Int64N(int64(600 * time.Millisecond)))
		}
		victim, later := random.IntN(6), time.Duration(random.Int64N(int64(300*time.Millisecond)))
		t.Run("", func(t *testing.T) { killAt(t, victim, at, later) })
	}
}

func killAt(t *testing.T, victim int, at, later time.Duration) {
	dir := clusterDir(t)
	cmd, _ := startUp(t, dir, false)
	time.Sleep(at) // the instant is what is tried
	name := cgroupName(dir)
	ids, err := processesIn(name)
	if err != nil {
		t.Fatal(err)
	}
	what := "who starts it"
	switch {
	case victim == 1 && len(ids) > 0:
		what = "its first process"
		if first, err := findFirst(name); err == nil && first != 0 {
			killIn(name, first)
		}
	case victim == 2 && len(ids) > 0:
		what = "one of its processes"
		killIn(name, ids[len(ids)/2])
	case victim == 3:
		what = "all at once"
		_ = cmd.Process.Kill()
		for _, id := range ids {
			killIn(name, id)
		}
	case victim == 4:
		what = "who ends it"
		_ = cmd.Process.Kill()
		down, _ := startProcess(t, downEnv+"="+dir)
		time.Sleep(later)
		_ = down.Process.Kill()
		_ = down.Wait()
	case victim == 5:
		what = "nobody before Down"
	default:
		_ = cmd.Process.Kill()
	}
	t.Logf("killed %s after %s, of %d processes", what, at.Round(time.Millisecond), len(ids))
	// clusterDir's Down follows. Who starts it, if it lives, must see that, and not start anything again.
	ctx, cancel := context.WithTimeout(t.Context(), downTime)
	defer cancel()
	if err := Down(ctx, dir); err != nil {
		t.Error(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestATiedClusterEndsWithItsCaller(t *testing.T) {
	needsCluster(t)
	dir := clusterDir(t)
	cmd, lines := startUp(t, dir, true)
	for line := range lines {
		if line == "up" {
			break
		}
	}
	if _, err := Attach(dir); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	within(t, 10*time.Second, func() error {
		ids, err := processesIn(cgroupName(dir))
		if err == nil && len(ids) > 0 {
			err = errors.New("it has processes")
		}
		return err
	})
	if _, err := Attach(dir); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "cluster down") {
		t.Errorf("attach to what was killed: %v", err)
	}
	// The next start removes what is left.
	if c, err := Up(t.Context(), Config{Dir: dir, Nodes: 1, Progress: logWriter{t}}); err != nil || c.first == 0 {
		t.Errorf("start after a kill: %v", err)
	}
}

// startUp runs Up in a process of its own, with the lines that it writes.
func startUp(t *testing.T, dir string, tied bool) (*exec.Cmd, <-chan string) {
	t.Helper()
	if tied {
		return startProcess(t, upEnv+"="+dir, upEnv+"_TIED=1")
	}
	return startProcess(t, upEnv+"="+dir)
}

func startProcess(t *testing.T, env ...string) (*exec.Cmd, <-chan string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), env...)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := make(chan string, 1000) // more than there are
	go func() {                      // ends when the process, which alone has the other end, does
		defer close(lines)
		defer r.Close()
		s := bufio.NewScanner(io.LimitReader(r, 1<<20))
		for s.Scan() {
			lines <- s.Text()
		}
	}()
	return cmd, lines
}
