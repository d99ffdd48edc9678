package resolve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"watertight/dnswire"
	"watertight/transport"
)

// Strategy says which of the upstreams are asked about a name. The zero Strategy asks them in order: each only where
// those before it could not be reached or gave no reply. An upstream that failed is passed over for a while, whatever
// the strategy (RFC 9520, section 3.2).
type Strategy struct {
	// Random asks one upstream, which chance gives to each name for as long as the Resolver lives, and the next one only
	// where it could not be reached or gave no reply. So each upstream sees a share of the names, in all their types.
	Random bool
	// Race asks so many upstreams at once, the first of the list, and takes the first answer; one that cannot be reached
	// is replaced by the next. Zero means none of that.
	Race int
}

// String gives the strategy in a word: order, random or race.
func (s Strategy) String() string {
	switch {
	case s.Race > 0:
		return "race"
	case s.Random:
		return "random"
	}
	return "order"
}

// Asked is how many upstreams see a name that is looked up, as long as all can be reached.
func (s Strategy) Asked() int { return max(1, s.Race) }

func (s Strategy) validate(upstreams int) error {
	switch {
	case s.Race == 0:
		return nil
	case s.Random:
		return errors.New("a random choice and a race at once")
	case s.Race < 2 || s.Race > upstreams:
		return errors.New("a race of " + strconv.Itoa(s.Race) + " among " + strconv.Itoa(upstreams) + " upstreams")
	}
	return nil
}

// reply is what one upstream said, or why it said nothing.
type reply struct {
	answer *dnswire.Answer
	from   *transport.Client // nil where none was asked
	fail   *transport.Failure
}

// final says that the upstream replied, whatever it said, or that nobody could be asked this.
func (r reply) final() bool { return r.fail == nil || r.fail.Final }

// good says that the upstream knew the answer.
func (r reply) good() bool { return r.fail == nil && unanswered(r.answer, "") == nil }

// ask puts a question to the upstreams as the strategy says. A reply is final, whatever it says: nobody is asked because
// of one. Of the upstreams that gave none, the reply's is the one asked last, and the failure the most telling.
func (r *Resolver) ask(ctx context.Context, q dnswire.Question) reply {
	return r.askFor(ctx, q.Name, q)
}

// askFor is ask for the sake of a name that is not the question's own.
func (r *Resolver) askFor(ctx context.Context, name string, q dnswire.Question) reply {
	switch s := r.options.Strategy; {
	case s.Race > 0:
		return r.askAtOnce(ctx, q, s.Race)
	case s.Random:
		return r.askInTurn(ctx, q, r.drawn(name))
	default:
		return r.askInTurn(ctx, q, r.upstreams)
	}
}

// drawn gives the upstreams in the order that chance gave to a name: each name its own, and the same each time.
func (r *Resolver) drawn(name string) []*transport.Client {
	type lot struct {
		name     string
		upstream int
	}
	rank := make(map[*transport.Client]uint64, len(r.upstreams))
	for i, u := range r.upstreams {
		rank[u] = maphash.Comparable(r.chance, lot{name, i})
	}
	return slices.SortedFunc(slices.Values(r.upstreams), func(a, b *transport.Client) int { return cmp.Compare(rank[a], rank[b]) })
}

// askInTurn asks the first upstream that is not in back-off, and the next where one could not be reached or gave no
// reply.
func (r *Resolver) askInTurn(ctx context.Context, q dnswire.Question, list []*transport.Client) reply {
	able, waiting := r.able(list)
	if len(able) == 0 {
		return reply{fail: waiting}
	}
	last := r.askEach(ctx, q, able)
	if !last.final() {
		last.fail = transport.Worse(last.fail, waiting)
	}
	return last
}

// askEach is askInTurn past back-off.
func (r *Resolver) askEach(ctx context.Context, q dnswire.Question, list []*transport.Client) (last reply) {
	var worst *transport.Failure
	for i, u := range list {
		last = r.attempt(ctx, u, q, i == len(list)-1)
		if last.final() {
			return last
		}
		worst = transport.Worse(worst, last.fail)
		if ctx.Err() != nil {
			break
		}
	}
	last.fail = worst
	return last
}

// able gives the upstreams that are not in back-off, and the most telling failure of the others: where there is no other,
// it says when one is tried again.
func (r *Resolver) able(list []*transport.Client) (able []*transport.Client, waiting *transport.Failure) {
	wait := time.Duration(math.MaxInt64)
	for _, u := range list {
		if old, left := u.Blocked(r.now()); old != nil {
			waiting, wait = transport.Worse(waiting, old), min(wait, left)
			continue
		}
		able = append(able, u)
	}
	if len(able) > 0 {
		return able, waiting
	}
	told := *waiting
	told.Fault = copied(waiting.Fault)
	told.Fault.Hint = fmt.Sprintf("%s; it is tried again in %v", waiting.Fault.NextStep(), wait.Round(time.Second)+time.Second)
	return nil, &told
}

// askAtOnce asks the first n upstreams that are not in back-off, and takes the first answer. As long as there was no
// reply at all, one that cannot be reached is replaced by the next. An error is taken only where all that were asked had
// one. Those that lose are heard to their end, so that their health is known.
func (r *Resolver) askAtOnce(ctx context.Context, q dnswire.Question, n int) reply {
	able, worst := r.able(r.upstreams)
	if len(able) == 0 {
		return reply{fail: worst}
	}
	until, ok := ctx.Deadline()
	if !ok {
		until = time.Now().Add(r.options.Timeout)
	}
	race, over := context.WithDeadline(r.ctx, until) // those who wait for the winner are not asked
	var running sync.WaitGroup
	replies := make(chan reply, len(able))
	next, pending := 0, 0
	start := func() {
		u, last := able[next], next == len(able)-1 || len(able) <= n
		next++
		pending++
		running.Go(func() { replies <- r.attempt(race, u, q, last) })
	}
	defer func() {
		r.wg.Go(func() {
			running.Wait()
			over()
		})
	}()
	for next < min(n, len(able)) {
		start()
	}
	var said *reply // an error, which is final
	var last reply
	for ; pending > 0; pending-- {
		last = <-replies
		switch {
		case last.good():
			return last
		case last.final() && said == nil:
			said = &reply{last.answer, last.from, last.fail}
		case last.final():
		default:
			worst = transport.Worse(worst, last.fail)
			if said == nil && next < len(able) {
				start()
			}
		}
	}
	if said != nil {
		return *said
	}
	last.fail = worst
	return last
}

// attempt asks one upstream. All but the last leave time for those after them.
func (r *Resolver) attempt(ctx context.Context, u *transport.Client, q dnswire.Question, last bool) reply {
	if !last {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.options.AttemptTimeout)
		defer cancel()
	}
	a, fail := u.Ask(ctx, q)
	return reply{answer: a, from: u, fail: fail}
}

// Warm connects to the upstreams that a question would go to now, so that the first one finds a connection. No name is
// sent. What cannot be reached is left to the question that needs it.
func (r *Resolver) Warm(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	if !r.enter() {
		return
	}
	defer r.wg.Done()
	able, _ := r.able(r.upstreams)
	if s := r.options.Strategy; !s.Random {
		able = able[:min(len(able), s.Asked())]
	}
	var warming sync.WaitGroup
	for _, u := range able {
		warming.Go(func() { _ = u.Warm(ctx) }) // its health tells
	}
	warming.Wait()
}
