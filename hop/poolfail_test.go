package hop

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"watertight/fault"
)

func TestAMemberThatFailsIsReplacedByTheNextAndLeftAloneForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := newPool(t, PoolSpec{Members: members(t, 3), By: BySession, For: time.Hour})
		w := p.Way("alice", time.Hour, f.link)
		f.set("m0.example", fails(fault.HopRefused))
		f.mustDial(t, w)
		if got := f.taken(); !slices.Equal(got, []string{"m0.example", "m1.example"}) {
			t.Error(got)
		}
		f.set("m0.example", nil)
		f.mustDial(t, w)
		if got := f.taken(); !slices.Equal(got, []string{"m1.example"}) {
			t.Errorf("it does not stay with the one that works: %v", got)
		}
		any := p.Way("", 0, f.link)
		for range 4 {
			f.mustDial(t, any)
		}
		if got := f.taken(); slices.Contains(got, "m0.example") {
			t.Errorf("it was not left alone: %v", got)
		}
		time.Sleep(restFirst)
		for range 3 {
			f.mustDial(t, any)
		}
		if got := f.taken(); !slices.Contains(got, "m0.example") {
			t.Errorf("it was not tried again: %v", got)
		}
	})
}

func TestWhatAMemberSaysOfTheTargetIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, code := range []fault.Code{fault.ConnectRefused, fault.ConnectTimeout, fault.ConnectUnreachable, fault.DNSNXDomain, fault.NotReady, fault.Limit, fault.PolicyForeignResolver, fault.BadRequest} {
			p, f := newPool(t, PoolSpec{Members: members(t, 3)})
			f.set("m0.example", fails(code))
			_, err := f.dial(t, p.Way("", 0, f.link))
			if got := f.taken(); fault.Of(err).Code != code || len(got) != 1 {
				t.Errorf("%s: %v, and %v were asked", code, err, got)
			}
			if s := p.Stats(); s.Usable != 3 || s.Members[0].Failures != 0 {
				t.Errorf("%s: it counts against the member: %+v", code, s)
			}
		}
	})
}

func TestAMemberThatRefusesARequestIsNoDeadOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := newPool(t, PoolSpec{Members: members(t, 2)})
		f.set("m0.example", func(context.Context) error { return fault.New(fault.HopRefused, "403", errAnswered) })
		f.mustDial(t, p.Way("", 0, f.link))
		if s := p.Stats(); s.Usable != 2 || len(f.taken()) != 2 {
			t.Errorf("a client could take members away from others: %+v", s)
		}
	})
}

func TestOneWhoGivesUpTakesNoMemberAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := newPool(t, PoolSpec{Members: members(t, 3)})
		ctx, cancel := context.WithCancel(t.Context())
		f.set("m0.example", func(ctx context.Context) error {
			cancel()
			return fault.New(fault.HopRefused, "given up", ctx.Err())
		})
		if _, err := p.Way("", 0, f.link).Dial(ctx, anywhere); err == nil {
			t.Error("it connected")
		}
		if s := p.Stats(); s.Usable != 3 || len(f.taken()) != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestADeadPoolRefusesAndSaysHowManyAndWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := newPool(t, PoolSpec{Members: members(t, 5)})
		w := p.Way("", 0, f.link)
		for i := range 5 {
			f.set(fmt.Sprintf("m%d.example", i), fails(map[bool]fault.Code{true: fault.HopAuth, false: fault.HopRefused}[i == 4]))
		}
		_, err := f.dial(t, w)
		if got := f.taken(); len(got) != maxTries || fault.Of(err).Code != fault.HopRefused || !strings.Contains(err.Error(), "POOL: 3 of 5 members failed") {
			t.Errorf("%v, and %v were asked", err, got)
		}
		_, err = f.dial(t, w)
		if got := f.taken(); len(got) != 2 || !strings.Contains(err.Error(), "POOL: none of the 5 members can be used: 4 did not work, 1 refused user and password, the next is tried in 1s; last: ") {
			t.Errorf("%v, and %v were asked", err, got)
		}
		_, err = f.dial(t, w)
		if got := f.taken(); len(got) != 0 || fault.Of(err).Code != fault.HopRefused {
			t.Errorf("%v, and %v were asked though they are left alone", err, got)
		}
		if s := p.Stats(); s.Usable != 0 || s.Refused != 3 {
			t.Errorf("%+v", s)
		}
		p.Forgive()
		for i := range 5 {
			f.set(fmt.Sprintf("m%d.example", i), nil)
		}
		f.mustDial(t, w)
	})
}

func TestWhatAMemberSaidToOneClientIsNotToldToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := newPool(t, PoolSpec{Members: members(t, 1)})
		f.set("m0.example", func(context.Context) error {
			return fault.New(fault.HopAuth, "the proxy m0.example:1080 refused user and password: 407 no session k3v9 of alice", errAnswered)
		})
		_, _ = f.dial(t, p.Way("alice", 0, f.link))
		_, err := f.dial(t, p.Way("bob", 0, f.link))
		if err == nil || strings.Contains(err.Error(), "alice") || !strings.Contains(err.Error(), "m0.example:1080 refused user and password") || strings.Contains(p.Stats().Members[0].Why, "alice") {
			t.Errorf("%v, %+v", err, p.Stats())
		}
	})
}

func TestAMemberThatRefusesWhatOneClientAsksForIsThereForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, err := readProxy(t, "http://acme:hunter2@m0.example:3128").WithTemplate("brightdata")
		if err != nil {
			t.Fatal(err)
		}
		p, f := newPool(t, PoolSpec{Members: []Proxy{one}})
		f.set("m0.example", fails(fault.HopAuth))
		if _, err := f.dial(t, p.Way("alice", time.Hour, f.link)); fault.Of(err).Code != fault.HopAuth {
			t.Errorf("it gave %v", err)
		}
		if s := p.Stats(); s.Usable != 1 || s.Members[0].Failures != 1 || s.Members[0].Why == "" {
			t.Errorf("%+v", s)
		}
		f.set("m0.example", nil)
		f.mustDial(t, p.Way("bob", time.Hour, f.link))
		f.set("m0.example", fails(fault.HopRefused))
		_, _ = f.dial(t, p.Way("bob", time.Hour, f.link))
		if s := p.Stats(); s.Usable != 0 {
			t.Errorf("a member that does not work for anybody can be used: %+v", s)
		}
	})
}
