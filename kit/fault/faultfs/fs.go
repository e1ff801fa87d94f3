package faultfs

import (
	"io"
	"io/fs"
)

// FS returns inner with the points Open, Read, Stat, ReadDir and Close around it; inner itself if there are none of
// these. Files that can Seek and ReadAt still can.
func FS(inner fs.FS, p Points) fs.FS {
	if p.Open == nil && p.Read == nil && p.Stat == nil && p.ReadDir == nil && p.Close == nil {
		return inner
	}
	return &tree{inner, p}
}

type tree struct {
	inner  fs.FS
	points Points
}

func (t *tree) Open(name string) (fs.File, error) {
	d, err := damage(t.points.Open, "open", name)
	if err != nil {
		return nil, err
	}
	inner, err := t.inner.Open(name)
	if err != nil {
		return nil, err
	}
	f := &file{File: inner, points: &t.points, name: name, damage: newDamaged(d)}
	dir, isDir := inner.(fs.ReadDirFile)
	random, isRandom := inner.(random)
	switch {
	case isDir && isRandom:
		return struct {
			*randomFile
			dirReader
		}{&randomFile{f, random}, dirReader{f, dir}}, nil
	case isDir:
		return struct {
			*file
			dirReader
		}{f, dirReader{f, dir}}, nil
	case isRandom:
		return &randomFile{f, random}, nil
	}
	return f, nil
}

func (t *tree) Stat(name string) (fs.FileInfo, error) {
	if err := hit(t.points.Stat, "stat", name); err != nil {
		return nil, err
	}
	return fs.Stat(t.inner, name)
}

func (t *tree) Lstat(name string) (fs.FileInfo, error) {
	if err := hit(t.points.Stat, "lstat", name); err != nil {
		return nil, err
	}
	return fs.Lstat(t.inner, name)
}

func (t *tree) ReadLink(name string) (string, error) {
	if err := hit(t.points.Stat, "readlink", name); err != nil {
		return "", err
	}
	return fs.ReadLink(t.inner, name)
}

func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := hit(t.points.ReadDir, "readdir", name); err != nil {
		return nil, err
	}
	return fs.ReadDir(t.inner, name)
}

// file is one that is read from its start to its end.
type file struct {
	fs.File
	points *Points
	name   string
	damage *damaged
	offset int64
}

func (f *file) Read(b []byte) (int, error) {
	if err := hit(f.points.Read, "read", f.name); err != nil {
		return 0, err
	}
	n, err := f.damage.read(b, f.offset, f.File.Read)
	f.offset += int64(n)
	return n, err
}

func (f *file) Stat() (fs.FileInfo, error) {
	if err := hit(f.points.Stat, "stat", f.name); err != nil {
		return nil, err
	}
	info, err := f.File.Stat()
	return f.damage.info(info), err
}

func (f *file) Close() (err error) {
	defer func() { err = closed(f.File, err) }()
	return hit(f.points.Close, "close", f.name)
}

// closed closes what a fault must not leave open.
func closed(c io.Closer, err error) error {
	if e := c.Close(); err == nil {
		err = e
	}
	return err
}

type random interface {
	io.ReaderAt
	io.Seeker
}

// randomFile is a file that can be read anywhere.
type randomFile struct {
	*file
	random
}

func (f *randomFile) ReadAt(b []byte, offset int64) (int, error) {
	if err := hit(f.points.Read, "read", f.name); err != nil {
		return 0, err
	}
	return f.damage.readAt(b, offset, f.random)
}

func (f *randomFile) Seek(offset int64, whence int) (int64, error) {
	at, err := f.damage.seek(f.random, f.File.Stat, offset, whence)
	if err == nil {
		f.offset = at
	}
	return at, err
}

type dirReader struct {
	of    *file
	inner fs.ReadDirFile
}

func (d dirReader) ReadDir(n int) ([]fs.DirEntry, error) {
	if err := hit(d.of.points.ReadDir, "readdir", d.of.name); err != nil {
		return nil, err
	}
	return d.inner.ReadDir(n)
}
