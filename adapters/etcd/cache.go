package etcd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/dougong-io/dougong/kit/fault"
)

// snapshot is what the cache file holds: one line of name, version and checksum, then this as JSON.
type snapshot struct {
	Prefix  string   `json:"prefix"`
	Cluster uint64   `json:"cluster"`
	Heard   int64    `json:"heard"`
	Handled int64    `json:"handled"`
	Values  []cached `json:"values"`
}

type cached struct {
	Key      string `json:"key"`
	Value    []byte `json:"value"`
	Revision int64  `json:"revision"` // 0: of another history
}

const (
	cacheName    = "dougong-etcd-cache"
	cacheVersion = "1"
	maxHeader    = 256
)

func encodeCache(s snapshot) ([]byte, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return sealed(body), nil
}

func sealed(body []byte) []byte {
	return append(fmt.Appendf(nil, "%s %s %x\n", cacheName, cacheVersion, sha256.Sum256(body)), body...)
}

// parseCache returns what a cache file holds, or why it cannot be believed.
func parseCache(data []byte) (snapshot, error) {
	header, _, found := bytes.Cut(data[:min(len(data), maxHeader)], []byte("\n"))
	words := strings.Split(string(header), " ")
	if !found || len(words) != 3 || words[0] != cacheName {
		return snapshot{}, errors.New("is no cache of this program")
	}
	if words[1] != cacheVersion {
		return snapshot{}, fmt.Errorf("has version %s, this program reads version %s", shorten(words[1]), cacheVersion)
	}
	body := data[len(header)+1:]
	if fmt.Sprintf("%x", sha256.Sum256(body)) != words[2] {
		return snapshot{}, errors.New("is damaged: its checksum does not match")
	}
	var s snapshot
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return snapshot{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return snapshot{}, errors.New("goes on after its end")
	}
	if s.Handled < 0 || s.Heard < s.Handled {
		return snapshot{}, fmt.Errorf("has impossible revisions: handled %d, heard %d", s.Handled, s.Heard)
	}
	seen := make(map[string]bool, len(s.Values))
	for _, c := range s.Values {
		if !strings.HasPrefix(c.Key, s.Prefix) || c.Revision < 0 || seen[c.Key] {
			return snapshot{}, fmt.Errorf("has an impossible key %q with revision %d", shorten(c.Key), c.Revision)
		}
		seen[c.Key] = true
	}
	return s, nil
}

// readCache returns an empty snapshot when there is no file yet.
func (p *points) readCache(ctx context.Context, c Config) (snapshot, error) {
	fail := func(err error) (snapshot, error) {
		return snapshot{}, fmt.Errorf("%w: %s: %w; starting without it", ErrCache, c.Cache, err)
	}
	var damage fault.Damage
	if p.cacheRead.On() {
		d, err := strike(ctx, p.cacheRead, fault.Attr{Key: "path", Value: c.Cache})
		if err != nil {
			return fail(err)
		}
		damage = d
	}
	f, err := os.Open(c.Cache)
	if errors.Is(err, fs.ErrNotExist) {
		return snapshot{}, nil
	}
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	// Base64 makes 4 bytes of 3; JSON may make 6 of a byte of a name.
	most := maxHeader + 1024 + int64(c.MaxKeys+1)*(c.MaxValueBytes/3*4+6*maxKeyBytes+128)
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return fail(err)
	}
	if int64(len(data)) > most {
		return fail(fmt.Errorf("has more than %d bytes", most))
	}
	s, err := parseCache(damage.Apply(data, 0))
	if err == nil && s.Prefix != c.Prefix {
		err = fmt.Errorf("was made for the prefix %s, not for %s", shorten(s.Prefix), c.Prefix)
	}
	if err != nil {
		return fail(err)
	}
	return s, nil
}

// keeper writes the cache on a goroutine of its own: a slow disk delays no change.
type keeper struct {
	path   string
	points points
	latest chan []byte // the newest snapshot that waits
	saved  uint64      // book.changes when save was last called
	failed atomic.Bool // what was to be written last was not
	report func(error)
}

// run writes until latest is closed. When ctx has ended, rules hold nothing up any more.
func (k *keeper) run(ctx context.Context) {
	for data := range k.latest {
		if err := k.write(ctx, data); err != nil {
			k.failed.Store(true)
			k.report(fmt.Errorf("%w: write: %w", ErrCache, err))
		}
	}
}

func (k *keeper) write(ctx context.Context, data []byte) error {
	path := fault.Attr{Key: "path", Value: k.path}
	if k.points.cacheWrite.On() {
		d, err := strike(ctx, k.points.cacheWrite, path)
		if err != nil || d.Drop {
			return err
		}
		data = d.Apply(data, 0)
	}
	return writeFile(k.path, data, func() error {
		if !k.points.cacheSync.On() {
			return nil
		}
		_, err := strike(ctx, k.points.cacheSync, path)
		return err
	})
}

// save has the newest snapshot written, in place of one that waits. It is called by one goroutine and never blocks.
func (k *keeper) save(s snapshot) {
	k.failed.Store(false)
	data, err := encodeCache(s)
	if err != nil {
		k.report(fmt.Errorf("%w: %w", ErrCache, err))
		return
	}
	select {
	case <-k.latest:
	default:
	}
	k.latest <- data
}

// writeFile replaces a file so that after a crash either the old or the new content is there. It fails if syncing does.
func writeFile(path string, data []byte, syncing func() error) error {
	temporary := path + ".tmp"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = syncing()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
