package hop

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/fault"
	"watertight/name"
)

// fleet is the members of a pool as a test has them: what each does when it is dialled.
type fleet struct {
	mu    sync.Mutex
	does  map[string]func(ctx context.Context) error // by host; nil: it connects
	dials []string
}

func (f *fleet) set(host string, does func(context.Context) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.does[host] = does
}

func (f *fleet) taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.dials
	f.dials = nil
	return all
}

// link leads through one member.
func (f *fleet) link(p Proxy) (Dialer, error) {
	host := p.Host.String()
	return DialerFunc(func(ctx context.Context, _ name.Target) (net.Conn, error) {
		f.mu.Lock()
		f.dials = append(f.dials, host)
		does := f.does[host]
		f.mu.Unlock()
		if does != nil {
			if err := does(ctx); err != nil {
				return nil, err
			}
		}
		here, there := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, there) }()
		return here, nil
	}), nil
}

func fails(code fault.Code) func(context.Context) error {
	return func(context.Context) error { return fault.New(code, "the proxy failed", nil) }
}

func after(d time.Duration) func(context.Context) error {
	return func(context.Context) error { time.Sleep(d); return nil }
}

func members(t *testing.T, n int) (all []Proxy) {
	t.Helper()
	for i := range n {
		all = append(all, readProxy(t, fmt.Sprintf("socks5://m%d.example", i)))
	}
	return all
}

func newPool(t *testing.T, s PoolSpec) (*Pool, *fleet) {
	t.Helper()
	if s.Pick == "" {
		s.Pick = RoundRobin
	}
	p, err := NewPool(s)
	if err != nil {
		t.Fatal(err)
	}
	return p, &fleet{does: map[string]func(context.Context) error{}}
}

var anywhere = name.Must("192.0.2.1:443")

func (f *fleet) dial(t *testing.T, w *Way) (net.Conn, error) {
	t.Helper()
	conn, err := w.Dial(t.Context(), anywhere)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

func (f *fleet) mustDial(t *testing.T, w *Way) net.Conn {
	t.Helper()
	conn, err := f.dial(t, w)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestAPoolTakesItsMembersInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := newPool(t, PoolSpec{Members: members(t, 3)})
		w := p.Way("", 0, f.link)
		for range 7 {
			f.mustDial(t, w).Close()
		}
		if got := strings.Join(f.taken(), " "); got != "m0.example m1.example m2.example m0.example m1.example m2.example m0.example" {
			t.Error(got)
		}
	})
}

func TestAPoolPicksTheMemberThatIsUsedLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := newPool(t, PoolSpec{Members: members(t, 2), Pick: LeastUsed})
		w := p.Way("", 0, f.link)
		first, _ := f.mustDial(t, w), f.mustDial(t, w)
		first.Close()
		first.Close() // is not counted twice
		f.mustDial(t, w)
		f.mustDial(t, w)
		f.mustDial(t, w)
		if got := f.taken(); got[2] != got[0] || got[3] == got[4] {
			t.Error(got)
		}
	})
}

func TestAPoolPicksTheMemberThatIsFastest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := newPool(t, PoolSpec{Members: members(t, 3), Pick: LowestLatency})
		for host, d := range map[string]time.Duration{"m0.example": 300 * time.Millisecond, "m1.example": 20 * time.Millisecond, "m2.example": time.Second} {
			f.set(host, after(d))
		}
		w := p.Way("", 0, f.link)
		taken := map[string]int{}
		for range 100 {
			f.mustDial(t, w)
		}
		for _, host := range f.taken() {
			taken[host]++
		}
		if taken["m1.example"] < 80 || len(taken) != 3 {
			t.Errorf("%v: the fastest takes most, and the others are looked at again", taken)
		}
	})
}

func TestAPoolPicksAtRandomAndLeavesNoneOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := newPool(t, PoolSpec{Members: members(t, 4), Pick: Random})
		w := p.Way("", 0, f.link)
		for range 400 {
			f.mustDial(t, w).Close()
		}
		taken := map[string]bool{}
		for _, host := range f.taken() {
			taken[host] = true
		}
		if len(taken) != 4 {
			t.Errorf("taken: %v", slices.Sorted(maps.Keys(taken)))
		}
	})
}

func TestWhoSticksStaysWithOneMemberForATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := newPool(t, PoolSpec{Members: members(t, 5), By: BySession, For: time.Minute})
		alice, bob := p.Way("alice", time.Minute, f.link), p.Way("bob", time.Minute, f.link)
		for range 3 {
			f.mustDial(t, alice)
			f.mustDial(t, bob)
		}
		got := f.taken()
		for i, host := range got {
			if host != got[i%2] {
				t.Errorf("dial %d went by %s: %v", i, host, got)
			}
		}
		pinned := alice.Pinned()
		time.Sleep(61 * time.Second)
		if alice.Pinned() == pinned {
			t.Error("it sticks for longer than it should")
		}
		before := f.taken()
		f.mustDial(t, alice)
		f.mustDial(t, alice)
		if now := f.taken(); now[0] != now[1] || now[0] == got[0] {
			t.Errorf("%v after %v", now, before)
		}
	})
}

func TestWhatSticksByTargetSticksToTheTargetThatTheClientNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := newPool(t, PoolSpec{Members: members(t, 5), By: ByTarget, For: time.Minute})
		alice, bob := p.Way("", 0, f.link), p.Way("", 0, f.link)
		ctx := Toward(t.Context(), name.MustHost("api.example.com"))
		for _, w := range []*Way{alice, bob, alice} {
			conn, err := w.Dial(ctx, anywhere)
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		}
		f.mustDial(t, alice) // to no target of a client
		if got := f.taken(); got[0] != got[1] || got[1] != got[2] || got[3] == got[0] || alice.Pinned() != 0 {
			t.Error(got)
		}
	})
}

