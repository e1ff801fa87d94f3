package fallback

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dougong-io/dougong/kit/internal/seeded"
)

// kept is one result of the model, which is a slice in order of use, latest first.
type kept struct {
	key, value int
	size       int64
	at         time.Duration
}

func TestCacheIsLikeItsModel(t *testing.T) {
	const ttl = 50
	seeded.Each(t, 50, func(t *testing.T, rnd *rand.Rand) {
		l := lru[int, int]{entries: rnd.IntN(10), bytes: int64(rnd.IntN(30))}
		var model []kept
		var evicted uint64
		take := func(key int) (kept, bool) {
			i := slices.IndexFunc(model, func(k kept) bool { return k.key == key })
			if i < 0 {
				return kept{}, false
			}
			k := model[i]
			model = slices.Delete(model, i, i+1)
			return k, true
		}
		total := func() (sum int64) {
			for _, k := range model {
				sum += k.size
			}
			return sum
		}
		now := time.Duration(0)
		for i := range 3000 {
			key := rnd.IntN(15)
			now += time.Duration(rnd.IntN(5))
			switch rnd.IntN(8) {
			case 0:
				l.forget(key)
				take(key)
			case 1, 2, 3:
				value, age, ok := l.get(key, now, ttl)
				k, has := take(key)
				if has && now-k.at > ttl {
					has = false
				} else if has {
					model = slices.Insert(model, 0, k)
				}
				if ok != has || ok && (value != k.value || age != now-k.at) {
					t.Fatalf("step %d: got %d, %v, %v; want %+v, %v", i, value, age, ok, k, has)
				}
			default:
				size := rnd.Int64N(12)
				l.put(key, i, size, now)
				if l.entries == 0 || l.bytes > 0 && size > l.bytes {
					break
				}
				take(key)
				model = slices.Insert(model, 0, kept{key, i, size, now})
				for len(model) > l.entries || l.bytes > 0 && total() > l.bytes {
					model = model[:len(model)-1]
					evicted++
				}
			}
			if len(l.byKey) != len(model) || l.size != total() || l.evicted != evicted {
				t.Fatalf("step %d: %d results, %d bytes, %d evicted; want %d, %d, %d", i, len(l.byKey), l.size, l.evicted, len(model), total(), evicted)
			}
		}
	})
}

func TestKeysThatEqualNothingAreNotKept(t *testing.T) {
	l := lru[float64, int]{entries: 2}
	for range 100 {
		l.put(math.NaN(), 1, 1, 0)
	}
	if len(l.byKey) != 0 {
		t.Errorf("%d entries", len(l.byKey))
	}
}
