package spelling

import (
	"unicode"
	"unicode/utf8"
)

// longest is the length of a name in characters beyond which nobody is asked what was meant: the distance costs the
// product of two lengths, and texts of strangers come here.
const longest = 64

// Nearest returns the one of the known names that word probably meant to be; of several that are as near the first; ""
// if none is near. One that differs only in case, hyphens and underscores is the nearest. Otherwise as many
// characters may be missing, too many, wrong or swapped with their neighbour as a quarter of the word has, and one
// more; case costs nothing.
//
// It costs up to 64 × 64 steps a known name and may be called concurrently. Names of more than 64 characters are not
// looked at, nor is anything near a word of more.
func Nearest(word string, known []string) string {
	var wordRoom, nameRoom [longest]rune
	from, ok := folded(word, &wordRoom)
	if !ok {
		return ""
	}
	best, least := "", 2+len(from)/4
	for _, name := range known {
		to, ok := folded(name, &nameRoom)
		if !ok {
			continue
		}
		if sameLetters(from, to) {
			return name
		}
		// What has nothing in common with the word is not near it, however short both are.
		if d := distance(from, to); d < least && d < len(to) {
			best, least = name, d
		}
	}
	return best
}

// folded is a name in lower case, character by character; false for one that is too long.
func folded(name string, room *[longest]rune) ([]rune, bool) {
	if utf8.RuneCountInString(name) > longest {
		return nil, false
	}
	runes := room[:0]
	for _, r := range name {
		runes = append(runes, unicode.ToLower(r))
	}
	return runes, true
}

// sameLetters is true of readheadertimeout, read-header-timeout and read_header_timeout, and of no two names without
// any letter.
func sameLetters(a, b []rune) bool {
	i, j, letters := 0, 0, false
	for {
		for i < len(a) && separates(a[i]) {
			i++
		}
		for j < len(b) && separates(b[j]) {
			j++
		}
		if i == len(a) || j == len(b) {
			return letters && i == len(a) && j == len(b)
		}
		if a[i] != b[j] {
			return false
		}
		i, j, letters = i+1, j+1, true
	}
}

func separates(r rune) bool { return r == '_' || r == '-' }

// distance counts insertions, deletions, substitutions and swaps of neighbours (optimal string alignment; Boytsov,
// "Indexing methods for approximate dictionary searching", 2011, section 2.1).
func distance(from, to []rune) int {
	var rows [3][longest + 1]int
	last, row, next := &rows[0], &rows[1], &rows[2] // for i-2, i-1 and i characters of from
	for j := range len(to) + 1 {
		row[j] = j
	}
	for i := 1; i <= len(from); i++ {
		next[0] = i
		for j := 1; j <= len(to); j++ {
			d := row[j-1]
			if from[i-1] != to[j-1] {
				d++
			}
			d = min(d, row[j]+1, next[j-1]+1)
			if i > 1 && j > 1 && from[i-1] == to[j-2] && from[i-2] == to[j-1] {
				d = min(d, last[j-2]+1)
			}
			next[j] = d
		}
		last, row, next = row, next, last
	}
	return row[len(to)]
}
