package flow

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// of counts the flows of a client in the table of a test.
func (s *side) of(client string) (n int) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	for key, f := range s.table.flows {
		if strings.HasPrefix(key, client+" ") && f.ctx.Err() == nil {
			n++
		}
	}
	return n
}

func TestOneClientCannotKeepAnotherFromItsShareOfTheBudget(t *testing.T) {
	inSide(t, 1000, 8, func(s *side) {
		for i := range 20 {
			s.table.Send(fmt.Sprint("greedy ", i), nil)
		}
		synctest.Wait()
		if n := s.of("greedy"); n != 8 {
			t.Errorf("where nobody else asks, one has %d", n)
		}
		time.Sleep(time.Second)
		s.table.Send("greedy 7", []byte("x")) // is the one used last
		for i := range 6 {
			s.table.Send(fmt.Sprint("late ", i), nil)
			s.table.Send(fmt.Sprint("greedy ", 100+i), nil)
			synctest.Wait()
		}
		if a, b := s.of("greedy"), s.of("late"); a != 4 || b != 4 {
			t.Errorf("they have %d and %d", a, b)
		}
		if !s.table.Send("greedy 7", []byte("x")) || s.of("greedy") != 4 {
			t.Error("the flow that was used last was given up")
		}
		if s.budget.Used() != 8 {
			t.Errorf("%d of the budget", s.budget.Used())
		}
	})
}

func TestAClientWithItsShareGivesUpAnIdleFlowOfItsOwn(t *testing.T) {
	inSide(t, 1000, 4, func(s *side) {
		for _, key := range []string{"a 1", "a 2", "b 1", "b 2"} {
			s.table.Send(key, nil)
		}
		synctest.Wait()
		if s.table.Send("a 3", nil) {
			t.Error("a flow that is in use was given up")
		}
		time.Sleep(freshFor)
		s.table.Send("a 2", nil)
		if !s.table.Send("a 3", nil) {
			t.Error("there was no room")
		}
		synctest.Wait()
		if a, b := s.of("a"), s.of("b"); a != 2 || b != 2 {
			t.Errorf("they have %d and %d: the other's was taken", a, b)
		}
	})
}

func TestANetworkOfIPv6IsOneClient(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7": "address 192.0.2.7", "::ffff:192.0.2.7": "address 192.0.2.7", "::1": "address ::1",
		"2001:db8:1:2::3": "address 2001:db8:1:2::/64", "2001:db8:1:2:ffff::": "address 2001:db8:1:2::/64", "fe80::1%eth0": "address fe80::/64",
	} {
		if got := AtAddress(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s is %s", addr, got)
		}
	}
}
