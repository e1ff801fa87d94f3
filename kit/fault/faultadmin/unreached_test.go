package faultadmin

import (
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/fault"
)

func TestWhyARuleStrikesNothingIsSaid(t *testing.T) {
	set, _ := server(t)
	for _, d := range []fault.Def{
		{Name: "bank.charge", Attrs: []string{"tenant"}, Effects: fault.Call},
		{Name: "bank.refund", Attrs: []string{"tenant", "order"}, Effects: fault.Bytes},
		{Name: "shop.clock", Effects: fault.Skew},
		{Name: "line.read", Attrs: []string{"peer"}, Effects: fault.Bytes, Guarded: true},
	} {
		set.Point(d)
	}
	delay, drop := &fault.Delay{Fixed: time.Millisecond}, &fault.Drop{}
	where := func(key string) map[string]string { return map[string]string{key: "x"} }
	for _, c := range []struct {
		rule fault.Rule
		want string
	}{
		{fault.Rule{Point: "bank.charge", Delay: delay}, ""},
		{fault.Rule{Point: "*", Delay: delay}, ""},
		{fault.Rule{Point: "*", Where: where("order"), Drop: drop}, ""},
		{fault.Rule{Point: "line.*", Drop: drop}, ""},
		{fault.Rule{Point: "bank.chrage", Delay: delay}, "no point is called bank.chrage; did you mean bank.charge?"},
		{fault.Rule{Point: "bnak.*", Delay: delay}, "no point is called bnak.*; did you mean bank.*?"},
		{fault.Rule{Point: "warehouse.open", Delay: delay}, "no point is called warehouse.open"},
		{fault.Rule{Point: "*.read", Drop: drop}, "what *.read matches is guarded: spell out the package, as in line.*"},
		{fault.Rule{Point: "bank.charge", Drop: drop}, "the point bank.charge cannot drop"},
		{fault.Rule{Point: "bank.*", Skew: &fault.ClockSkew{By: 1}}, "none of the 2 points that bank.* matches can skew"},
		{fault.Rule{Point: "bank.charge", Where: where("colour"), Delay: delay}, `the point bank.charge does not tell "colour"; it tells tenant`},
		{fault.Rule{Point: "shop.clock", Where: where("tenant"), Delay: delay}, `the point shop.clock does not tell "tenant"; it tells no attributes`},
		{fault.Rule{Point: "bank.*", Where: where("colour"), Delay: delay}, `none of the 2 points that bank.* matches tells "colour"; bank.charge tells tenant`},
	} {
		status := set.Status()
		if status.CompiledOut {
			t.Skip("this build has no faults")
		}
		if got := Unreached(c.rule, status.Points); got != c.want {
			t.Errorf("%s %s %v: %q, want %q", c.rule.Point, c.rule.Effect(), c.rule.Where, got, c.want)
		}
		// What is said is what the set does.
		c.rule.ID, c.rule.For = "r", time.Minute
		if c.rule.Skew != nil {
			c.rule.Skew.By = time.Second
		}
		if err := set.Put(fault.Admin, c.rule); err != nil {
			t.Fatal(err)
		}
		if state := set.Status().Rules[0].State; (state == fault.Unmatched) != (c.want != "") {
			t.Errorf("%s: it is %s, and %q is said", c.rule.Point, state, c.want)
		}
	}
	if got := Unreached(fault.Rule{Point: "a.b", Delay: delay}, nil); got != "the process has no points" {
		t.Error(got)
	}
}

func FuzzUnreached(f *testing.F) {
	f.Add("bank.chrage", "bank.charge", "tenant")
	f.Add("***", "", "")
	f.Add("[a-", "a", "\x00")
	f.Fuzz(func(t *testing.T, pattern, name, key string) {
		r := fault.Rule{Point: pattern, Where: map[string]string{key: ""}, Drop: &fault.Drop{}}
		_ = Unreached(r, []fault.PointStatus{{Name: name, Attributes: []string{key}, Effects: "error, drop"}, {Name: key, Guarded: true}})
	})
}
