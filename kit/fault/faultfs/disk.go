package faultfs

import (
	"context"
	"io"
	"io/fs"
	"os"

	"github.com/dougong-io/dougong/kit/fault"
)

// Disk opens files of the operating system, with points around them. This type is concurrency safe. A nil Disk has
// no points. Errors are a *[fs.PathError]; only an end of file (cause eof) is [io.EOF] itself.
type Disk struct{ points Points }

// File is what an *[os.File] does, as far as a Disk goes.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Seeker
	io.Closer
	Name() string
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	Sync() error
}

// NewDisk returns a disk with points.
func NewDisk(p Points) *Disk { return &Disk{p} }

var noPoints Points

func (d *Disk) at() *Points {
	if d == nil {
		return &noPoints
	}
	return &d.points
}

// Open is [os.Open].
func (d *Disk) Open(name string) (File, error) { return d.OpenFile(name, os.O_RDONLY, 0) }

// Create is [os.Create].
func (d *Disk) Create(name string) (File, error) {
	return d.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
}

// OpenFile is [os.OpenFile].
func (d *Disk) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	p := d.at()
	if flag&os.O_CREATE != 0 {
		if err := hit(p.Create, "open", name); err != nil {
			return nil, err
		}
		return p.file(fault.Damage{}, flag)(os.OpenFile(name, flag, perm))
	}
	found, err := damage(p.Open, "open", name)
	if err != nil {
		return nil, err
	}
	return p.file(found, flag)(os.OpenFile(name, flag, perm))
}

// CreateTemp is [os.CreateTemp]. The point Create is told the pattern as name.
func (d *Disk) CreateTemp(dir, pattern string) (File, error) {
	p := d.at()
	if err := hit(p.Create, "createtemp", pattern); err != nil {
		return nil, err
	}
	return p.file(fault.Damage{}, os.O_RDWR)(os.CreateTemp(dir, pattern))
}

// ReadFile is [os.ReadFile], by way of Open and Read.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(f)
}

// WriteFile is [os.WriteFile], by way of Create, Write and Close. It does not sync.
func (d *Disk) WriteFile(name string, data []byte, perm fs.FileMode) (err error) {
	f, err := d.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	defer func() { err = closed(f, err) }()
	_, err = f.Write(data)
	return err
}

// Rename is [os.Rename].
func (d *Disk) Rename(from, to string) error {
	if p := d.at().Rename; p.On() {
		if err := p.Hit(context.Background(), fault.Attr{Key: "name", Value: from}, fault.Attr{Key: "to", Value: to}); err != nil {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
	}
	return os.Rename(from, to)
}

// Remove is [os.Remove].
func (d *Disk) Remove(name string) error {
	if err := hit(d.at().Remove, "remove", name); err != nil {
		return err
	}
	return os.Remove(name)
}

// Stat is [os.Stat].
func (d *Disk) Stat(name string) (fs.FileInfo, error) {
	if err := hit(d.at().Stat, "stat", name); err != nil {
		return nil, err
	}
	return os.Stat(name)
}

// ReadDir is [os.ReadDir].
func (d *Disk) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := hit(d.at().ReadDir, "readdir", name); err != nil {
		return nil, err
	}
	return os.ReadDir(name)
}

// file has an open file pass points; as it is if there is none on its ways.
func (p *Points) file(found fault.Damage, flag int) func(*os.File, error) (File, error) {
	return func(f *os.File, err error) (File, error) {
		if err != nil {
			return nil, err
		}
		damage := newDamaged(found)
		if p.Read == nil && p.Stat == nil && p.Write == nil && p.Sync == nil && p.Close == nil && damage == nil {
			return f, nil
		}
		file := &diskFile{File: f, points: p, damage: damage, appends: flag&os.O_APPEND != 0}
		if damage != nil {
			info, err := f.Stat()
			file.flows = err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeCharDevice) != 0
		}
		return file, nil
	}
}
