package canary

import (
	"container/list"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"watertight/visit"
)

// Keep is how long what was seen is kept.
const Keep = time.Hour

// LogOptions bound what a log holds.
type LogOptions struct {
	// Visits bounds the labels. Zero means 50,000.
	Visits int
	// PerVisit bounds the questions of one label, and its requests: what comes after them is not kept, and Seen.Cut says
	// so. Zero means 200.
	PerVisit int
	// Octets bounds the memory of all in octets, with what the program needs to find it again. Zero means 64 MiB.
	Octets int
	// Now is the clock that says when something came. It is wanted: the time of day, or a test's.
	Now func() time.Time
	// Passed is what has passed since some moment, by a clock that nobody sets: a [Stopwatch], or a test's. It is wanted.
	Passed func() time.Duration
}

// Stopwatch runs from now on.
func Stopwatch() func() time.Duration {
	started := time.Now()
	return func() time.Duration { return time.Since(started) }
}

// The least that a log has room for: one visit of one question.
const leastOctets = 16 << 10

func (o *LogOptions) validate() error {
	switch {
	case o.Now == nil || o.Passed == nil:
		return errors.New("canary: a log needs a clock, and one that nobody sets")
	case o.Visits < 0 || o.PerVisit < 0 || o.Octets < 0:
		return errors.New("canary: a limit of the log is negative")
	case o.Octets > 0 && o.Octets < leastOctets:
		return errors.New("canary: the log has room for no visit")
	}
	return nil
}

// Log is what a canary has seen: bounded in visits, in what is kept of one, and in octets. Where there is no room, the
// visit that was quiet for longest is forgotten: of those whose visitor came, by TCP, only where they have more than half of all,
// since anybody can ask for names, with the address of anybody. Nothing in it is older than [Keep]. Its methods may be called from
// many goroutines.
type Log struct {
	o LogOptions

	mu     sync.Mutex
	visits map[[visit.LabelLength]byte]*list.Element // of *seen
	asked  list.List                                 // of *seen, the one that was quiet for longest first: nobody came
	came   list.List                                 // likewise: somebody came
	octets struct{ all, came int }
	clock  struct { // at the last look
		age, passed time.Duration // since the log was made
		now         time.Time
	}
}

// kept is something that was seen.
type kept[T any] struct {
	what T
	age  time.Duration // of the log when it came
}

// seen is what there is of one visit.
type seen struct {
	label    [visit.LabelLength]byte
	queries  []kept[visit.Query]
	requests []kept[visit.Request]
	last     time.Duration // the age of the log when something came last
	octets   int           // of the strings and networks that the slices lead to
	came     bool          // there was a request
	cut      bool
}

// NewLog makes a log. It panics where the options are no options: they are the program's own.
func NewLog(o LogOptions) *Log {
	if err := o.validate(); err != nil {
		panic(err)
	}
	setDefault(&o.Visits, 50_000)
	setDefault(&o.PerVisit, 200)
	setDefault(&o.Octets, 64<<20)
	l := &Log{o: o, visits: make(map[[visit.LabelLength]byte]*list.Element)}
	l.clock.now, l.clock.passed = o.Now().Round(0).UTC(), o.Passed()
	return l
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// look gives the time, and the age of the log: what has passed by the clock that nobody sets, and by the other one where that went on for
// longer, as after a sleep of the host. Setting a clock back has nothing kept for longer.
func (l *Log) look() (now time.Time, age time.Duration) {
	const setByHand = time.Second // less is the two clocks' own
	c := &l.clock
	now, passed := l.o.Now().Round(0).UTC(), l.o.Passed()
	step := passed - c.passed
	if by := now.Sub(c.now); by > step+setByHand {
		step = by
	}
	c.now, c.passed, c.age = now, passed, c.age+step
	return now, c.age
}

// Run forgets what is too old until ctx ends: also where nothing new comes.
func (l *Log) Run(ctx context.Context) error {
	const often = 30 * time.Second
	t := time.NewTicker(often)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			l.sweep()
		}
	}
}

