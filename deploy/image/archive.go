package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"time"
)

// archiver writes tar files in which nothing but names and contents differs: one time, one owner.
type archiver struct {
	buf     bytes.Buffer
	tar     *tar.Writer
	created time.Time
}

func newArchiver(created time.Time) *archiver {
	a := &archiver{created: created}
	a.tar = tar.NewWriter(&a.buf)
	return a
}

func (a *archiver) add(name string, mode int64, data []byte) error {
	head := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data)), ModTime: a.created, Format: tar.FormatUSTAR}
	if strings.HasSuffix(name, "/") {
		head.Typeflag = tar.TypeDir
	}
	if err := a.tar.WriteHeader(head); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_, err := a.tar.Write(data)
	return err
}

func (a *archiver) bytes() ([]byte, error) {
	err := a.tar.Close()
	return a.buf.Bytes(), err
}
