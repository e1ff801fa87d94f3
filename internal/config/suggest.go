package config

import "strings"

// nearest is the candidate that a misspelt word probably meant, or "".
func nearest(word string, candidates []string) string {
	const longest = 64 // beyond it nobody meant a key, and the distance costs its square
	if len(word) > longest {
		return ""
	}
	best, bestDistance := "", 2+len(word)/4
	for _, c := range candidates {
		if plainSpelling(c) == plainSpelling(word) { // readHeaderTimeout, read-header-timeout
			return c
		}
		if len(c) > longest {
			continue
		}
		if d := distance(word, c); d < bestDistance && d < len(c) {
			best, bestDistance = c, d
		}
	}
	return best
}

func plainSpelling(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// distance counts insertions, deletions, substitutions and swaps of neighbours (optimal
// string alignment; Boytsov, "Indexing methods for approximate dictionary searching", 2011,
// section 2.1).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// didYouMean is the end of a message: a suggestion if there is one.
func didYouMean(word string, candidates []string) string {
	if s := nearest(word, candidates); s != "" {
		return `; did you mean "` + s + `"?`
	}
	return ""
}
