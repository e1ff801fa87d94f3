package spelling

import (
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var seed = flag.Uint64("spelling.seed", 0, "replay a random test (0: a new seed)")

func TestNearestIsWhatWasMeant(t *testing.T) {
	keys := []string{"listen", "read_timeout", "read_header_timeout", "idle_timeout", "tls"}
	for _, c := range []struct {
		word  string
		known []string
		want  string
	}{
		{"listne", keys, "listen"},  // swapped
		{"lisen", keys, "listen"},   // missing
		{"listenn", keys, "listen"}, // too many
		{"lusten", keys, "listen"},  // wrong
		{"lustnen", keys, "listen"}, // two of them in seven
		{"LISTNE", keys, "listen"},  // case costs nothing
		{"lxxxen", keys, ""},        // three are no slip
		{"tsl", keys, "tls"},        // one in three
		{"tcp", keys, ""},           // two in three are another word
		{"peers", keys, ""},         // nothing like it
		{"readTimeout", keys, "read_timeout"},
		{"read-header-timeout", keys, "read_header_timeout"},
		{"READHEADERTIMEOUT", keys, "read_header_timeout"},
		{"read_timeouts", []string{"read_timeout_", "read_time_outs"}, "read_time_outs"}, // the same letters are nearer than one edit
		{"f2", []string{"f0", "f1"}, "f0"},                                               // of two as near the first
		{"x", []string{"y"}, ""},                                                         // nothing in common
		{"kosten_höhe", []string{"kosten_hohe"}, "kosten_hohe"},
		{"ΣΊΣΥΦΟΣ", []string{"σίσυφοσ"}, "σίσυφοσ"},
		{"", keys, ""},
		{"", []string{""}, ""},
		{"-", []string{"_"}, ""},
		{"listen", nil, ""},
		{strings.Repeat("ä", longest), []string{strings.Repeat("ä", longest-1)}, strings.Repeat("ä", longest-1)},
		{strings.Repeat("a", longest+1), []string{strings.Repeat("a", longest)}, ""},
		{strings.Repeat("a", longest), []string{strings.Repeat("a", longest+1), strings.Repeat("a", longest-1)}, strings.Repeat("a", longest-1)},
	} {
		if got := Nearest(c.word, c.known); got != c.want {
			t.Errorf("%q among %q: %q, want %q", c.word, c.known, got, c.want)
		}
	}
}

// slips are the texts that one slip of the pen makes of a text.
func slips(s []rune, alphabet []rune) (all [][]rune) {
	for i := range len(s) + 1 {
		for _, r := range alphabet {
			all = append(all, slices.Insert(slices.Clone(s), i, r))
		}
		if i < len(s) {
			all = append(all, slices.Delete(slices.Clone(s), i, i+1))
			for _, r := range alphabet {
				changed := slices.Clone(s)
				changed[i] = r
				all = append(all, changed)
			}
		}
		if i+1 < len(s) {
			swapped := slices.Clone(s)
			swapped[i], swapped[i+1] = s[i+1], s[i]
			all = append(all, swapped)
		}
	}
	return all
}

func TestDistanceOfOneSlipIsAtMostOne(t *testing.T) {
	seed := *seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d (replay with -spelling.seed)", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	alphabet := []rune("abcä")
	for range 300 {
		s := make([]rune, r.IntN(8))
		for i := range s {
			s[i] = alphabet[r.IntN(len(alphabet))]
		}
		for _, one := range slips(s, alphabet) {
			want := 1
			if slices.Equal(one, s) {
				want = 0
			}
			if got, back := distance(s, one), distance(one, s); got != want || back != want {
				t.Fatalf("%q and %q: %d and %d, want %d", string(s), string(one), got, back, want)
			}
			other := make([]rune, r.IntN(8))
			for i := range other {
				other[i] = alphabet[r.IntN(len(alphabet))]
			}
			d, length := distance(s, other), max(len(s), len(other))
			if d != distance(other, s) || d > length || d < length-min(len(s), len(other)) || (d == 0) != slices.Equal(s, other) {
				t.Fatalf("%q and %q: %d", string(s), string(other), d)
			}
		}
	}
}

func TestNearestAllocatesNothing(t *testing.T) {
	known := []string{"listen", "read_timeout", strings.Repeat("ä", longest)}
	if n := testing.AllocsPerRun(100, func() { Nearest("raed_timeout", known) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzNearest(f *testing.F) {
	f.Add("listne", "listen")
	f.Add("İ\xff", "i")
	f.Add(strings.Repeat("é", 65), "_-")
	f.Fuzz(func(t *testing.T, word, name string) {
		got := Nearest(word, []string{name})
		if got != "" && got != name {
			t.Fatalf("%q among %q: %q", word, name, got)
		}
		if n := utf8.RuneCountInString(word); strings.Trim(word, "-_") != "" && n <= longest && Nearest(word, []string{name, word}) == "" {
			t.Fatalf("%q is not near itself", word)
		}
	})
}
