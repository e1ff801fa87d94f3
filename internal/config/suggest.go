package config

import "github.com/dougong-io/dougong/kit/spelling"

// didYouMean is the end of a message: a suggestion if there is one.
func didYouMean(word string, candidates []string) string {
	if s := spelling.Nearest(word, candidates); s != "" {
		return `; did you mean "` + s + `"?`
	}
	return ""
}
