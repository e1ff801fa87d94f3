package faultfs

import (
	"io"
	"io/fs"
	"sync"

	"github.com/dougong-io/dougong/kit/fault"
)

// damaged is the damage of an open file, which may be read concurrently; nil if it has none. When the rule ends that
// ordered it, the file is as it is.
type damaged struct {
	mu     sync.Mutex // guards damage, but for its cuts, which do not change
	damage fault.Damage
}

func newDamaged(d fault.Damage) *damaged {
	if !d.Any() {
		return nil
	}
	return &damaged{damage: d}
}

func (d *damaged) cut() (after int64, isCut bool) {
	if d == nil {
		return 0, false
	}
	return d.damage.Cut()
}

// read reads at an offset of the file, by a function that does, and damages what it read. What lies beyond the end of
// a truncated file is not read: the position of the file beneath stays what it seems to be.
func (d *damaged) read(b []byte, offset int64, read func([]byte) (int, error)) (int, error) {
	if d == nil {
		return read(b)
	}
	within := b
	if after, cut := d.cut(); cut && int64(len(b)) > after-offset {
		if within = b[:max(0, after-offset)]; len(within) == 0 {
			return 0, io.EOF
		}
	}
	n, err := read(within)
	d.mu.Lock()
	d.damage.Apply(b[:n], offset)
	d.mu.Unlock()
	return n, err
}

// readAt is read anywhere: less than was asked for is an error.
func (d *damaged) readAt(b []byte, offset int64, r io.ReaderAt) (int, error) {
	if d == nil || offset < 0 {
		return r.ReadAt(b, offset)
	}
	n, err := d.read(b, offset, func(b []byte) (int, error) { return r.ReadAt(b, offset) })
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}

// seek knows where a truncated file ends.
func (d *damaged) seek(inner io.Seeker, stat func() (fs.FileInfo, error), offset int64, whence int) (int64, error) {
	if _, cut := d.cut(); cut && whence == io.SeekEnd {
		info, err := stat()
		if err != nil {
			return 0, err
		}
		offset, whence = offset+d.info(info).Size(), io.SeekStart
	}
	return inner.Seek(offset, whence)
}

func (d *damaged) info(info fs.FileInfo) fs.FileInfo {
	after, cut := d.cut()
	if info == nil || !cut || !info.Mode().IsRegular() || info.Size() <= after {
		return info
	}
	return shorter{info, after}
}

type shorter struct {
	fs.FileInfo
	size int64
}

func (s shorter) Size() int64 { return s.size }
