package fault

import (
	"context"
	"testing"
)

func BenchmarkOff(b *testing.B) {
	_, p := newSet(b)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if p.On() {
			if err := p.Hit(ctx, Attr{"tenant", "acme"}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkOnButNotMatching(b *testing.B) {
	s, p := newSet(b)
	put(b, s, Rule{Where: map[string]string{"tenant": "acme", "model": "loan-*"}, Hang: &Hang{}})
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if p.On() {
			if err := p.Hit(ctx, Attr{"model", "loan-a"}, Attr{"tenant", "other"}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
