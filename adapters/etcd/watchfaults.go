package etcd

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dougong-io/dougong/kit/fault"
)

// The keys of fault injection, relative to Config.Prefix.
const (
	FaultRulesKey = "faults/rules" // a document of kit/fault
	FaultKillKey  = "faults/kill"  // while it is there, whatever it holds, no rule of any source is in force
)

// WatchFaults binds the source [fault.Etcd] of a set to two keys. [FaultRulesKey] replaces the rules; deleted, there are
// none. Each rule must have an absolute expiry, since "for" would count anew in each process and at each restart: so
// rules of a cache that have expired have no effect. A document that is refused leaves the last good one in force.
//
// [FaultKillKey] throws the kill switch while it exists, and nothing can refuse it: not its content, its length, nor
// how many keys there are. Its deletion releases the switch. As with every key, an absence without a deletion changes
// nothing.
func WatchFaults(s *Source, set *fault.Set) error {
	if !slices.ContainsFunc(set.Status().Sources, func(source fault.SourceStatus) bool { return source.Name == fault.Etcd }) {
		return fmt.Errorf("etcd: watch faults: the set has no source %q", fault.Etcd)
	}
	f := &faults{set: set}
	rules := &binding{at: FaultRulesKey, ofFaults: true, take: f.apply, gone: func(string) error { return f.put(fault.Document{Version: fault.Version}) }}
	kill := &binding{at: FaultKillKey, ofFaults: true, sure: true,
		take: func(string, []byte) error { return f.throw(true) },
		gone: func(string) error { return f.throw(false) },
	}
	return errors.Join(s.bind(rules, nil), s.bind(kill, nil))
}

// faults is what the two keys say. It belongs to the goroutine of Run.
type faults struct {
	set    *fault.Set
	inDoc  bool // the document in force kills too
	thrown bool // the key is there
}

func (f *faults) apply(_ string, value []byte) error {
	d, err := fault.ParseKept(value)
	if err != nil {
		return err
	}
	return f.put(d)
}

func (f *faults) put(d fault.Document) error {
	kill := d.Kill
	d.Kill = kill || f.thrown
	if err := f.set.Apply(fault.Etcd, d); err != nil {
		return err
	}
	f.inDoc = kill
	return nil
}

func (f *faults) throw(thrown bool) error {
	if err := f.set.Kill(fault.Etcd, thrown || f.inDoc); err != nil {
		return err
	}
	f.thrown = thrown
	return nil
}
