package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Prefix begins every token, so that people and secret scanners know one.
const Prefix = "dg_"

// FileVersion is the version of the tokens file that this package writes.
const FileVersion = 1

const (
	maxFileBytes  = 4 << 20
	maxTokenBytes = 128 // longer strings cannot be ours
	maxNameBytes  = 128
)

// ErrTokensFile is wrapped by every error about the content of a tokens file.
var ErrTokensFile = errors.New("tokens file")

// Entry is one token as the file keeps it.
type Entry struct {
	Name    string    `json:"name"`
	SHA256  string    `json:"sha256"` // of the plaintext, 64 lower-case hex digits
	Roles   []Role    `json:"roles"`
	Tenant  string    `json:"tenant"`
	Created time.Time `json:"created"`
}

type file struct {
	Version int     `json:"version"`
	Tokens  []Entry `json:"tokens"`
}

// Tokens is a loaded file. It is immutable and safe for concurrent use.
type Tokens struct {
	byHash map[[sha256.Size]byte]*Identity
}

// Create makes a token of 256 random bits. The plaintext is shown once to the
// person who asked; the entry goes into the file.
func Create(name, tenant string, roles ...Role) (plaintext string, e Entry, err error) {
	var secret [32]byte
	rand.Read(secret[:])
	plaintext = Prefix + base64.RawURLEncoding.EncodeToString(secret[:])
	sum := sha256.Sum256([]byte(plaintext))
	e = Entry{
		Name:    name,
		SHA256:  hex.EncodeToString(sum[:]),
		Roles:   slices.Compact(slices.Sorted(slices.Values(roles))),
		Tenant:  tenant,
		Created: time.Now().UTC().Truncate(time.Second),
	}
	if err := errors.Join(e.faults()...); err != nil {
		return "", Entry{}, err
	}
	return plaintext, e, nil
}

// faults lists everything that is wrong with the entry.
func (e *Entry) faults() (errs []error) {
	if e.Name == "" || len(e.Name) > maxNameBytes {
		errs = append(errs, fmt.Errorf("name: must have 1 to %d bytes", maxNameBytes))
	}
	if len(e.Tenant) > maxNameBytes {
		errs = append(errs, fmt.Errorf("tenant: must have at most %d bytes", maxNameBytes))
	}
	if strings.ContainsFunc(e.Name+e.Tenant, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		errs = append(errs, errors.New("name, tenant: control characters are not allowed"))
	}
	switch sum, err := e.hash(); {
	case err != nil:
		errs = append(errs, err)
	case sum == sha256.Sum256(nil):
		errs = append(errs, errors.New("sha256: is the hash of nothing: hash the token, not an empty line"))
	}
	if len(e.Roles) == 0 {
		errs = append(errs, errors.New("roles: at least one of read, write, fault, release is needed"))
	}
	for _, r := range e.Roles {
		if _, err := ParseRole(string(r)); err != nil {
			errs = append(errs, fmt.Errorf("roles: %w", err))
		}
	}
	if e.Created.IsZero() {
		errs = append(errs, errors.New("created: missing"))
	}
	return errs
}

func (e *Entry) hash() (sum [sha256.Size]byte, err error) {
	if len(e.SHA256) != hex.EncodedLen(len(sum)) || strings.ToLower(e.SHA256) != e.SHA256 {
		return sum, errors.New("sha256: must be 64 lower-case hex digits")
	}
	if _, err := hex.Decode(sum[:], []byte(e.SHA256)); err != nil {
		return sum, errors.New("sha256: must be 64 lower-case hex digits")
	}
	return sum, nil
}

// Parse reads the content of a tokens file. It is strict: unknown fields,
// fields in another case or twice, other versions, duplicates and entries with
// any fault are errors, those of the entries all reported at once.
func Parse(data []byte) (*Tokens, error) {
	f, err := parse(data)
	if err != nil {
		return nil, err
	}
	t := &Tokens{byHash: make(map[[sha256.Size]byte]*Identity, len(f.Tokens))}
	for _, e := range f.Tokens {
		sum, err := e.hash()
		if err != nil {
			return nil, err
		}
		t.byHash[sum] = &Identity{Name: e.Name, Tenant: e.Tenant, Roles: slices.Clone(e.Roles)}
	}
	return t, nil
}

func parse(data []byte) (*file, error) {
	var f file
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTokensFile, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: something follows the document", ErrTokensFile)
	}
	if err := checkFields(data); err != nil {
		return nil, err
	}
	if f.Version != FileVersion {
		return nil, fmt.Errorf("%w: version %d, this program reads version %d", ErrTokensFile, f.Version, FileVersion)
	}
	var errs []error
	names, sums := map[string]bool{}, map[string]bool{}
	for i, e := range f.Tokens {
		for _, err := range e.faults() {
			errs = append(errs, fmt.Errorf("%w: tokens[%d].%w", ErrTokensFile, i, err))
		}
		if names[e.Name] {
			errs = append(errs, fmt.Errorf("%w: tokens[%d].name: %q is there twice", ErrTokensFile, i, e.Name))
		}
		if sums[e.SHA256] {
			errs = append(errs, fmt.Errorf("%w: tokens[%d].sha256: the same token is there twice", ErrTokensFile, i))
		}
		names[e.Name], sums[e.SHA256] = true, true
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &f, nil
}

