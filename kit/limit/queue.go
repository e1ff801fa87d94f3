package limit

import "time"

// passes is how many slots in a row may go past a class that waits: its next is then due. So each class is sure
// of about one slot in nine.
const passes = 8

// queue holds those who wait: by class, in each class a flow for every tenant, each flow in order of arrival.
//
// Among the flows of a class the slots go by start-time fair queueing (Goyal, Vin, Cheng, "Start-time Fair
// Queuing", SIGCOMM 1996), and what is paid for is the time that slots are held: the mean when a slot is given,
// the difference when it is given back. A flow that comes to wait starts at the virtual time of the class, so
// what it did not use earlier is not saved up. One that has nothing here any more is remembered until the others
// have had as much, lest it lose its debt by never asking for two things at once.
//
// Those who have begun, and wait between two blocks, wait among the others in the order in which they came, but none has
// to give way to others. There are as many places for them as for those who have not begun: as these begin, there could
// be more and more of them otherwise.
type queue struct {
	places  int // most that wait of those who have not begun, and of those who have
	most    int // most flows that are remembered for their debt alone
	length  int // those who have not begun
	between int // those who have
	debtors int // flows that are remembered
	tickets int64
	begun   int64 // those who have had a slot, ever
	classes [classes]class
	served  uint64 // orders flows of the same virtual time: who was served longer ago comes first

	anyone  tenant             // of the requests that name none
	tenants map[string]*tenant // that have something here
	free    *tenant
}

// class is those of one priority.
type class struct {
	length   int           // those who have not begun
	between  int           // those who have
	short    int           // of both, those that are not long
	passed   int           // slots that went to more urgent classes since one of this class could have had one
	turns    flows         // that may have a slot, the next first
	sizes    flows         // all that wait, that with most who have not begun first
	debts    flows         // of tenants that have nothing here, the least first
	virtual  time.Duration // where the flow began that was served last
	round    time.Duration // where those begin who come, if that is later
	furthest time.Duration // that any flow has come to
	charged  int           // slots that are held and were waited for
}

// tenant is kept while a seat refers to it or a flow has a debt. Memory for tenants is thus bounded by the places of
// the limit.
type tenant struct {
	name     string
	seats    int // that refer to it
	debts    int // flows that are remembered though no seat refers to it
	arriving int // only counted when shares are limited
	running  int // those that refer to it
	parked   bool
	flows    [classes]flow
	next     *tenant // in the free list
}

// flow is what one tenant has waiting in one class.
type flow struct {
	owner            *tenant
	waiting          fifo          // those who have not begun
	between          fifo          // those who have
	virtual          time.Duration // time held, in the class's virtual time
	mean             time.Duration // time that a slot is held, as far as it counts; 0: not known
	served           uint64
	turn, size, debt int // places in the heaps of the class, from 1; 0: not there
}

func newQueue(places, slots int) queue {
	q := queue{places: places, most: places + slots, tenants: make(map[string]*tenant)}
	for i := range q.classes {
		c := &q.classes[i]
		c.turns = flows{before: earlier, place: func(f *flow) *int { return &f.turn }}
		c.sizes = flows{before: longer, place: func(f *flow) *int { return &f.size }}
		c.debts = flows{before: earlier, place: func(f *flow) *int { return &f.debt }}
	}
	return q
}

func earlier(a, b *flow) bool {
	return a.virtual < b.virtual || a.virtual == b.virtual && a.served < b.served
}

// next is who came first.
func (f *flow) next() *seat {
	fresh, begun := f.waiting.first, f.between.first
	if fresh == nil || begun != nil && begun.ticket < fresh.ticket {
		return begun
	}
	return fresh
}

// pushAhead lets one wait before those who are not ahead. Who gives its slot to short work has mostly begun before all who
// wait, or after them: both places are found at once.
func (f *flow) pushAhead(s *seat) {
	before := f.between.last
	if first := f.between.first; first == nil || !first.ahead || s.begun < first.begun {
		before = nil
	}
	for before != nil && !(before.ahead && before.begun < s.begun) {
		before = before.prev
	}
	switch next := f.next(); {
	case before != nil:
		s.ticket = before.ticket
	case next != nil:
		s.ticket = next.ticket - 1
	}
	f.between.insert(s, before)
}

