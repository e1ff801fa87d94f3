package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Hello opens the conversation.
type Hello struct {
	Versions      []int  `json:"versions"` // all that the supervisor speaks
	MaxFrameBytes uint32 `json:"max_frame_bytes"`
	Lanes         int    `json:"lanes"`
}

// Welcome is the worker's HELLO.
type Welcome struct {
	Version int    `json:"version"` // the highest that both speak
	Name    string `json:"name"`
	Build   string `json:"build"`
	Engine  string `json:"engine"`
}

// Load asks the worker to take a model.
type Load struct {
	Model   string            `json:"model"`
	Version string            `json:"version"`
	Format  string            `json:"format"`
	FD      int               `json:"fd"`    // of the model's bytes, from offset 0
	Bytes   int64             `json:"bytes"` // how many there are
	Threads int               `json:"threads"`
	Options map[string]string `json:"options,omitempty"`
}

// Spec describes a tensor that a model takes or gives. A dimension of -1 has any length; the first of a tensor that can
// be batched is -1.
type Spec struct {
	Name     string   `json:"name"`
	Datatype Datatype `json:"datatype"`
	Shape    []int64  `json:"shape"`
}

// Loaded says that the model is there.
type Loaded struct {
	Inputs   []Spec `json:"inputs"`
	Outputs  []Spec `json:"outputs"`
	Engine   string `json:"engine"`
	Parallel bool   `json:"parallel"` // lanes may be in a call at the same time
}

// Pong tells how the worker is. What it does not know is 0.
type Pong struct {
	RSSBytes    int64  `json:"rss_bytes"`
	NativeBytes int64  `json:"native_bytes"` // that the worker knows its engine to hold
	DeviceBytes int64  `json:"device_bytes"` // of the accelerator
	Threads     int    `json:"threads"`
	Calls       uint64 `json:"calls"`
	InFlight    int    `json:"in_flight"`
}

// AppendControl appends the frame of a message whose body is JSON: one of Hello, Welcome, Load, Loaded, Pong.
func AppendControl(b []byte, t Type, id uint64, message any) ([]byte, error) {
	body, err := json.Marshal(message)
	if err != nil {
		return b, fmt.Errorf("%v: %w", t, err)
	}
	if len(body) > MaxControlBytes {
		return b, fmt.Errorf("%v has %d bytes; at most %d are allowed", t, len(body), MaxControlBytes)
	}
	return append(AppendHeader(b, Header{Type: t, ID: id, Length: uint32(len(body))}), body...), nil
}

// ParseControl reads such a body. Members that message does not know are ignored: so versions grow.
func ParseControl(t Type, body []byte, message any) error {
	if len(body) > MaxControlBytes {
		return breach(t.String(), -1, "%d bytes; at most %d are allowed", len(body), MaxControlBytes)
	}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return breach(t.String(), 0, "is no JSON object")
	}
	if err := json.Unmarshal(body, message); err != nil {
		at := -1
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			at = int(syntax.Offset)
		}
		return breach(t.String(), at, "%v", err)
	}
	return nil
}

// Choose finds the highest version that both sides speak.
func Choose(ours, theirs []int) (version int, ok bool) {
	for _, v := range theirs {
		if v > version && slices.Contains(ours, v) {
			version, ok = v, true
		}
	}
	return version, ok
}

// Check says everything that is wrong with what a worker tells of a model.
func (l *Loaded) Check() error {
	var faults []error
	for _, side := range []struct {
		field string
		specs []Spec
	}{{"inputs", l.Inputs}, {"outputs", l.Outputs}} {
		if n := len(side.specs); n == 0 || n > MaxTensors {
			faults = append(faults, fmt.Errorf("%s: there must be 1 to %d, not %d", side.field, MaxTensors, n))
			continue
		}
		seen := map[string]bool{}
		for i, s := range side.specs {
			wrong := func(format string, args ...any) {
				faults = append(faults, fmt.Errorf("%s[%d]: %s", side.field, i, fmt.Sprintf(format, args...)))
			}
			if len(s.Name) == 0 || len(s.Name) > MaxName || !utf8.ValidString(s.Name) {
				wrong("name %.40q must have 1 to %d bytes of UTF-8", s.Name, MaxName)
			}
			if seen[s.Name] {
				wrong("name %.40q is there twice", s.Name)
			}
			seen[s.Name] = true
			if !s.Datatype.known() {
				wrong("%v is none of the protocol", s.Datatype)
			}
			if len(s.Shape) > MaxRank {
				wrong("%d dimensions; at most %d are allowed", len(s.Shape), MaxRank)
			}
			fixed := make([]int64, 0, MaxRank)
			for _, d := range s.Shape {
				if d != -1 {
					fixed = append(fixed, d)
				}
			}
			if _, ok := Elements(fixed); !ok {
				wrong("dimensions %d: each is -1 or a length, and their product fits into memory", s.Shape)
			}
		}
	}
	return errors.Join(faults...)
}
