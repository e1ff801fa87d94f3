// Package faultrules lets tests write fault rules as their users do. Everything else that tests of fault points share is
// in kit/fault/faulttest.
package faultrules

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dougong-io/dougong/kit/fault"
)

// Put puts rules into force, in place of those that there are. Each is JSON without an id, such as
// {"point":"x.y","panic":{}}.
func Put(t testing.TB, s *fault.Set, rules ...string) {
	t.Helper()
	d := fault.Document{Version: fault.Version}
	for i, text := range rules {
		r, err := fault.ParseRule([]byte(fmt.Sprintf(`{"id":"%d",`, i) + strings.TrimPrefix(text, "{")))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		d.Rules = append(d.Rules, r)
	}
	if err := s.Apply(fault.Admin, d); err != nil {
		t.Fatal(err)
	}
}
