package reload

import (
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"
)

// watchEvery is how soon a changed certificate or tokens file is noticed.
const watchEvery = 2 * time.Second

// Files are those of one server. Load is called before Run.
type Files struct {
	Log     *slog.Logger
	watched []*watched
}

// watched is a group of files that are loaded together.
type watched struct {
	name  string
	paths []string
	load  func() error
	last  []fs.FileInfo // from before the last load
	wrong string        // why that failed, "" if it did not
}

// Load loads some files, and has Run look whether they change from now on. What changes while they are read is thus
// noticed. A path may be empty.
func (f *Files) Load(name string, load func() error, paths ...string) error {
	f.watched = append(f.watched, &watched{name: name, paths: paths, load: load, last: stat(paths)})
	return load()
}

// Run loads files again when they change, until stop is closed.
func (f *Files) Run(stop <-chan struct{}) {
	if len(f.watched) == 0 {
		return
	}
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		for _, w := range f.watched {
			f.look(w)
		}
	}
}

// look loads the files again if they changed, or if they could not be loaded when they did: what was wrong may have
// been none of what stat shows, such as who may read them.
func (f *Files) look(w *watched) {
	now := stat(w.paths)
	same := slices.EqualFunc(now, w.last, sameContent)
	if same && w.wrong == "" {
		return
	}
	w.last = now
	if err := w.load(); err != nil {
		if !same || w.wrong != err.Error() { // once
			f.Log.Error("changed file not loaded, the old stays in use", slog.String("what", w.name), slog.Any("error", err), slog.String("error_code", "reload_failed"))
		}
		w.wrong = err.Error()
		return
	}
	w.wrong = ""
	f.Log.Info("changed file loaded", slog.String("what", w.name))
}

// stat returns what is known of the files, nil for those that are not there.
func stat(paths []string) []fs.FileInfo {
	all := make([]fs.FileInfo, len(paths))
	for i, p := range paths {
		if p != "" {
			all[i], _ = os.Stat(p)
		}
	}
	return all
}

// sameContent is false when a file was written, replaced, made or removed.
func sameContent(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}
