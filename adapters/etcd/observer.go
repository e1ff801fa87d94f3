package etcd

// Observer is told what happens. Calls come from the goroutines of Run, with no lock held; Failed may come beside
// another call.
type Observer interface {
	// Connected comes with each change of Status.Connected.
	Connected(connected bool)

	// Applied says that the value of a key, with its revision in etcd, is in force.
	Applied(key string, revision int64)

	// Refused says that it is not, and what was in force stays.
	Refused(key string, revision int64, err error)

	// Gone says that etcd no longer has a key: it was deleted, or it is missing without a deletion having been
	// seen. What was in force stays, unless an OnDelete of a deleted key did otherwise.
	Gone(key string, absence Absence)

	// Failed says that a connection ended or could not be had, that etcd's history is another (a [HistoryError]),
	// or that the cache could not be read or written ([ErrCache]).
	Failed(err error)
}

type nobody struct{}

func (nobody) Connected(bool)               {}
func (nobody) Applied(string, int64)        {}
func (nobody) Refused(string, int64, error) {}
func (nobody) Gone(string, Absence)         {}
func (nobody) Failed(error)                 {}