func TestMembersThatStayKeepWhatIsKnownOfThemAndWhoSticks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := members(t, 4)
		p, f := newPool(t, PoolSpec{Members: all, List: "x", By: ByUser, For: time.Hour})
		alice, bob := p.Way("alice", time.Hour, f.link), p.Way("bob", time.Hour, f.link)
		f.set("m2.example", fails(fault.HopRefused))
		f.mustDial(t, alice) // m0
		f.mustDial(t, bob)   // m1
		f.mustDial(t, p.Way("", 0, f.link))
		f.taken()
		pinned := alice.Pinned()
		if err := p.SetMembers([]Proxy{all[2], all[0], readProxy(t, "socks5://new.example")}); err != nil {
			t.Fatal(err)
		}
		if s := p.Stats(); len(s.Members) != 3 || s.Members[0].Failures != 1 || s.Members[0].Usable || s.Members[1].Dials != 1 || s.Members[1].Index != 1 {
			t.Errorf("%+v", s)
		}
		f.mustDial(t, alice)
		f.mustDial(t, bob)
		if got := f.taken(); got[0] != "m0.example" || alice.Pinned() != pinned || got[1] == "m1.example" {
			t.Errorf("%v", got)
		}
		if err := p.SetMembers(nil); err == nil || len(p.Stats().Members) != 3 {
			t.Error("an empty list was taken")
		}
	})
}

func TestMembersThatNobodyUsesAreTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := newPool(t, PoolSpec{Members: members(t, 20), Every: time.Minute, Timeout: 5 * time.Second})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		dead := fails(fault.ConnectTimeout) // nobody's target: it is the member
		f.set("m3.example", dead)
		atOnce, most := 0, 0
		running.Go(func() {
			p.Run(ctx, func(ctx context.Context, one Proxy) error {
				f.mu.Lock()
				atOnce++
				most = max(most, atOnce)
				f.mu.Unlock()
				time.Sleep(time.Second)
				d, _ := f.link(one)
				conn, err := d.Dial(ctx, anywhere)
				f.mu.Lock()
				atOnce--
				f.mu.Unlock()
				if err != nil {
					return err
				}
				return conn.Close()
			})
		})
		time.Sleep(10 * time.Second)
		if got := f.taken(); len(got) != 20 || most != checksAtOnce {
			t.Errorf("%d tried, %d at once", len(got), most)
		}
		if s := p.Stats(); s.Usable != 19 && s.Members[3].Failures != 1 {
			t.Errorf("%+v", s.Members[3])
		}
		time.Sleep(45 * time.Second)
		f.set("m3.example", nil)
		w := p.Way("", 0, f.link)
		f.mustDial(t, w) // m0 is used
		f.taken()
		time.Sleep(40 * time.Second)
		if got := f.taken(); slices.Contains(got, "m0.example") || !slices.Contains(got, "m3.example") {
			t.Errorf("tried: %v", got)
		}
		stop()
		running.Wait()
	})
}

func TestAPoolThatCannotBeIsRefused(t *testing.T) {
	good := PoolSpec{Members: members(t, 1), Pick: Random}
	for name, change := range map[string]func(*PoolSpec){
		"no member":        func(s *PoolSpec) { s.Members = nil },
		"a zero member":    func(s *PoolSpec) { s.Members = []Proxy{{}} },
		"too many":         func(s *PoolSpec) { s.Members = make([]Proxy, MaxMembers+1) },
		"no pick":          func(s *PoolSpec) { s.Pick = "" },
		"sticks by what":   func(s *PoolSpec) { s.By = "name" },
		"sticks for ever":  func(s *PoolSpec) { s.By = ByUser },
		"checks for ever":  func(s *PoolSpec) { s.Every = time.Second },
		"checks backwards": func(s *PoolSpec) { s.Every = -1 },
	} {
		s := good
		change(&s)
		if _, err := NewPool(s); err == nil {
			t.Errorf("%s: it was made", name)
		}
	}
}

// leaving is a way through a member that opens nothing after it is closed.
type leaving struct {
	Dialer
	mu     sync.Mutex
	closed bool
}

func (c *leaving) Dial(ctx context.Context, t name.Target) (net.Conn, error) {
	conn, err := c.Dialer.Dial(ctx, t)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fault.New(fault.Internal, "a tunnel was asked for on a way out that is closed", nil)
	}
	return conn, err
}

func (c *leaving) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

func TestAWayThroughAMemberIsNotClosedWhileSomebodyGoesThroughIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := newPool(t, PoolSpec{Members: members(t, 3*maxWays)})
		open := 0
		w := p.Way("", 0, func(one Proxy) (Dialer, error) {
			f.set(one.Host.String(), after(time.Second))
			d, err := f.link(one)
			open++
			return &leaving{Dialer: d}, err
		})
		var all sync.WaitGroup
		for range 3 * maxWays {
			all.Go(func() {
				if _, err := f.dial(t, w); err != nil {
					t.Errorf("closed under it: %v", err)
				}
			})
		}
		all.Wait()
		if open != 3*maxWays {
			t.Errorf("%d ways", open)
		}
		f.mustDial(t, w)
		if n := len(w.links); n > maxWays {
			t.Errorf("%d ways are kept", n)
		}
	})
}
