package flow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// far is a far side in memory.
type far struct {
	net.Conn
	in     chan []byte // what it says
	mu     sync.Mutex
	heard  []string
	closed chan struct{}
	once   sync.Once
	fails  error // what Write gives
}

func newFar() *far { return &far{in: make(chan []byte, 8), closed: make(chan struct{})} }

func (f *far) Read(b []byte) (int, error) {
	select {
	case d := <-f.in:
		if d == nil {
			return 0, &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNREFUSED)}
		}
		return copy(b, d), nil
	case <-f.closed:
		return 0, net.ErrClosed
	}
}

func (f *far) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails != nil {
		return 0, f.fails
	}
	f.heard = append(f.heard, string(b))
	return len(b), nil
}

func (f *far) Close() error { f.once.Do(func() { close(f.closed) }); return nil }

func (f *far) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.heard)
}

// side is the client's side of a table, and what lies behind it.
type side struct {
	t      *testing.T
	table  *Table[string]
	budget *Budget

	mu      sync.Mutex
	opened  []string
	fars    map[string]*far
	refuse  bool
	replies []string
	ended   []string
	told    int // datagrams of which the client was told that nobody takes them
}

func (s *side) open(ctx context.Context, key string, _ func(context.Context) ([]byte, bool)) (Leg, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = append(s.opened, key)
	if s.refuse {
		return Leg{}, errors.New("refused")
	}
	f := newFar()
	s.fars[key] = f
	return Leg{f, func(b []byte) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.replies = append(s.replies, key+": "+string(b))
	}}, nil
}

func (s *side) far(key string) *far {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fars[key]
}

func (s *side) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.replies)
}

func inSide(t *testing.T, flows, budget int, test func(*side)) {
	synctest.Test(t, func(t *testing.T) {
		s := &side{t: t, fars: map[string]*far{}, budget: NewBudget(budget)}
		var err error
		s.table, err = NewTable(t.Context(), Options[string]{
			Open: s.open, Budget: s.budget, Flows: flows, Client: func(key string) string { client, _, _ := strings.Cut(key, " "); return client },
			Refused: func(string) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.told++
			},
			Ended: func(key string, up, down int64, _ time.Duration) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.ended = append(s.ended, fmt.Sprintf("%s %d %d", key, up, down))
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		test(s)
		s.table.Close()
		if s.table.Len() != 0 || s.budget.Used() != 0 || s.table.octets != 0 {
			t.Errorf("left over: %d flows, %d of the budget, %d octets", s.table.Len(), s.budget.Used(), s.table.octets)
		}
		for key, f := range s.fars {
			select {
			case <-f.closed:
			default:
				t.Errorf("the far side of %s was left open", key)
			}
		}
	})
}

func TestDatagramsGoToTheirFarSideAndTheAnswersComeBack(t *testing.T) {
	inSide(t, 0, 9, func(s *side) {
		s.table.Send("a", []byte("one"))
		s.table.Send("a", []byte("two"))
		s.table.Send("b", nil)
		synctest.Wait()
		if got := s.far("a").all(); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("a heard %q", got)
		}
		if got := s.far("b").all(); !slices.Equal(got, []string{""}) {
			t.Errorf("b heard %q", got)
		}
		s.far("a").in <- nil // an earlier one reached nobody
		s.far("a").in <- []byte("yes")
		synctest.Wait()
		if got := s.said(); !slices.Equal(got, []string{"a: yes"}) || len(s.opened) != 2 || s.told != 1 {
			t.Errorf("the client heard %q over %q, and %d times that nobody is there", got, s.opened, s.told)
		}
		s.table.Close()
		slices.Sort(s.ended)
		if !slices.Equal(s.ended, []string{"a 6 3", "b 0 0"}) {
			t.Errorf("ended: %q", s.ended)
		}
		if s.table.Send("c", nil) {
			t.Error("a closed table took a datagram")
		}
	})
}