// Query keeps a question for a name of a visit. It is not kept where label is none. The time is the log's own.
func (l *Log) Query(label string, q visit.Query) {
	q.Name, q.Type, q.Subnet, q.Over = strings.Clone(q.Name), strings.Clone(q.Type), strings.Clone(q.Subnet), strings.Clone(q.Over)
	l.add(label, false, func(s *seen, now time.Time) {
		if len(s.queries) >= l.o.PerVisit {
			s.cut = true
			return
		}
		q.At = now
		s.queries = append(s.queries, kept[visit.Query]{q, s.last})
		s.octets += queryOctets(&q)
	})
}

// Request keeps an HTTP request for a name of a visit. It is not kept where label is none. The time is the log's own.
func (l *Log) Request(label string, r visit.Request) {
	r.Host = strings.Clone(r.Host)
	l.add(label, true, func(s *seen, now time.Time) {
		if len(s.requests) >= l.o.PerVisit {
			s.cut = true
			return
		}
		r.At = now
		s.requests = append(s.requests, kept[visit.Request]{r, s.last})
		s.octets += requestOctets(&r)
	})
}

// add gives a visit to put, new or known, and makes room. came says that its visitor came.
func (l *Log) add(label string, came bool, put func(*seen, time.Time)) {
	key, ok := keyOf(label)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now, age := l.look()
	e := l.visits[key]
	if e == nil {
		if len(l.visits) >= l.o.Visits {
			l.forget(l.oldest())
		}
		e = l.asked.PushBack(&seen{label: key})
		l.visits[key] = e
		l.octets.all += overhead
	}
	s := e.Value.(*seen)
	before := s.size()
	if came && !s.came {
		l.asked.Remove(e)
		s.came, e = true, l.came.PushBack(s)
		l.visits[key] = e
		l.octets.came += before + overhead
	}
	s.drop(age - Keep)
	s.last = age
	put(s, now)
	l.count(s, s.size()-before)
	l.list(s).MoveToBack(e)
	for l.octets.all > l.o.Octets {
		l.forget(l.oldest())
	}
}

// list is where a visit is.
func (l *Log) list(s *seen) *list.List {
	if s.came {
		return &l.came
	}
	return &l.asked
}

// count has a visit take more octets, or less.
func (l *Log) count(s *seen, more int) {
	l.octets.all += more
	if s.came {
		l.octets.came += more
	}
}

// oldest is the visit that is forgotten next.
func (l *Log) oldest() *list.Element {
	if l.asked.Len() == 0 || l.came.Len() > l.o.Visits/2 || l.octets.came > l.o.Octets/2 {
		return l.came.Front()
	}
	return l.asked.Front()
}

// forget takes a visit out.
func (l *Log) forget(e *list.Element) {
	s := e.Value.(*seen)
	l.list(s).Remove(e)
	delete(l.visits, s.label)
	l.count(s, -s.size()-overhead)
}

// sweep takes out all that is too old.
func (l *Log) sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, age := l.look()
	since := age - Keep
	for _, visits := range []*list.List{&l.asked, &l.came} {
		for e := visits.Front(); e != nil; {
			s, next := e.Value.(*seen), e.Next()
			if s.last < since {
				l.forget(e)
			} else {
				before := s.size()
				s.drop(since)
				l.count(s, s.size()-before)
			}
			e = next
		}
	}
}

// Seen gives what was seen of a visit, and false where nothing was. The slices are the caller's.
func (l *Log) Seen(label string) (visit.Seen, bool) {
	key, ok := keyOf(label)
	if !ok {
		return visit.Seen{}, false
	}
	out, ok := l.copyOf(key)
	if !ok {
		return visit.Seen{}, false
	}
	out.Label = string(key[:])
	out.Minimised = minimised(out.Label, out.Queries)
	return out, true
}

