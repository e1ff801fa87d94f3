package script

// members walks the members of an object that is known to be well formed.
//
//	for m := (members{b: object, i: 1}); m.next(); { … }
type members struct {
	b     []byte
	i     int
	name  []byte // with its quotes
	value []byte
	at    int // of value in b
}

func (m *members) next() bool {
	i, ok := nextItem(m.b, m.i)
	if !ok {
		return false
	}
	end, err := skipString(m.b, i)
	if err != nil {
		return false
	}
	m.name = m.b[i:end]
	if m.at, err = skipColon(m.b, end); err != nil {
		return false
	}
	if m.i, err = skipValue(m.b, m.at); err != nil {
		return false
	}
	m.value = m.b[m.at:m.i]
	return true
}

// elements walks an array in the same way.
type elements struct {
	b     []byte
	i     int
	value []byte
}

func (e *elements) next() bool {
	i, ok := nextItem(e.b, e.i)
	if !ok {
		return false
	}
	end, err := skipValue(e.b, i)
	if err != nil {
		return false
	}
	e.value, e.i = e.b[i:end], end
	return true
}

// nextItem passes a comma, if there is one, and tells whether an item follows.
func nextItem(b []byte, i int) (int, bool) {
	i = skipSpace(b, i)
	if i < len(b) && b[i] == ',' {
		i = skipSpace(b, i+1)
	}
	return i, i < len(b) && b[i] != '}' && b[i] != ']'
}
