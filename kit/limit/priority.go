package limit

import "fmt"

// Priority is the class of a request: which waits behind which, and which gives way when the queue is full.
type Priority int8

// The classes. The zero value is Normal.
const (
	Critical Priority = 1  // someone notices at once when it fails
	Normal   Priority = 0  // what has no reason to be another
	Batch    Priority = -1 // can be tried again later: refreshes, exports, retries of machines
)

// classes is how many there are. A class is an index from 0, the most urgent.
const classes = 3

// class treats what is beyond the named classes as the nearest of them.
func (p Priority) class() uint8 { return uint8(Critical - min(max(p, Batch), Critical)) }

var priorityNames = map[Priority]string{Critical: "critical", Normal: "normal", Batch: "batch"}

func (p Priority) String() string {
	if name, ok := priorityNames[p]; ok {
		return name
	}
	return fmt.Sprintf("priority(%d)", int8(p))
}

// MarshalText returns "critical", "normal" or "batch".
func (p Priority) MarshalText() ([]byte, error) {
	if name, ok := priorityNames[p]; ok {
		return []byte(name), nil
	}
	return nil, fmt.Errorf("limit: priority %d has no name", int8(p))
}

// UnmarshalText knows what MarshalText writes, and takes nothing for normal.
func (p *Priority) UnmarshalText(text []byte) error {
	switch string(text) {
	case "critical":
		*p = Critical
	case "normal", "":
		*p = Normal
	case "batch":
		*p = Batch
	default:
		return fmt.Errorf("limit: priority %.32q: must be critical, normal or batch", text)
	}
	return nil
}