func TestAFlowEndsWhenNothingGoesEitherWay(t *testing.T) {
	inSide(t, 0, 9, func(s *side) {
		s.table.Send("a", []byte("one"))
		for range 3 { // the far side alone keeps it
			time.Sleep(DefaultIdle - time.Second)
			s.far("a").in <- []byte("still here")
			synctest.Wait()
		}
		if s.table.Len() != 1 {
			t.Error("it ended while the far side spoke")
		}
		time.Sleep(DefaultIdle + time.Second)
		if s.table.Len() != 0 {
			t.Error("it did not end")
		}
	})
}

func TestAFarSideThatWasRefusedIsNotAskedForAgainAtOnce(t *testing.T) {
	inSide(t, 0, 9, func(s *side) {
		s.refuse = true
		for range 3 * queued {
			s.table.Send("a", []byte("knock"))
			synctest.Wait()
		}
		if len(s.opened) != 1 || s.told != 3*queued {
			t.Errorf("it was asked for %d times, and told of %d datagrams", len(s.opened), s.told)
		}
		time.Sleep(refusedFor + time.Second)
		s.table.Send("a", []byte("knock"))
		synctest.Wait()
		if len(s.opened) != 2 {
			t.Errorf("later it was asked for %d times", len(s.opened))
		}
	})
}

func TestTheOldestFlowMakesRoomUnlessAllAreInUse(t *testing.T) {
	inSide(t, 2, 9, func(s *side) {
		s.table.Send("a", nil)
		s.table.Send("b", nil)
		if s.table.Send("c", nil) {
			t.Error("a third flow was opened")
		}
		time.Sleep(freshFor)
		s.table.Send("a", nil)
		if !s.table.Send("c", nil) || s.table.Len() != 2 {
			t.Error("the oldest made no room")
		}
		synctest.Wait()
		select {
		case <-s.far("b").closed:
		default:
			t.Error("the one that was not used is open")
		}
	})
}

func TestARefusedFarSideMakesRoomAtOnce(t *testing.T) {
	inSide(t, 2, 9, func(s *side) {
		s.refuse = true
		for _, key := range []string{"a", "b", "c", "d"} {
			if !s.table.Send(key, nil) {
				t.Errorf("%s found no room", key)
			}
			synctest.Wait()
		}
		if s.table.Len() != 2 {
			t.Errorf("%d flows", s.table.Len())
		}
	})
}

func TestTheBudgetBindsEveryTable(t *testing.T) {
	inSide(t, 0, 2, func(s *side) {
		if !s.table.Send("a", nil) || !s.table.Send("b", nil) || s.table.Send("c", nil) {
			t.Error("the budget of two was not kept")
		}
	})
}

func TestWhatWaitsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opening := make(chan struct{})
		table, err := NewTable(t.Context(), Options[int]{
			Open: func(ctx context.Context, _ int, _ func(context.Context) ([]byte, bool)) (Leg, error) {
				<-opening
				return Leg{}, errors.New("no")
			},
			Ended: func(int, int64, int64, time.Duration) {}, Budget: NewBudget(100), Client: func(int) string { return "one" },
		})
		if err != nil {
			t.Fatal(err)
		}
		taken := 0
		for range 2 * queued {
			if table.Send(1, []byte("x")) {
				taken++
			}
		}
		if taken != queued {
			t.Errorf("%d datagrams wait for one flow", taken)
		}
		octets := 0
		for key := range 50 {
			if b := make([]byte, MaxDatagram); table.Send(2+key, b) {
				octets += len(b)
			}
		}
		if octets == 0 || octets > queuedOctets {
			t.Errorf("%d octets wait", octets)
		}
		close(opening)
		table.Close()
	})
}

