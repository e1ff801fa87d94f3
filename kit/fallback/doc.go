// Package fallback answers when a call is rejected or fails: with the last good result of the same key, or
// else with a default, and it tells which.
//
// Do not use it where an old answer is worse than none (a balance, stock, a permission), nor as a cache: while
// calls succeed each one is made. For writes there is nothing to fall back on.
//
//	pages, err := fallback.New[Query, Page](fallback.DefaultConfig(), fallback.WithDefault(popular))
//	result, err := pages.Do(ctx, query, func(ctx context.Context) (Page, error) {
//		return search(ctx, query) // through a breaker, a limit, …
//	})
//	if err == nil && result.Source != fallback.Primary {
//		header.Set("Age", …) // result.Age old, because of result.Err
//	}
package fallback
