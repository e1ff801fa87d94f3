package modelfile

import (
	"fmt"
	"strconv"
)

// maxFields bounds the keys that fields is asked for.
const maxFields = 24

// fields returns the values of an object in the order of names. A name that ends in "?" may be
// missing; every other key is an error, because it might change a score, except after a "*", which
// stands for the first key without a name.
func (x *xgboost) fields(v value, names ...string) ([maxFields]value, error) {
	var found [maxFields]value
	if x.kind(v) != object {
		return found, damaged(v.pos, "not an object")
	}
	c, err := x.open(v)
	if err != nil {
		return found, err
	}
	for {
		key, member, ok, err := x.key(&c)
		if err != nil {
			return found, err
		}
		if !ok {
			break
		}
		i := indexOf(names, key)
		switch {
		case i < 0:
			return found, unsupported(member.pos, "unknown key %q", excerpt(key))
		case found[i].present() && names[i] != "*":
			return found, damaged(member.pos, "key %q occurs twice", key)
		case !found[i].present():
			found[i] = member
		}
		if c.at, err = x.skip(member); err != nil {
			return found, err
		}
	}
	for i, name := range names {
		if !found[i].present() && name[len(name)-1] != '?' && name != "*" {
			return found, damaged(v.pos, "key %q is missing", name)
		}
	}
	return found, nil
}

func indexOf(names []string, key []byte) int {
	for i, name := range names {
		if name[len(name)-1] == '?' {
			name = name[:len(name)-1]
		}
		if name == string(key) || name == "*" {
			return i
		}
	}
	return -1
}

// param reads an integer that XGBoost writes as a string.
func (x *xgboost) param(v value, least, most int) (int, error) {
	var n int64
	var err error
	if x.kind(v) == number {
		n, _, err = x.integer(v)
	} else {
		var s string
		if s, err = x.string(v); err == nil {
			if n, err = strconv.ParseInt(s, 10, 64); err != nil {
				err = damaged(v.pos, "%q is not an integer", excerpt(s))
			}
		}
	}
	if err == nil && (n < int64(least) || n > int64(most)) {
		err = damaged(v.pos, "%d is not between %d and %d", n, least, most)
	}
	return int(n), err
}

func (x *xgboost) string(v value) (string, error) {
	if x.kind(v) != text {
		return "", damaged(v.pos, "not a string")
	}
	s, _, err := x.text(v)
	return s, err
}

// integers calls visit with each element of an array of integers and returns how many there are.
func (x *xgboost) integers(v value, least, most int, visit func(i, n int) error) (int, error) {
	return x.elements(v, number, func(i int, e value) (int, error) {
		n, end, err := x.integer(e)
		if err != nil {
			return 0, err
		}
		if n < int64(least) || n > int64(most) {
			return 0, damaged(e.pos, "%d is not between %d and %d", n, least, most)
		}
		return end, visit(i, int(n))
	})
}

// strings is integers for strings.
func (x *xgboost) strings(v value, visit func(i int, s string, pos int) error) (int, error) {
	return x.elements(v, text, func(i int, e value) (int, error) {
		s, end, err := x.text(e)
		if err != nil {
			return 0, err
		}
		return end, visit(i, s, e.pos)
	})
}

// elements calls read, which returns the end of the element, with each element of an array.
func (x *xgboost) elements(v value, want kind, read func(i int, e value) (int, error)) (int, error) {
	if x.kind(v) != array {
		return 0, damaged(v.pos, "not an array")
	}
	c, err := x.open(v)
	if err != nil {
		return 0, err
	}
	for i := 0; ; i++ {
		e, ok, err := x.element(&c)
		if err != nil {
			return 0, err
		}
		if !ok {
			return i, nil
		}
		if x.kind(e) != want {
			return 0, within(fmt.Sprintf("[%d]", i), damaged(e.pos, "a value of the wrong type"))
		}
		if c.at, err = read(i, e); err != nil {
			return 0, within(fmt.Sprintf("[%d]", i), err)
		}
	}
}