// fields are all the names there are in the file.
var fields = []string{"version", "tokens", "name", "sha256", "roles", "tenant", "created"}

// checkFields refuses what encoding/json lets through: a name in another case,
// and a name that is twice in one object, of which the last would win. What is
// shown to a reader of the file must be what counts. The data is valid JSON.
func checkFields(data []byte) error {
	type level struct {
		object bool
		name   bool // a name comes next, in an object
		seen   map[string]bool
	}
	levels := []level{{}}
	dec := json.NewDecoder(bytes.NewReader(data))
	for {
		token, err := dec.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrTokensFile, err)
		}
		at := &levels[len(levels)-1]
		if token == json.Delim('}') || token == json.Delim(']') {
			levels = levels[:len(levels)-1]
			continue
		}
		if name, ok := token.(string); ok && at.object && at.name {
			if !slices.Contains(fields, name) {
				return fmt.Errorf("%w: unknown field %q", ErrTokensFile, name)
			}
			if at.seen[name] {
				return fmt.Errorf("%w: field %q is there twice in one object", ErrTokensFile, name)
			}
			at.seen[name], at.name = true, false
			continue
		}
		at.name = true // token is, or begins, the value
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{object: true, name: true, seen: map[string]bool{}})
		case json.Delim('['):
			levels = append(levels, level{})
		}
	}
}

// Load reads a tokens file.
func Load(path string) (*Tokens, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	t, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("%s: %w: larger than %d bytes", path, ErrTokensFile, maxFileBytes)
	}
	return data, nil
}

// TooOpen reports whether users other than the owner and the group can read
// the file. Hashes of 256-bit secrets cannot be reversed, but names, tenants
// and roles are nobody else's business.
func TooOpen(path string) (bool, error) {
	st, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	return st.Mode().Perm()&0o007 != 0, nil
}

// AppendTo adds the entry to the file, which it creates with mode 0600 when
// there is none. The new content replaces the old in one step and is synced:
// after a crash the file is the old one or the new one. Mode, owner and group
// stay, and a link stays a link. It refuses a name that exists, a file with
// faults, a file that others than owner and group can read or write, and one
// whose owner it may not keep. Two concurrent calls may lose one of the entries: it is meant
// for a person at a command line.
func AppendTo(path string, e Entry) error {
	f := &file{Version: FileVersion}
	data, err := readFile(path)
	switch {
	case err == nil:
		open, err := TooOpen(path)
		if err != nil {
			return err
		}
		if open {
			return fmt.Errorf("%s: %w: others can access it: chmod 600 it first", path, ErrTokensFile)
		}
		if f, err = parse(data); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	f.Tokens = append(f.Tokens, e)
	data, err = json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if _, err := parse(data); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return replaceFile(path, data)
}

// replaceFile writes temp, syncs, renames and syncs the directory.
func replaceFile(path string, data []byte) (err error) {
	old, err := os.Stat(path)
	switch {
	case err == nil:
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	default:
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s: %w: is a link to a file that does not exist", path, ErrTokensFile)
		}
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
		}
	}()
	if old != nil {
		if err = likeFile(tmp, old); err != nil {
			return fmt.Errorf("%s: mode and owner cannot be kept: %w", path, err)
		}
	}
	if _, err = tmp.Write(data); err != nil {
		return err
	}
	if err = tmp.Sync(); err != nil {
		return err
	}
	if err = tmp.Close(); err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// likeFile gives f the mode, owner and group of old. A change of owner clears
// bits of the mode, so that comes first.
func likeFile(f *os.File, old fs.FileInfo) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err := keepOwner(f, st, old); err != nil {
		return err
	}
	return f.Chmod(old.Mode().Perm())
}

// Len returns how many tokens there are.
func (t *Tokens) Len() int { return len(t.byHash) }

// Lookup returns whose token it is; what does not begin with [Prefix] is
// nobody's. It hashes what was presented and looks the
// hash up, so that its time says nothing about how much of a guess was right.
func (t *Tokens) Lookup(plaintext string) (*Identity, bool) {
	if len(plaintext) > maxTokenBytes || !strings.HasPrefix(plaintext, Prefix) {
		return nil, false
	}
	var buf [maxTokenBytes]byte
	n := copy(buf[:], plaintext)
	who, ok := t.byHash[sha256.Sum256(buf[:n])]
	return who, ok
}
