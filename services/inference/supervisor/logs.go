package supervisor

import (
	"log/slog"
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
	second time.Time
	logged int
	lost   int
}

func (l *logLines) add(line string) {
	now := time.Now()
	l.mu.Lock()
	if now.Sub(l.second) >= time.Second {
		l.second, l.logged = now, 0
	}
	l.logged++
	// Of a crash of a Go program the first lines say why, and hundreds follow.
	if len(l.recent) < lastLines || !strings.HasPrefix(l.recent[0], "SIG") && !strings.HasPrefix(l.recent[0], "fatal") && !strings.HasPrefix(l.recent[0], "panic") {
		l.recent = append(l.recent, line)
		l.recent = l.recent[max(0, len(l.recent)-lastLines):]
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
		l.worker.log.Info("worker says", slog.String("line", line))
	}
}

func (l *logLines) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.recent, " | ")
}
