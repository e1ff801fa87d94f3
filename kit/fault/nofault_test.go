//go:build dougong_nofault

package fault

import (
	"errors"
	"testing"
)

func TestBuildWithoutFaultsHasNone(t *testing.T) {
	s, err := New(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	p := s.Point(Def{Name: "a.b", Effects: Call})
	if err := s.Put(Admin, Rule{ID: "r", Point: "*", For: 1e9, Error: &Failure{}}); !errors.Is(err, ErrCompiledOut) {
		t.Error(err)
	}
	if p.On() || p.Hit(t.Context()) != nil || !s.Status().CompiledOut {
		t.Error("there is a fault")
	}
	if err := s.Kill(Admin, true); err != nil {
		t.Error(err)
	}
}
