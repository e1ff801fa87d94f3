package supervisor

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
)

// What is logged of a worker a second, and kept of it for the message of its end.
const (
	linesASecond = 100
	lastLines    = 5
)

// logLines joins what a worker prints to our log. A worker that floods loses lines, which is said.
type logLines struct {
	worker *worker

	mu     sync.Mutex
	recent []string
	stacks int // of a dump of goroutines that were begun
	second time.Time
	logged int
	lost   int
}

func (l *logLines) add(line string) {
	if line = colours.ReplaceAllString(line, ""); line == "" {
		return
	}
	now := time.Now()
	l.mu.Lock()
	if now.Sub(l.second) >= time.Second {
		l.second, l.logged = now, 0
	}
	l.logged++
	// Of a crash of a Go program the first lines say why, then comes the goroutine that did it, and then all others.
	level := slog.LevelInfo
	if strings.HasPrefix(line, "goroutine ") {
		l.stacks++
	}
	switch {
	case l.stacks > 1:
		level = slog.LevelDebug
	case l.stacks == 0:
		if isCrash(line) {
			l.recent = nil
		}
		if len(l.recent) == 0 || !isCrash(l.recent[0]) || len(l.recent) < lastLines {
			l.recent = append(l.recent, line)
			l.recent = l.recent[max(0, len(l.recent)-lastLines):]
		}
	}
	pass, lost := l.logged <= linesASecond, 0
	if pass {
		lost, l.lost = l.lost, 0
	} else {
		l.lost++
	}
	l.mu.Unlock()
	if lost > 0 {
		l.worker.log.Warn("lines of the worker were not logged", "error_code", "worker_log_flood", "lines", lost)
	}
	if pass {
		l.worker.log.Log(context.Background(), level, "worker says", slog.String("line", line))
	}
}

// colours are for terminals, which a log is not.
var colours = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// isCrash tells whether a line is the first that a Go program says when it crashes.
func isCrash(line string) bool {
	return strings.HasPrefix(line, "SIG") || strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "panic: ")
}

func (l *logLines) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.recent, " | ")
}
