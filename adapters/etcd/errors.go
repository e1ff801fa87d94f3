package etcd

import (
	"errors"
	"fmt"
)

var (
	// ErrHistory matches every [HistoryError].
	ErrHistory = errors.New("etcd: another history")

	// ErrCache is in the chain of what is wrong with the cache file.
	ErrCache = errors.New("etcd: cache")

	// ErrAlreadyRun is what Run returns when it is called again.
	ErrAlreadyRun = errors.New("etcd: a source runs once")
)

// Place is a point in the history of a cluster.
type Place struct {
	Cluster  uint64
	Revision int64
}

func (p Place) String() string { return fmt.Sprintf("cluster %x revision %d", p.Cluster, p.Revision) }

// HistoryError says that etcd is not what it was: it came back empty, was restored from an older copy, or is another
// cluster. Keys that it has were applied. What was in force of others stays, since nobody deleted them.
type HistoryError struct {
	Before, Now Place
}

func (e *HistoryError) Error() string {
	return fmt.Sprintf("etcd: another history: %v after %v; what it lacks stays in force: put it again", e.Now, e.Before)
}

// Is reports whether target is [ErrHistory].
func (e *HistoryError) Is(target error) bool { return target == ErrHistory }
