package fallback

import (
	"context"
	"errors"
	"fmt"

	"github.com/dougong-io/dougong/kit/fault"
)

var (
	pointPrimary = fault.Def{Name: "fallback.primary", Doc: "The call itself is made. An error is one of the call.", Attrs: []string{"key"}, Effects: fault.Call}
	pointCache   = fault.Def{Name: "fallback.cache", Doc: "The last good result is looked up. An error finds none.", Attrs: []string{"key"}, Effects: fault.Call}
	pointDefault = fault.Def{Name: "fallback.default", Doc: "The default is computed. An error is one of the default.", Attrs: []string{"key"}, Effects: fault.Call}
)

type points struct{ primary, cache, fallback *fault.Point }

// WithFaults has the points fallback.primary, fallback.cache and fallback.default of a set strike, with no lock held.
// The key is told as fmt.Sprint writes it.
func WithFaults[K comparable, V any](set *fault.Set) Option[K, V] {
	return func(f *Fallback[K, V]) {
		f.points = points{primary: set.Point(pointPrimary), cache: set.Point(pointCache), fallback: set.Point(pointDefault)}
	}
}

func hit[K comparable](ctx context.Context, p *fault.Point, key K) error {
	if !p.On() {
		return nil
	}
	return p.Hit(ctx, fault.Attr{Key: "key", Value: fmt.Sprint(key)})
}

// finds passes the point of the cache, and reports whether it may be asked. That the context has ended keeps nobody
// from a result that is there.
func (f *Fallback[K, V]) finds(ctx context.Context, key K) bool {
	return !errors.Is(hit(ctx, f.points.cache, key), fault.ErrInjected)
}