// older returns who waits ahead of the flow and began first of all, if that was before the seat did.
func (f *flow) older(s *seat) *seat {
	if first := f.between.first; first != nil && first.ahead && first.begun < s.begun {
		return first
	}
	return nil
}

// line is the list in which the seat waits.
func (f *flow) line(s *seat) *fifo {
	if s.between {
		return &f.between
	}
	return &f.waiting
}

func (f *flow) length() int { return f.waiting.length + f.between.length }

func (c *class) all() int { return c.length + c.between }

func (q *queue) all() int { return q.length + q.between }

// count adds to who waits.
func (q *queue) count(s *seat, n int) {
	if !s.long {
		q.classes[s.class].short += n
	}
	if c := &q.classes[s.class]; s.between {
		q.between += n
		c.between += n
	} else {
		q.length += n
		c.length += n
	}
}

func longer(a, b *flow) bool { return a.waiting.length > b.waiting.length }

// find returns the tenant if it has something here.
func (q *queue) find(name string) *tenant {
	if name == "" {
		return &q.anyone
	}
	return q.tenants[name]
}

// refer gives the seat its tenant, unless it has it.
func (q *queue) refer(s *seat) *tenant {
	if s.owner == nil {
		t := q.find(s.tenant)
		if t == nil {
			if t = q.free; t != nil {
				q.free = t.next
				*t = tenant{name: s.tenant}
			} else {
				t = &tenant{name: s.tenant}
			}
			for i := range t.flows {
				t.flows[i].owner = t
			}
			q.tenants[s.tenant] = t
		}
		t.seats++
		s.owner = t
	}
	return s.owner
}

// forget takes the seat's tenant away.
func (q *queue) forget(s *seat) {
	t := s.owner
	s.owner, s.tenant, s.charge = nil, "", 0
	if t.seats--; t.seats > 0 || t == &q.anyone {
		return
	}
	for i := range t.flows {
		if c, f := &q.classes[i], &t.flows[i]; f.debt == 0 && f.virtual > c.virtual {
			c.debts.add(f)
			t.debts++
			q.debtors++
		}
	}
	for i := classes - 1; i >= 0 && q.debtors > q.most; i-- {
		for c := &q.classes[i]; len(c.debts.heap) > 0 && q.debtors > q.most; {
			q.forgive(c, c.debts.heap[0])
		}
	}
	q.drop(t)
}

// drop ends the memory of a tenant, unless it is still needed.
func (q *queue) drop(t *tenant) {
	if t.seats > 0 || t.debts > 0 || t.name == "" {
		return
	}
	delete(q.tenants, t.name)
	t.name = ""
	t.next, q.free = q.free, t
}

// forgive ends the memory of a debt.
func (q *queue) forgive(c *class, f *flow) {
	c.debts.drop(f)
	f.owner.debts--
	q.debtors--
	q.drop(f.owner)
}

// advance moves the virtual time of the class, which pays debts. When nobody waits and nobody holds what was waited
// for, nobody is owed anything: all are paid.
func (q *queue) advance(c *class, to time.Duration) {
	if c.all() == 0 && c.charged == 0 {
		to = c.furthest
	}
	c.virtual = max(c.virtual, to)
	for len(c.debts.heap) > 0 && c.debts.heap[0].virtual <= c.virtual {
		q.forgive(c, c.debts.heap[0])
	}
}

// older returns who of the seat's flow goes on before it.
func (q *queue) older(s *seat) *seat {
	t := s.owner
	if t == nil {
		t = q.find(s.tenant)
	}
	if t == nil {
		return nil
	}
	return t.flows[s.class].older(s)
}

