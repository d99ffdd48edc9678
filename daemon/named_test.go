package daemon

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/dnswire"
	"watertight/fault"
)

// named is text with the resolver of the channel that carries the traffic known by its name alone.
func (w *world) named() string {
	return strings.Replace(w.text(), ownName+"\", addresses: [\""+ownAddr.String()+"\"]", ownName+"\"", 1)
}

// A resolver by name is looked up one channel below, by the resolver there, and by nobody else.
func TestAResolverByNameIsLookedUpInTheChannelUnderneath(t *testing.T) {
	for _, v := range ways[1:] {
		for _, kind := range transports {
			t.Run(string(v)+"/"+string(kind), func(t *testing.T) {
				inWorld(t, v, kind, func(w *world) {
					w.below.Fail(always(zoneOf(append(slices.Clone(records), ownName+". 30 A "+ownAddr.String())...)))
					conf := w.named()
					if conf == w.text() {
						w.t.Fatal("the resolver has its address")
					}
					e := w.explained(conf, target)
					if found := e.HopNames[len(e.HopNames)-1]; found.Name != ownName || found.Kind != "resolver" || found.Channel != "direct" {
						w.t.Errorf("it is explained as %+v", e.HopNames)
					}
					if s := e.sight(w.t, placeResolver, belowName); !slices.Contains(s.HopNames, ownName) || len(s.TargetName) > 0 {
						w.t.Errorf("the resolver below is said to see %+v", s)
					}
					w.ready(conf)
					w.reaches(target, "origin")
					if w.below.Count(ownName, dnswire.A) == 0 || w.own.Count(ownName, dnswire.A) != 0 {
						w.t.Errorf("asked below: %q; asked of the resolver itself: %q", names(w.below), names(w.own))
					}
				})
			})
		}
	}
}

func TestAResolverByNameThatDoesNotExistIsAFault_andNobodyStandsIn(t *testing.T) {
	inWorld(t, bySOCKS, dot, func(w *world) {
		g := w.run(w.named()) // the resolver below has never heard of it
		f := w.fails(target, fault.NotReady, "is not found by the channel underneath")
		if f != nil && !strings.Contains(f.Message, ownName) {
			w.t.Errorf("%v", f)
		}
		if n := len(w.own.Log()); n > 0 {
			w.t.Errorf("it was asked %d times all the same", n)
		}
		// Once it is there the channel gets ready by itself.
		w.below.Fail(always(zoneOf(append(slices.Clone(records), ownName+". 30 A "+ownAddr.String())...)))
		ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Minute)
		defer cancel()
		if !g.await(ctx) {
			w.t.Fatal("the channel does not get ready")
		}
		w.reaches(target, "origin")
	})
}

func TestAResolverByNameThatHasMovedIsFoundAgain(t *testing.T) {
	inWorld(t, bySOCKS, dot, func(w *world) {
		moved := func(to string) { w.below.Fail(always(zoneOf(append(slices.Clone(records), ownName+". 30 A "+to)...))) }
		before := netip.MustParseAddr("185.13.0.53") // nobody is there
		moved(before.String())
		w.run(w.named())
		w.allowed.Dials["hop1"] = append(w.allowed.Dials["hop1"], netip.AddrPortFrom(before, w.kind.port()))
		w.fails(target, fault.NotReady, ownName)
		moved(ownAddr.String())
		ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Minute)
		defer cancel()
		if !w.g.await(ctx) {
			w.t.Fatal("the channel does not get ready")
		}
		w.reaches(target, "origin")
	})
}