// copyOf copies what there is of a visit, so that nobody waits for its reader.
func (l *Log) copyOf(key [visit.LabelLength]byte) (visit.Seen, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.visits[key]
	if e == nil {
		return visit.Seen{}, false
	}
	s := e.Value.(*seen)
	_, age := l.look()
	since := age - Keep
	if s.last < since {
		return visit.Seen{}, false
	}
	out := visit.Seen{Queries: []visit.Query{}, Requests: []visit.Request{}, Cut: s.cut}
	for _, q := range s.queries[tooOld(s.queries, since):] {
		out.Queries = append(out.Queries, q.what)
	}
	for _, r := range s.requests[tooOld(s.requests, since):] {
		out.Requests = append(out.Requests, r.what)
	}
	return out, true
}

func keyOf(label string) (key [visit.LabelLength]byte, ok bool) {
	label = strings.ToLower(label)
	if !visit.IsLabel(label) {
		return key, false
	}
	copy(key[:], label)
	return key, true
}

// tooOld gives how many of a list, which is in the order of time, are from before since.
func tooOld[T any](list []kept[T], since time.Duration) int {
	if i := slices.IndexFunc(list, func(k kept[T]) bool { return k.age >= since }); i >= 0 {
		return i
	}
	return len(list)
}

// drop takes out what is from before since. What is left moves to the front, and nothing keeps what was there.
func (s *seen) drop(since time.Duration) {
	if n := tooOld(s.queries, since); n > 0 {
		for i := range n {
			s.octets -= queryOctets(&s.queries[i].what)
		}
		s.queries = slices.Delete(s.queries, 0, n)
	}
	if n := tooOld(s.requests, since); n > 0 {
		for i := range n {
			s.octets -= requestOctets(&s.requests[i].what)
		}
		s.requests = slices.Delete(s.requests, 0, n)
	}
}

// What a visit takes beside what is in it: its place in the map, of which more than half may be empty, the element of
// the list and the struct.
const overhead = 3*(visit.LabelLength+8+4) + int(unsafe.Sizeof(list.Element{})) + int(unsafe.Sizeof(seen{})) + 32

// size is what a visit's slices and all they lead to take. The allocator's sizes are up to an eighth above what is asked for.
func (s *seen) size() int {
	slices := cap(s.queries)*int(unsafe.Sizeof(kept[visit.Query]{})) + cap(s.requests)*int(unsafe.Sizeof(kept[visit.Request]{}))
	return slices + slices/8 + s.octets
}

// queryOctets is what a question takes beside its place in a slice.
func queryOctets(q *visit.Query) int {
	return room(q.Name) + room(q.Type) + room(q.Subnet) + room(q.Over) + networkOctets(q.Network)
}

// requestOctets is what a request takes beside its place in a slice.
func requestOctets(r *visit.Request) int { return room(r.Host) + networkOctets(r.Network) }

// networkOctets counts a network for each that has it: it may be shared, or not.
func networkOctets(n *visit.Network) int {
	if n == nil {
		return 0
	}
	return int(unsafe.Sizeof(*n)) + room(n.Name) + room(n.Country)
}

// room is what a string's octets take: the allocator hands out sizes of 16 octets, and an eighth more where they are long.
func room(s string) int {
	if s == "" {
		return 0
	}
	return (len(s)+15)/16*16 + len(s)/8
}

// minimised says that a name was asked for which only a minimising resolver asks for: one between that of the visit and
// another that was asked for too (RFC 9156, section 3), or one that begins with an underscore alone, as BIND's do.
func minimised(label string, queries []visit.Query) bool {
	names := make(map[string]bool, len(queries))
	for i := range queries {
		names[below(label, queries[i].Name)] = true
	}
	for n := range names {
		if strings.HasPrefix(n, "_.") || n == "_" {
			return true
		}
		for {
			_, rest, ok := strings.Cut(n, ".")
			if !ok {
				break
			}
			if n = rest; names[n] {
				return true
			}
		}
	}
	return false
}

// below is the part of a name before the label of its visit, in lower case and without the dot: empty where there is none.
func below(label, name string) string {
	name = strings.ToLower(name)
	if i := strings.LastIndex(name, "."+label); i > 0 {
		return name[:i]
	}
	return ""
}
