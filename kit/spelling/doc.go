// Package spelling finds the name that somebody who misspelt one probably meant: for the messages about keys, columns,
// flags and points that there are not.
//
//	if _, ok := columns[name]; !ok {
//		if near := spelling.Nearest(name, known); near != "" {
//			return fmt.Errorf("there is no column %q; did you mean %q?", name, near)
//		}
//	}
//
// Do not use it to search text or to match records of people, and never act on what it finds: it is for a person to
// read. It does not know words that sound or mean the same.
package spelling