// push lets the seat wait: last of its flow, unless it has begun and is long, or its flow has more of the room for such than is left
// to others (a dynamic threshold: Choudhury, Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet
// Switches", IEEE/ACM Transactions on Networking 6(2), 1998). Then it goes ahead of its flow, behind those alone that did so and
// began before it: so none begins before they have ended, and the first of them to begin is the first to end, whoever comes.
func (q *queue) push(s *seat) {
	t := q.refer(s)
	c, f := &q.classes[s.class], &t.flows[s.class]
	q.tickets++
	s.ticket = q.tickets
	if s.ahead = s.between && (s.long || f.length() > 0 && f.between.length >= q.places-q.between); s.ahead {
		f.pushAhead(s)
	} else {
		f.line(s).push(s)
	}
	q.count(s, 1)
	if f.length() > 1 {
		c.sizes.moved(f)
		return
	}
	if f.debt > 0 { // which it now pays by waiting
		c.debts.drop(f)
		t.debts--
		q.debtors--
	}
	f.virtual = max(f.virtual, c.virtual)
	if !s.paid {
		f.virtual = max(f.virtual, c.round)
	}
	q.served++
	f.served = q.served
	c.sizes.add(f)
	if !t.parked {
		c.turns.add(f)
	}
}

// remove ends the seat's wait without a slot.
func (q *queue) remove(s *seat) {
	c, f := &q.classes[s.class], &s.owner.flows[s.class]
	f.line(s).remove(s)
	q.count(s, -1)
	if f.length() > 0 {
		c.sizes.moved(f)
		return
	}
	c.sizes.drop(f)
	c.turns.drop(f)
	if len(c.turns.heap) == 0 {
		c.passed = 0
	}
	q.advance(c, c.virtual)
}

// first returns who has the next slot, nil if nobody may. Of two classes that are due the less urgent goes first:
// it has no other chance.
func (q *queue) first() *seat {
	var next *class
	for i := range q.classes {
		if c := &q.classes[i]; len(c.turns.heap) > 0 && (next == nil || c.passed >= passes) {
			next = c
		}
	}
	if next == nil {
		return nil
	}
	return next.turns.heap[0].next()
}

// firstShort returns who is not long and would have the next slot if nobody were, and if the seat gave its own back: of its
// class, of one that is more urgent, or of one that is due. nil if there is none.
func (q *queue) firstShort(holder *seat) *seat {
	for i := range q.classes {
		c := &q.classes[i]
		if c.short == 0 || i > int(holder.class) && c.passed < passes {
			continue
		}
		var next *seat
		var of *flow
		consider := func(f *flow) {
			if of == nil || earlier(f, of) {
				if s := f.short(); s != nil {
					next, of = s, f
				}
			}
		}
		for _, f := range c.turns.heap {
			consider(f)
		}
		if holder.owner != nil && holder.owner.parked { // for want of the very slot
			consider(&holder.owner.flows[i])
		}
		if next != nil {
			return next
		}
	}
	return nil
}

// short is who came first of those who are not long.
func (f *flow) short() *seat {
	first := func(in *fifo) *seat {
		s := in.first
		for s != nil && s.long {
			s = s.next
		}
		return s
	}
	fresh, begun := first(&f.waiting), first(&f.between)
	if fresh == nil || begun != nil && begun.ticket < fresh.ticket {
		return begun
	}
	return fresh
}

// grant ends the wait of the first with a slot, for which its flow pays in advance: its own mean, or else price, the
// mean of all.
func (q *queue) grant(s *seat, price time.Duration) {
	c, f := &q.classes[s.class], &s.owner.flows[s.class]
	c.charged++
	q.remove(s)
	c.passed = 0
	for i := range q.classes {
		if below := &q.classes[i]; uint8(i) > s.class && len(below.turns.heap) > 0 {
			below.passed++
		}
	}
	q.advance(c, f.virtual)
	s.charge, s.mostCharge = price, never
	if f.mean > 0 {
		s.charge = f.mean
	}
	s.charge = max(1, s.charge)
	if basis := max(f.mean, price); basis > 0 && basis < never/mostDebt {
		s.mostCharge = mostDebt * basis
	}
	q.pay(c, f, s.charge)
	q.served++
	f.served = q.served
	c.turns.moved(f)
}

