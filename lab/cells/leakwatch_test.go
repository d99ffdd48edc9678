package cells

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
	"watertight/leaktest/watch"
)

const observingRole = "observing"

// observing watches for a label until its input ends, and prints what it saw.
func observing(args []string) int {
	doors, resolvers := []netip.AddrPort{netip.MustParseAddrPort(lab.ProxyAddress)}, []netip.AddrPort(nil)
	for _, text := range args[1:] {
		resolvers = append(resolvers, netip.MustParseAddrPort(text))
	}
	w, err := watch.Start(context.Background(), watch.Options{
		Labels: func() []string { return []string{args[0]} }, Doors: func() []netip.AddrPort { return doors }, Resolvers: resolvers,
	})
	if err != nil {
		return 1
	}
	fmt.Println("watching")
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	seen, err := w.Stop()
	if err != nil {
		return 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(seen); err != nil {
		return 1
	}
	return 0
}

// observed gives what was seen on the client's host while fn ran.
func observed(t *testing.T, s *lab.Scene, fn func()) watch.Seen {
	t.Helper()
	here, there, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	args := []string{s.Label}
	for _, p := range s.Resolver.Peers() {
		args = append(args, p.At.String())
	}
	p := lab.Self(s.Client, observingRole, args...)
	p.Input = here
	process := lab.Must(p.Start(t.Context()))(t)
	if _, err := process.AwaitOutput(t.Context(), "watching"); err != nil {
		t.Fatal(err)
	}
	fn()
	_ = there.Close()
	r := process.Wait()
	_, text, _ := strings.Cut(r.Stdout, "\n")
	var seen watch.Seen
	if err := json.Unmarshal([]byte(text), &seen); err != nil || seen.Blind != "" {
		t.Fatalf("%v, blind %q: %s", err, seen.Blind, r.Text())
	}
	return seen
}

// blindSpots are leaks that no authority of a zone, and so no public service, sees for certain. Each gives what is to be seen, and where.
var blindSpots = map[string]func(t *testing.T, s *lab.Scene) (what watch.What, form watch.Form, to netip.AddrPort){
	// Whoever is asked asks nobody else; the provider takes what goes to port 53.
	"plaintext that never reaches the authority": func(t *testing.T, s *lab.Scene) (watch.What, watch.Form, netip.AddrPort) {
		lab.Run(t, s.Client.Program("dig", "+tries=1", "+time=1", "-p", "5300", "@"+s.Origin.Addr().String(), s.Canary))
		if log := s.Authority.Log(); len(log) > 0 {
			t.Errorf("INVALID: the authority was asked: %v", log)
		}
		return watch.Label, watch.Wire, netip.AddrPortFrom(s.Origin.Addr(), 5300)
	},
	"encrypted, outside of the channel": func(t *testing.T, s *lab.Scene) (watch.What, watch.Form, netip.AddrPort) {
		to := netip.AddrPortFrom(s.Origin.Addr(), 853)
		lab.Run(t, s.Client.Program("openssl", "s_client", "-connect", to.String()))
		return watch.DoT, "", to
	},
	"a client that is faster than the start": func(t *testing.T, s *lab.Scene) (watch.What, watch.Form, netip.AddrPort) {
		lab.Run(t, s.Client.Program("dig", "+tries=1", "+time=5", s.Canary))
		lab.StartWatertight(t, s, dot(s))
		served(t, s, other(s, "after"))
		return watch.Label, watch.Wire, netip.AddrPortFrom(s.Client.Nameservers()[0], 53)
	},
	"a client that goes direct while the proxy is gone": func(t *testing.T, s *lab.Scene) (watch.What, watch.Form, netip.AddrPort) {
		proxy := lab.StartWatertight(t, s, dot(s))
		served(t, s, other(s, "before"))
		lab.Must(0, proxy.Signal(syscall.SIGKILL))(t)
		<-proxy.Done()
		lab.Run(t, s.Client.Program("curl", "--silent", "--max-time", "15", "--cacert", s.CAFile, "https://"+s.Canary+"/"))
		lab.StartWatertight(t, s, dot(s))
		served(t, s, other(s, "again"))
		return watch.Label, watch.Wire, netip.AddrPortFrom(s.Client.Nameservers()[0], 53)
	},
	"the name in a hello, of a client that resolved elsewhere": func(t *testing.T, s *lab.Scene) (watch.What, watch.Form, netip.AddrPort) {
		origin := netip.AddrPortFrom(s.Origin.Addr(), 443)
		lab.Run(t, s.Client.Program("curl", "--silent", "--max-time", "15", "--cacert", s.CAFile, "--resolve", s.Canary+":443:"+origin.Addr().String(), "https://"+s.Canary+"/"))
		return watch.Label, watch.SNI, origin
	},
}

func TestWatch_WhatPublicServicesDoNotSeeIsSeen(t *testing.T) {
	lab.Need(t, "dig", "curl", "openssl")
	for name, leak := range blindSpots {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := lab.NewScene(t, internet.V4)
			var what watch.What
			var form watch.Form
			var to netip.AddrPort
			seen := observed(t, s, func() { what, form, to = leak(t, s) })
			for _, one := range seen.Sightings {
				if one.What == what && one.Form == form && one.To == to && one.Interface == "uplink" {
					return
				}
			}
			t.Errorf("no %s (%s) to %v among %+v", what, form, to, seen.Sightings)
		})
	}
}

func TestWatch_ASealedProxyGivesNoneAtItsStartNorWhenItIsKilledAndComesBack(t *testing.T) {
	lab.Need(t, "curl")
	for _, families := range internet.AllFamilies() {
		t.Run(string(families), func(t *testing.T) {
			t.Parallel()
			s := lab.NewScene(t, families)
			seen := observed(t, s, func() {
				for range 2 {
					proxy := lab.StartWatertight(t, s, dot(s))
					served(t, s, s.Canary)
					lab.Must(0, proxy.Signal(syscall.SIGKILL))(t)
					<-proxy.Done()
					r := lab.Run(t, caller(s, s.Canary)) // and is refused
					if r.Code == 0 {
						t.Errorf("without a proxy: %s", r.Text())
					}
				}
			})
			for _, one := range seen.Sightings {
				// The destination reads its own name, as this is a proxy and no cloak.
				if one.What != watch.Label || one.Form != watch.SNI || !s.Origin.Has(one.To.Addr()) {
					t.Errorf("%+v", one)
				}
			}
			if seen.Packets == 0 {
				t.Error("INVALID: it saw nothing at all")
			}
		})
	}
}
