package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Start gives a test a cluster with the images in the tar files: the one in the folder that DOUGONG_CLUSTER names, which
// then stays; else one of its own, which ends with the test, or with the process if that is killed. Namespaces in the
// one that stays are the test's to make and to remove.
func Start(t testing.TB, images ...string) *Cluster {
	t.Helper()
	if dir := os.Getenv("DOUGONG_CLUSTER"); dir != "" {
		c, err := Attach(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, image := range images {
			if err := c.Load(t.Context(), image); err != nil {
				t.Fatal(err)
			}
		}
		return c
	}
	dir, err := os.MkdirTemp("", "dougong-cluster-")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Up(t.Context(), Config{Dir: dir, Nodes: 2, Images: images, Tied: true, Progress: logWriter{t}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), downTime)
		defer cancel()
		begun := time.Now()
		if err := Down(ctx, dir); err != nil {
			t.Error(err)
		}
		if c != nil {
			c.life.Close()
		}
		t.Logf("cluster: ended in %s", time.Since(begun).Round(time.Millisecond))
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, lastLines(failedLogs(dir)))
	}
	return c
}

// lastLines is the end of each log in the folder, for a test whose cluster did not start: the logs themselves go.
func lastLines(dir string) string {
	const size = 600
	files, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	var b strings.Builder
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err == nil && len(data) > 0 {
			fmt.Fprintf(&b, "== the end of %s\n%s\n", f.Name(), data[max(0, len(data)-size):])
		}
	}
	return b.String()
}

// logWriter makes lines of progress lines of the test.
type logWriter struct{ t testing.TB }

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p[:max(0, len(p)-1)])
	return len(p), nil
}
