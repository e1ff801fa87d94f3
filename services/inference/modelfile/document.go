package modelfile

// document is what the XGBoost reader needs from JSON and from UBJSON. Both are read in place:
// a value is a position in the file, and arrays are walked side by side by cursors, so that a
// model costs no memory but the ensemble.
type document interface {
	fileSize() int
	// root returns the outermost value, after a check of the syntax of the whole file.
	root() (value, error)
	kind(v value) kind
	// open returns a cursor before the first member of an object or element of an array.
	open(v value) (cursor, error)
	// key returns the next member of an object. Whoever reads the value sets c.at to its end.
	// At the end of the object ok is false and c.at is behind it.
	key(c *cursor) (key []byte, v value, ok bool, err error)
	// element returns the next element of an array, like key.
	element(c *cursor) (v value, ok bool, err error)
	// skip returns the end of a value.
	skip(v value) (end int, err error)
	integer(v value) (n int64, end int, err error)
	// float returns a number as the nearest float32, never by way of a float64.
	float(v value) (f float32, end int, err error)
	text(v value) (s string, end int, err error)
}

// value is one value of a document. In UBJSON pos is behind the marker, which a typed array states
// once for all elements; in JSON pos is the first byte, and marker repeats it. The zero value is
// the absence of one.
type value struct {
	pos    int
	marker byte
}

func (v value) present() bool { return v.marker != 0 }

// cursor is a place in an object or array.
type cursor struct {
	at     int  // where reading goes on
	left   int  // elements left, -1 if the container ends with a bracket
	marker byte // the marker of all elements of a typed array, else 0
	begun  bool // JSON: the next member follows a comma
}

type kind uint8

const (
	other kind = iota // null
	object
	array
	number
	text
	boolean
)

// maxDepth bounds the nesting. A model of XGBoost nests 7 deep.
const maxDepth = 32

// longContainer is the size in bytes from which the end of a container is remembered, so that it
// is scanned once and not once a level.
const longContainer = 4096

// length counts the elements of an array.
func length(d document, v value) (int, error) {
	if d.kind(v) != array {
		return 0, damaged(v.pos, "not an array")
	}
	c, err := d.open(v)
	if err != nil {
		return 0, err
	}
	if c.marker != 0 {
		return c.left, nil
	}
	n := 0
	for {
		e, ok, err := d.element(&c)
		if err != nil {
			return 0, err
		}
		if !ok {
			return n, nil
		}
		if c.at, err = d.skip(e); err != nil {
			return 0, err
		}
		n++
	}
}
