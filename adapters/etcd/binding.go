package etcd

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// binding is what to do with one key, or with all keys below a prefix.
type binding struct {
	at    string // the whole name of the key, or of the prefix
	below bool   // at is a prefix
	take  func(name string, value []byte) error
	gone  func(name string) error // nil: what is in force stays

	ofFaults bool  // its changes pass no fault point, and may come twice: on the line, and late on the stream of all keys
	seen     int64 // revision of the last of them that was looked at; 0: none in the present history
	sure     bool  // that the key exists is all that counts, and is never refused
}

// WatchOption changes what a binding does.
type WatchOption func(*binding)

// OnDelete has f called when a key was deleted: the place to go back to what the process was configured with.
// name is what the binding's apply gets, or the key of Watch. Without it, and after an error of f, what is in force
// stays until the process ends. See [Source.Run] for what counts as deleted.
func OnDelete(f func(name string) error) WatchOption { return func(b *binding) { b.gone = f } }

// Watch binds the value of one key, whose name is relative to Config.Prefix. decode turns it into a T, apply puts it
// into force; each may refuse with an error. A panic in either counts as a refusal, since a value that ends one
// process would end them all. Both are called on the goroutine of Run, one at a time and with no lock held, and
// should return at once: other changes wait for them.
//
// Bindings are made before Run, and no two may claim the same key.
func Watch[T any](s *Source, key string, decode func([]byte) (T, error), apply func(T) error, opts ...WatchOption) error {
	return s.bind(&binding{at: key, take: func(_ string, value []byte) error {
		v, err := decode(value)
		if err != nil {
			return err
		}
		return apply(v)
	}}, opts)
}

// WatchEach is Watch for every key below a prefix, which is relative to Config.Prefix and ends with a slash. apply
// gets what follows the prefix as the name.
func WatchEach[T any](s *Source, prefix string, decode func([]byte) (T, error), apply func(name string, value T) error, opts ...WatchOption) error {
	return s.bind(&binding{at: prefix, below: true, take: func(name string, value []byte) error {
		v, err := decode(value)
		if err != nil {
			return err
		}
		return apply(name, v)
	}}, opts)
}

func (s *Source) bind(b *binding, opts []WatchOption) error {
	for _, opt := range opts {
		opt(b)
	}
	switch {
	case b.at == "" || strings.HasPrefix(b.at, "/") || len(b.at) > maxKeyBytes/2:
		return fmt.Errorf("etcd: watch %q: the name is relative to %s, must not begin with a slash and has 1 to %d bytes", shorten(b.at), s.config.Prefix, maxKeyBytes/2)
	case b.below != strings.HasSuffix(b.at, "/"):
		return fmt.Errorf("etcd: watch %q: Watch takes a key, WatchEach a prefix, which ends with a slash", b.at)
	}
	b.at = s.config.Prefix + b.at
	s.begin.Lock()
	defer s.begin.Unlock()
	if s.begun {
		return fmt.Errorf("etcd: watch %q: Run has begun; bind before it", b.at)
	}
	for _, other := range s.book.bindings {
		if b.at == other.at || b.claims(other.at) || other.claims(b.at) {
			return fmt.Errorf("etcd: watch %q: %q is bound already", b.at, other.at)
		}
	}
	s.book.bindings = append(s.book.bindings, b)
	return nil
}

func (b *binding) claims(key string) bool {
	if b.below {
		return strings.HasPrefix(key, b.at) && key != b.at // a value needs a name
	}
	return key == b.at
}

func (b *binding) name(prefix, key string) string {
	if b.below {
		return key[len(b.at):]
	}
	return key[len(prefix):]
}

// accept decodes and applies a value of which they may keep the bytes.
func (b *binding) accept(name string, value []byte) (err error) {
	defer refusePanic(&err)
	return b.take(name, bytes.Clone(value))
}

func (b *binding) forget(name string) (err error) {
	defer refusePanic(&err)
	return b.gone(name)
}

var errPanic = errors.New("panic")

func refusePanic(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %s", errPanic, shorten(fmt.Sprint(p)))
	}
}
