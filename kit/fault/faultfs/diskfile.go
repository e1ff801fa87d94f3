package faultfs

import (
	"errors"
	"io"
	"io/fs"
	"sync/atomic"
	"syscall"
)

// diskFile is a file of the operating system that passes points.
type diskFile struct {
	File
	points  *Points
	damage  *damaged
	appends bool
	flows   bool         // it has no position: it is a pipe, or a device which says 0 whatever was read
	taken   atomic.Int64 // bytes read of a file that flows
}

func (f *diskFile) Read(b []byte) (int, error) {
	if err := hit(f.points.Read, "read", f.Name()); err != nil {
		return 0, err
	}
	switch {
	case f.damage == nil:
		return f.File.Read(b)
	case f.flows:
		n, err := f.damage.read(b, f.taken.Load(), f.File.Read)
		f.taken.Add(int64(n))
		return n, err
	}
	at, err := f.File.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	return f.damage.read(b, at, f.File.Read)
}

func (f *diskFile) ReadAt(b []byte, offset int64) (int, error) {
	if err := hit(f.points.Read, "read", f.Name()); err != nil {
		return 0, err
	}
	return f.damage.readAt(b, offset, f.File)
}

func (f *diskFile) Write(b []byte) (int, error) {
	return f.write(b, f.File.Write, func() error {
		if f.appends {
			return nil
		}
		_, err := f.File.Seek(int64(len(b)), io.SeekCurrent) // the gap that a lost write leaves
		if errors.Is(err, syscall.ESPIPE) {
			err = nil // a pipe has none
		}
		return err
	})
}

func (f *diskFile) WriteAt(b []byte, offset int64) (int, error) {
	return f.write(b, func(b []byte) (int, error) { return f.File.WriteAt(b, offset) }, func() error { return nil })
}

func (f *diskFile) write(b []byte, write func([]byte) (int, error), skip func() error) (int, error) {
	if !f.points.Write.On() {
		return write(b)
	}
	d, err := damage(f.points.Write, "write", f.Name())
	if err != nil {
		return 0, err
	}
	if d.Dropped() {
		if err := skip(); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	n, err := write(d.Copy(b, 0))
	if err == nil && n < len(b) {
		err = failed("write", f.Name(), errShort)
	}
	return n, err
}

func (f *diskFile) Seek(offset int64, whence int) (int64, error) {
	return f.damage.seek(f.File, f.File.Stat, offset, whence)
}

func (f *diskFile) Stat() (fs.FileInfo, error) {
	if err := hit(f.points.Stat, "stat", f.Name()); err != nil {
		return nil, err
	}
	info, err := f.File.Stat()
	return f.damage.info(info), err
}

// Truncate writes, as far as points go: what is dropped or damaged has no bytes here.
func (f *diskFile) Truncate(size int64) error {
	if err := hit(f.points.Write, "truncate", f.Name()); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *diskFile) Sync() error {
	d, err := damage(f.points.Sync, "sync", f.Name())
	if err != nil || d.Dropped() {
		return err
	}
	return f.File.Sync()
}

func (f *diskFile) Close() (err error) {
	defer func() { err = closed(f.File, err) }()
	return hit(f.points.Close, "close", f.Name())
}