// mostDebt bounds what a flow pays for one slot, in means of its own or of all, whichever is more: one that was held
// for a minute must not keep its tenant out for as long as the others need to catch up, but one whose holds are all
// that long pays for them.
const mostDebt = 32

// settle corrects what the flow paid in advance.
//
// Virtual time stands where the last served began, and so stands still for a stream of tenants that each come once:
// they would all go past one that lets others pass after each block. While there is such a one, those who come
// therefore begin where they would if all that wait had been served at once, each its part (Demers, Keshav, Shenker,
// "Analysis and Simulation of a Fair Queueing Algorithm", SIGCOMM 1989).
func (q *queue) settle(s *seat, held time.Duration) {
	if s.charge == 0 {
		return
	}
	c, f := &q.classes[s.class], &s.owner.flows[s.class]
	counts := min(max(1, held), s.mostCharge)
	switch {
	case held <= 0: // given back unused, which says nothing
	case f.mean == 0:
		f.mean = counts
	default:
		f.mean = max(1, f.mean+(counts-f.mean)/8)
	}
	q.pay(c, f, counts-s.charge)
	s.charge = 0
	c.charged--
	c.turns.moved(f)
	if c.between > 0 || s.between {
		c.round = max(c.round, c.virtual) + counts/time.Duration(len(c.sizes.heap)+1)
	}
	q.advance(c, c.virtual)
}

func (q *queue) pay(c *class, f *flow, price time.Duration) {
	f.virtual += price
	c.furthest = max(c.furthest, f.virtual)
}

// park keeps the flows of a tenant from further slots, or no longer.
func (q *queue) park(t *tenant, parked bool) {
	if t.parked == parked {
		return
	}
	t.parked = parked
	for i := range t.flows {
		c, f := &q.classes[i], &t.flows[i]
		switch {
		case f.length() == 0:
		case parked:
			c.turns.drop(f)
		default:
			c.turns.add(f)
		}
	}
}

// share is how many places of the queue no class can be kept out of.
func (q *queue) share() int {
	if q.places < classes {
		return 0
	}
	return (q.places + passes) / (passes + 1)
}

// victim returns who has to leave a full queue for a request of that class and tenant, nil if nobody: the newest
// of the flow that is longest
//
//   - in the least urgent class below the request's that has more than its share;
//   - else in the request's own class, if even then it is no shorter than the request's own flow will be;
//   - else, if the request's class has less than its share, in the least urgent class that has more.
func (q *queue) victim(class uint8, t *tenant) *seat {
	share := q.share()
	for i := classes - 1; i > int(class); i-- {
		if q.classes[i].length > share {
			return q.classes[i].newest()
		}
	}
	own := &q.classes[class]
	mine := 0
	if t != nil {
		mine = t.flows[class].waiting.length
	}
	if len(own.sizes.heap) > 0 && own.sizes.heap[0].waiting.length >= mine+2 {
		return own.newest()
	}
	if own.length < share {
		for i := int(class) - 1; i >= 0; i-- {
			if q.classes[i].length > share {
				return q.classes[i].newest()
			}
		}
	}
	return nil
}

// newest is the last of the longest flow, of those who have not begun. There must be one.
func (c *class) newest() *seat { return c.sizes.heap[0].waiting.last }

// turn is about how many slots must be given back until a request that comes now has one. What comes after it
// counts for nothing.
func (q *queue) turn(class uint8, t *tenant) int {
	c := &q.classes[class]
	rounds, tenants := 1, len(c.sizes.heap)
	if t != nil && t.flows[class].length() > 0 {
		rounds += t.flows[class].length()
	} else {
		tenants++
	}
	n := min(c.all()+1, rounds*tenants)
	above, below := 0, 0
	for i := range q.classes {
		switch {
		case i < int(class):
			above += q.classes[i].all()
		case i > int(class):
			below += q.classes[i].all()
		}
	}
	return n + min(above, passes*n) + min(below, n/passes)
}
