package fallback_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dougong-io/dougong/kit/clock"
	"github.com/dougong-io/dougong/kit/fallback"
)

func Example() {
	manual := clock.NewManual() // so that the example needs no patience
	results, err := fallback.New(fallback.DefaultConfig(),
		fallback.WithClock[string, []string](manual.Clock()),
		fallback.WithDefault(func(_ context.Context, query string, _ error) ([]string, error) {
			return []string{"what is popular now"}, nil
		}))
	if err != nil {
		fmt.Println(err)
		return
	}
	search := func(query string, index func(context.Context) ([]string, error)) {
		r, err := results.Do(context.Background(), query, index)
		fmt.Println(r.Value, r.Source, r.Age, r.Err, err)
	}
	up := func(context.Context) ([]string, error) { return []string{"brackets", "beams"}, nil }
	down := func(context.Context) ([]string, error) { return nil, errors.New("index is away") }

	search("timber", up)
	manual.Advance(time.Minute)
	search("timber", down)
	search("granite", down)
	// Output:
	// [brackets beams] primary 0s <nil> <nil>
	// [brackets beams] cached 1m0s index is away <nil>
	// [what is popular now] default 0s index is away <nil>
}

func ExampleWithWhen() {
	errNotFound := errors.New("no such video")
	titles, _ := fallback.New(fallback.DefaultConfig(),
		fallback.WithWhen[int, string](func(err error) bool { return !errors.Is(err, errNotFound) }))
	ctx := context.Background()

	_, _ = titles.Do(ctx, 7, func(context.Context) (string, error) { return "Timber halls", nil })
	_, err := titles.Do(ctx, 7, func(context.Context) (string, error) { return "", errNotFound })
	fmt.Println(err)
	titles.Forget(7) // it is gone, and must not come back with the next failure
	// Output: no such video
}
