package live

import (
	"io"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/dougong-io/dougong/prove/load"
)

// Codes that a terminal understands or leaves out. Within a synchronised update it shows nothing by halves; without
// wrapping, a character that it draws wider than thought cannot move the rows below.
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	beginFrame = "\x1b[?2026h\x1b[?7l"
	endFrame   = "\x1b[?7h\x1b[?2026l"
	clearRight = "\x1b[K"
	clearBelow = "\x1b[J"
)

// View shows one run. It is safe for concurrent use.
type View struct {
	w   io.Writer
	opt Options

	mu     sync.Mutex
	closed bool
	err    error // the first that w gave; nothing is written after it

	rows   []int // cells of each row that is on the screen, from its first to the one above the cursor
	hidden bool  // the cursor

	second int64                 // of the run, that was seen last
	failed map[load.Class]uint64 // when it began
	recent map[load.Class]uint64 // failures of the second before it
	lines  int                   // that Plain has written
}

// New returns a view that writes to w, each frame with one Write. Nothing is written before the first Show.
func New(w io.Writer, opt Options) *View {
	return &View{w: w, opt: opt}
}

// Show draws p, which it does not keep. Plain writes when a second is over, whenever it is called.
func (v *View) Show(p load.Progress) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed || v.err != nil {
		return
	}
	over := v.countFailures(&p)
	if v.opt.Plain {
		if !over {
			return
		}
		var out string
		if v.lines%headerEvery == 0 {
			out = plainHeader
		}
		v.lines++
		v.write(out + plainLine(&p, v.recent))
		return
	}
	width, height := v.opt.size()
	// The cursor stays in the row below the frame.
	v.redraw(frame(&v.opt, &p, v.recent, width, height-1), width, height)
}

// Close ends the view: it takes the frame from the screen, gives the cursor back and, unless final is nil, writes the
// summary. Calls after the first do nothing. It returns the first error of writing, of Show's too.
func (v *View) Close(final *load.Result) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return v.err
	}
	v.closed = true
	var b strings.Builder
	if v.hidden {
		width, height := v.opt.size()
		v.goUp(&b, width, height)
		b.WriteString(clearBelow + showCursor)
	}
	if final != nil {
		width, end := 100, "\n"
		if !v.opt.Plain {
			width, _ = v.opt.size()
			end = "\r\n" // the terminal may be raw
		}
		for _, l := range summary(&v.opt, final, width) {
			l.trim().write(&b, v.opt.Color && !v.opt.Plain)
			b.WriteString(end)
		}
	}
	if b.Len() > 0 {
		// Even after an error: a terminal without its cursor is worse than a second one.
		if _, err := io.WriteString(v.w, b.String()); v.err == nil {
			v.err = err
		}
	}
	return v.err
}

// countFailures says whether a second of the run is over, and keeps the failures that came up in it. It counts them
// when they come up, not when their requests were due: a time-out belongs to a second long past.
func (v *View) countFailures(p *load.Progress) (over bool) {
	second := int64(p.Elapsed / time.Second)
	if second <= v.second {
		return false
	}
	v.second = second
	v.recent = map[load.Class]uint64{}
	for class, n := range p.Sum.Failed {
		if n > v.failed[class] {
			v.recent[class] = n - v.failed[class]
		}
	}
	v.failed = maps.Clone(p.Sum.Failed)
	return true
}

// redraw replaces the frame on the screen.
func (v *View) redraw(lines []line, width, height int) {
	var b strings.Builder
	if !v.hidden {
		v.hidden = true
		b.WriteString(hideCursor)
	}
	b.WriteString(beginFrame)
	v.goUp(&b, width, height)
	v.rows = v.rows[:0]
	for _, l := range lines {
		l = l.trim()
		v.rows = append(v.rows, l.cells())
		l.write(&b, v.opt.Color)
		b.WriteString(clearRight + "\r\n")
	}
	b.WriteString(clearBelow + endFrame)
	v.write(b.String())
}

// goUp moves the cursor to the start of the frame on the screen. A terminal that became narrower has broken its rows;
// those that it scrolled out stay in its history.
func (v *View) goUp(b *strings.Builder, width, height int) {
	n := 0
	for _, cells := range v.rows {
		n += max((cells+width-1)/width, 1)
	}
	b.WriteString(up(min(n, height-1)))
}

func (v *View) write(s string) {
	if v.err == nil {
		_, v.err = io.WriteString(v.w, s)
	}
}
