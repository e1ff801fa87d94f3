package httpmw

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/dougong-io/dougong/kit/limit"
)

// PerHost returns what [WithLimit] takes: a limit of this size for each host and port that is called. Beyond most
// hosts, all further ones share one, so that addresses that come and go cost no memory without bound.
func PerHost(config limit.Config, most int, opts ...limit.Option) (func(*http.Request) *limit.Limit, error) {
	further, err := limit.New(config, opts...)
	if err != nil {
		return nil, fmt.Errorf("httpmw: limit of each host: %w", err)
	}
	var mu sync.RWMutex
	limits := make(map[string]*limit.Limit)
	return func(r *http.Request) *limit.Limit {
		host := r.URL.Host
		mu.RLock()
		l := limits[host]
		mu.RUnlock()
		if l != nil {
			return l
		}
		mu.Lock()
		defer mu.Unlock()
		switch l := limits[host]; {
		case l != nil:
			return l
		case len(limits) >= most:
			return further
		}
		l, err := limit.New(config, opts...)
		if err != nil { // which it was not a moment ago
			return further
		}
		limits[host] = l
		return l
	}, nil
}