func TestWhoOpensAFlowMayLookAtWhatWillBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		var seen []string
		table, err := NewTable(t.Context(), Options[int]{
			Open: func(ctx context.Context, _ int, next func(context.Context) ([]byte, bool)) (Leg, error) {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				for {
					b, ok := next(ctx)
					if !ok {
						return Leg{f, func([]byte) {}}, nil
					}
					seen = append(seen, string(b))
				}
			},
			Ended: func(int, int64, int64, time.Duration) {}, Budget: NewBudget(100), Client: func(int) string { return "one" },
		})
		if err != nil {
			t.Fatal(err)
		}
		table.Send(1, []byte("one"))
		table.Send(1, []byte("two"))
		time.Sleep(2 * time.Second)
		table.Send(1, []byte("three"))
		synctest.Wait()
		if want := []string{"one", "two", "three"}; !slices.Equal(seen, want[:2]) || !slices.Equal(f.all(), want) {
			t.Errorf("seen %q, sent %q", seen, f.all())
		}
		table.Close()
	})
}

func TestWhatWasLookedAtWaitsAndIsBounded(t *testing.T) {
	for what, openAt := range map[string]func(Leg) (Leg, error){
		"opened":  func(l Leg) (Leg, error) { return l, nil },
		"refused": func(Leg) (Leg, error) { return Leg{}, errors.New("no") },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, opening := newFar(), make(chan struct{})
				table, err := NewTable(t.Context(), Options[int]{
					Open: func(ctx context.Context, key int, next func(context.Context) ([]byte, bool)) (Leg, error) {
						for key < 2 {
							if _, ok := next(ctx); !ok {
								break
							}
						}
						<-opening
						return openAt(Leg{f, func([]byte) {}})
					},
					Ended: func(int, int64, int64, time.Duration) {}, Budget: NewBudget(100), Client: func(int) string { return "one" },
				})
				if err != nil {
					t.Fatal(err)
				}
				octets := 0
				for i := range 2 * queued {
					if b := make([]byte, MaxDatagram); table.Send(i%2, b) {
						octets += len(b)
					}
					synctest.Wait() // it is looked at
				}
				if octets == 0 || octets > queuedOctets {
					t.Errorf("%d octets wait", octets)
				}
				close(opening)
				table.end()
				table.Close()
				if table.octets != 0 {
					t.Errorf("%d octets are left", table.octets)
				}
			})
		})
	}
}

func TestAWayOutThatBreaksEndsTheFlow(t *testing.T) {
	inSide(t, 0, 9, func(s *side) {
		s.table.Send("a", []byte("one"))
		synctest.Wait()
		s.far("a").mu.Lock()
		s.far("a").fails = syscall.EMSGSIZE
		s.far("a").mu.Unlock()
		s.table.Send("a", []byte("too long"))
		synctest.Wait()
		if s.table.Len() != 1 {
			t.Error("one datagram that was lost ended the flow")
		}
		s.far("a").mu.Lock()
		s.far("a").fails = net.ErrClosed
		s.far("a").mu.Unlock()
		s.table.Send("a", []byte("two"))
		synctest.Wait()
		if s.table.Len() != 0 {
			t.Error("it did not end")
		}
	})
}

func TestATableNeedsAllOfItsParts(t *testing.T) {
	open := func(context.Context, int, func(context.Context) ([]byte, bool)) (Leg, error) {
		return Leg{}, errors.New("no")
	}
	ended := func(int, int64, int64, time.Duration) {}
	whose := func(int) string { return "one" }
	for _, o := range []Options[int]{
		{Ended: ended, Budget: NewBudget(1), Client: whose},
		{Open: open, Budget: NewBudget(1), Client: whose},
		{Open: open, Ended: ended, Client: whose},
		{Open: open, Ended: ended, Budget: NewBudget(1)},
		{Open: open, Ended: ended, Budget: NewBudget(1), Client: whose, Flows: -1},
		{Open: open, Ended: ended, Budget: NewBudget(1), Client: whose, Idle: -1},
	} {
		if _, err := NewTable(t.Context(), o); err == nil {
			t.Errorf("%+v is complete", o)
		}
	}
}
