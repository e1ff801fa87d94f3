package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
)

// faultFile is a source of rules.
type faultFile struct {
	path string
	set  *fault.Set
	log  *slog.Logger
	seen []byte // what was judged last, whether it was taken or refused; nil: no file
	said string // the last error of reading that was reported
}

const faultFileInterval = time.Second

// newFaultFile reads the file for the first time. A bad one is refused now, when somebody looks.
func newFaultFile(path string, set *fault.Set, log *slog.Logger) (*faultFile, error) {
	f := &faultFile{path: path, set: set, log: log}
	return f, f.read()
}

func (f *faultFile) run(ctx context.Context) error {
	tick := time.NewTicker(faultFileInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := f.read()
		if err == nil {
			f.said = ""
			continue
		}
		if text := err.Error(); text != f.said {
			f.said = text
			f.log.Error("fault rules refused: those in force stay", "error_code", "fault_file_refused", "file", f.path, "error", err)
		}
	}
}

// read applies the file if it is another than last time. One that is not there has no rules; one that cannot be read
// or is wrong changes nothing, and is judged once: a rule that is refused because it ends too late must not come into
// force by waiting.
func (f *faultFile) read() error {
	data, err := readBounded(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		data = nil
	} else if err != nil {
		return err
	}
	if bytes.Equal(data, f.seen) && (data == nil) == (f.seen == nil) {
		return nil
	}
	f.seen = data
	document := fault.Document{Version: fault.Version}
	if data != nil {
		if document, err = fault.ParseKept(data); err != nil {
			return err
		}
	}
	return f.set.Apply(fault.File, document)
}

const maxFaultFile = 1 << 20

// readBounded reads a regular file: nothing else ends by itself.
func readBounded(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFaultFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFaultFile {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxFaultFile)
	}
	return data, nil
}
