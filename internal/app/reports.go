package app

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// reports are the files that a run writes, opened before load begins: a folder that is not there shows then.
type reports[R any] []pendingReport[R]

type pendingReport[R any] struct {
	path  string
	file  *os.File
	write func(io.Writer, R) error

	inPlace bool // file is what path names, not one beside it
}

// throughLinks is the file that a path names, through symbolic links; one that is not there yet is itself.
func throughLinks(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	return real, err
}

// openReports opens those that have a path.
func openReports[R any](wanted []pendingReport[R]) (reports[R], error) {
	var opened reports[R]
	for _, r := range wanted {
		if r.path == "" {
			continue
		}
		var err error
		if r.path, err = throughLinks(r.path); err != nil {
			opened.discard()
			return nil, fmt.Errorf("report: %w", err)
		}
		if slices.ContainsFunc(opened, r.sameFile) {
			opened.discard()
			return nil, fmt.Errorf("report %s: is named twice; the one would replace the other", r.path)
		}
		if info, statErr := os.Stat(r.path); statErr == nil && !info.Mode().IsRegular() {
			// A pipe or a device is written to, not replaced.
			if r.file, err = os.OpenFile(r.path, os.O_WRONLY, 0); err != nil {
				opened.discard()
				return nil, fmt.Errorf("report: %w", err)
			}
			r.inPlace = true
			opened = append(opened, r)
			continue
		}
		// A file beside it, renamed when it is whole: a run that dies leaves the report of the one before.
		if r.file, err = os.CreateTemp(filepath.Dir(r.path), "."+filepath.Base(r.path)+".*"); err != nil {
			opened.discard()
			var fault *fs.PathError
			if errors.As(err, &fault) { // it names the file beside it, of which nobody has heard
				err = fault.Err
			}
			return nil, fmt.Errorf("report %s: %w", r.path, err)
		}
		opened = append(opened, r)
	}
	return opened, nil
}

// sameFile tells whether both would be the same file. What is written in place, a pipe or a terminal, may take both.
func (r *pendingReport[R]) sameFile(other pendingReport[R]) bool {
	one, err1 := filepath.Abs(r.path)
	two, err2 := filepath.Abs(other.path)
	return err1 == nil && err2 == nil && one == two && !other.inPlace
}

func (rs reports[R]) discard() {
	for _, r := range rs {
		r.file.Close()
		if !r.inPlace {
			os.Remove(r.file.Name()) // is gone once it was renamed
		}
	}
}

// mode is that of the file which is replaced; a new one may be read by all.
func (r *pendingReport[R]) mode() fs.FileMode {
	if info, err := os.Stat(r.path); err == nil {
		return info.Mode().Perm()
	}
	return 0o644
}

func (rs reports[R]) write(result R) error {
	var errs []error
	for _, r := range rs {
		err := r.write(r.file, result)
		if err == nil && !r.inPlace {
			err = r.file.Chmod(r.mode())
		}
		if closeErr := r.file.Close(); err == nil {
			err = closeErr
		}
		if err == nil && !r.inPlace {
			err = os.Rename(r.file.Name(), r.path)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("report %s: %w", r.path, err))
		}
	}
	return errors.Join(errs...)
}

// readResult reads a result that was kept as JSON.
func readResult[R any](file string, read func(io.Reader) (R, error)) (result R, err error) {
	in, err := os.Open(file)
	if err != nil {
		return result, err
	}
	defer in.Close()
	if result, err = read(in); err != nil {
		return result, fmt.Errorf("%s: %w", file, err)
	}
	return result, nil
}
