package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"watertight/channel"
	"watertight/control"
	"watertight/event"
	"watertight/fault"
	"watertight/front/contained"
	"watertight/front/transparent"
)

// Limits on the programs that a daemon carries for `watertight exec --attach`.
const (
	maxGuests      = 64
	maxGuestsFlows = 512 // of datagrams of one program: each is two descriptors
)

// guests are the contained programs that a daemon carries.
type guests struct {
	ctx context.Context // ends when no more are taken
	end context.CancelFunc

	together *transparent.Share // of all connections

	mu     sync.Mutex
	places int
	inside map[*guest]bool
	busy   sync.WaitGroup // one for each place; added to under mu, before ctx ends
	ended  guestTotals
}

func newGuests(connections int) *guests {
	gs := &guests{inside: map[*guest]bool{}, together: transparent.NewShare(connections)}
	gs.ctx, gs.end = context.WithCancel(context.Background())
	return gs
}

// guestTotals are counts that only rise.
type guestTotals struct {
	programs uint64 // that there were, with those that are served
	dropped  uint64 // datagrams, of those that are gone
}

// guest is one program.
type guest struct {
	pid     int
	channel string
	since   time.Time
	door    *contained.Door
}

// The daemon carries programs.
var _ control.Container = (*Daemon)(nil)

// Contain takes a place for a program, and waits until the resolvers have answered that it can use.
func (d *Daemon) Contain(ctx context.Context, only string) (carry func(context.Context, control.Guest), leave func(), err error) {
	g := d.current()
	if only != "" && !slices.Contains(g.names(), only) {
		return nil, nil, &control.UnknownChannelError{Name: only, Channels: g.names()}
	}
	if err := d.guests.enter(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.guests.ctx, cancel)()
	if err := answered(ctx, g, only); err != nil {
		d.guests.leave()
		return nil, nil, err
	}
	return func(ctx context.Context, who control.Guest) { d.carry(ctx, only, who) }, d.guests.leave, nil
}

// answered waits until the resolver of every channel that can be used has answered once, and gives the first fault at once.
func answered(ctx context.Context, g *generation, only string) error {
	var used []*channel.Channel
	for _, r := range g.channels {
		if only == "" || r.Name() == only {
			used = append(used, r.Channel)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, readyToRun)
	defer cancel()
	faults := make(chan error, len(used))
	for _, c := range used {
		go func() { faults <- settle(ctx, g, c) }()
	}
	for range used {
		if err := <-faults; err != nil {
			f := fault.Of(err)
			err = errors.New(f.Message)
			if hint := f.NextStep(); hint != "" {
				err = fmt.Errorf("%w\n%s", err, hint)
			}
			return err
		}
	}
	return nil
}

func (gs *guests) enter() error {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	switch {
	case gs.ctx.Err() != nil:
		return errors.New("it is stopping")
	case gs.places >= maxGuests:
		return fmt.Errorf("it carries %d contained programs already, which is the limit", maxGuests)
	}
	gs.places++
	gs.busy.Add(1)
	return nil
}

func (gs *guests) leave() {
	gs.mu.Lock()
	gs.places--
	gs.mu.Unlock()
	gs.busy.Done()
}

// admit notes a program that is served from now on.
func (gs *guests) admit(one *guest) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.inside[one] = true
	gs.ended.programs++
}

func (gs *guests) dismiss(one *guest) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	delete(gs.inside, one)
	gs.ended.dropped += one.door.Stats().Dropped
}

// stop ends them all, takes no more, and waits until they are gone.
func (gs *guests) stop() {
	gs.mu.Lock()
	gs.end()
	gs.mu.Unlock()
	gs.busy.Wait()
}

// setConnections changes the limit of each, and of all together, from now on.
func (gs *guests) setConnections(n int) {
	gs.together.Set(n)
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for one := range gs.inside {
		one.door.SetConnections(n)
	}
}

// all gives those that are served, the longest first.
func (gs *guests) all() (all []*guest, ended guestTotals) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for one := range gs.inside {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b *guest) int { return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.pid, b.pid)) })
	return all, gs.ended
}

// carry serves a program until its line ends, or the daemon stops.
func (d *Daemon) carry(ctx context.Context, only string, who control.Guest) {
	defer who.Line.Close()
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(d.guests.ctx, end)()
	defer context.AfterFunc(ctx, func() { _ = who.Line.Close() })()
	l := &line{conn: who.Line, waiting: map[int]chan opened{}}
	sockets, err := l.sockets()
	if err != nil {
		if ctx.Err() == nil {
			d.o.Log.Warn("a contained program did not hand over its sockets", "pid", who.PID, "error", err)
		}
		return
	}
	told := &event.Tally{}
	sink, err := event.Tee(d.sharedNow().sink, ofProgram{told})
	var door *contained.Door
	if err == nil {
		door, err = contained.New(contained.Options{
			Board: &guestBoard{board: &d.board, only: only, told: told}, Full: full(told), Relay: d.relay, Sink: sink, Logger: d.access.Sparing(),
			Connections: d.current().config.Limits.Connections, Together: d.guests.together, Flows: maxGuestsFlows, NoIPv6: sockets.TCP6 == nil,
		})
	}
	if err != nil {
		_ = sockets.Close()
		d.o.Log.Error("a contained program is not carried", "error", err)
		return
	}
	one := &guest{pid: who.PID, channel: only, since: time.Now(), door: door}
	d.guests.admit(one)
	defer d.guests.dismiss(one)
	d.o.Log.Info("a contained program is carried", "pid", who.PID, "channel", only)
	serving := make(chan error, 1)
	go func() {
		defer end()
		serving <- door.Serve(ctx, socketsFor(sockets, l.replyFrom))
	}()
	if tell(who.Line, toExec{Served: true}) == nil && l.listen() {
		s := summaryOf(door, told)
		_ = tell(who.Line, toExec{Did: &s}) // if nobody hears it, nobody wants to know
	}
	end()
	err = <-serving
	_ = sockets.Close() // those that the door does not close
	if err != nil {
		d.o.Log.Warn("a contained program is not carried any more", "pid", who.PID, "error", err)
		return
	}
	d.o.Log.Info("a contained program has ended", "pid", who.PID)
}

// open is how many connections of contained programs there are, and how many of their datagrams were dropped so far.
func (gs *guests) open() (connections int64, dropped uint64) {
	all, ended := gs.all()
	dropped = ended.dropped
	for _, one := range all {
		stats := one.door.Stats()
		connections, dropped = connections+stats.Connections, dropped+stats.Dropped
	}
	return connections, dropped
}

// guestStatus is what is told of contained programs; nothing where there never was one.
func (d *Daemon) guestStatus() *control.ContainedPrograms {
	all, ended := d.guests.all()
	if ended.programs == 0 {
		return nil
	}
	s := &control.ContainedPrograms{Total: ended.programs, List: []control.ContainedProgram{}}
	for _, one := range all {
		stats := one.door.Stats()
		s.List = append(s.List, control.ContainedProgram{
			PID: one.pid, Channel: one.channel, Started: one.since, Connections: stats.Connections, Flows: stats.Flows,
			Names: stats.Names, Queries: total(stats.DNS.Queries), Dropped: stats.Dropped, Refused: stats.Refused,
		})
	}
	return s
}

func total(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}
