package load

import "time"

// Ended is how one request ended, for those who cut a run into windows of their own: see Options.Ended. Its times have
// a monotonic reading.
type Ended struct {
	Due  time.Time
	Sent time.Time // zero: it was never sent
	At   time.Time // when it ended

	Request    string // its name
	Class      Class  // "" is a good answer
	Status     string // an HTTP code or a gRPC code's name; "" when there was no answer
	Unfinished bool   // the run was ended before there was an answer: neither good nor failed
	Marked     bool   // a good answer of which Options.Mark said so
}

// spectator is told of each request when it has ended.
type spectator struct {
	tell func(Ended)
	zero time.Time // when load began
}

// ended tells how the current request of u ended.
func (s *spectator) ended(u *user, o *outcome) {
	if s.tell == nil {
		return
	}
	e := Ended{Due: s.at(u.due), At: s.at(o.end), Request: u.current().name, Class: o.class, Status: o.status, Marked: u.marked && o.class == ""}
	if u.sent != 0 {
		e.Sent = s.at(u.sent)
	}
	s.tell(e)
}

// missed tells of a request that waited for a user until its time-out.
func (s *spectator) missed(due int64, step *step, now int64) {
	if s.tell != nil {
		s.tell(Ended{Due: s.at(due), At: s.at(now), Request: step.name, Class: ClassTimeout})
	}
}

// unfinished tells of a request that had no answer when the run was ended. sent is 0 if it was never sent.
func (s *spectator) unfinished(due, sent int64, step *step) {
	if s.tell == nil {
		return
	}
	e := Ended{Due: s.at(due), At: time.Now(), Request: step.name, Unfinished: true}
	if sent != 0 {
		e.Sent = s.at(sent)
	}
	s.tell(e)
}

func (s *spectator) at(ns int64) time.Time { return s.zero.Add(time.Duration(ns)) }
