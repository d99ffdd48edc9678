package cells

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"watertight/capture"
	"watertight/dnscrypt"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/name"
	"watertight/stamp"
)

// stamped are the transports that are written as stamps, each with how its relay dies, if it has one. The resolver
// itself lives on, and answers all who come past the relay.
var stamped = []struct {
	via  transport
	dies func(testing.TB, *internet.Relays)
	seen func(*internet.Relays) int // requests at the relay
}{
	{named("dnscrypt"), nil, nil},
	{
		named("dnscrypt through a relay"),
		func(t testing.TB, r *internet.Relays) { lab.Must(0, r.Crypt.Close())(t) },
		func(r *internet.Relays) int { return len(r.Crypt.Seen()) },
	},
	{
		named("odoh"),
		func(t testing.TB, r *internet.Relays) { lab.Must(0, r.ODoH.Close())(t) },
		func(r *internet.Relays) int { return len(r.Target.Seen()) },
	},
}

func named(name string) transport {
	for _, via := range transports {
		if via.name == name {
			return via
		}
	}
	panic(name)
}

func TestStamps_ARelayIsUsedOrNobodyIsAsked(t *testing.T) {
	for _, c := range stamped {
		if c.dies == nil {
			continue
		}
		play(t, "D3/"+c.via.name+"/it alone is spoken to", lab.Cell{ // in every family: D9
			Start: with(c.via.config),
			After: func(t testing.TB, s *lab.Scene) {
				if n := c.seen(s.Resolver.Relays); n < 3 { // what proves the resolver, and a question for each family
					t.Errorf("the relay saw %d requests", n)
				}
				onlyTo(t, s, c.via.peers(s))
			},
		})
		play(t, "D3/"+c.via.name+"/dead", lab.Cell{
			Start: with(c.via.config), Refused: "(RESOLVER_UNREACHABLE)",
			Before: func(t testing.TB, s *lab.Scene) {
				served(t, s, other(s, "before"))
				lab.Settle(t, s)
				c.dies(t, s.Resolver.Relays)
			},
			After: func(t testing.TB, s *lab.Scene) {
				refused(t, s, other(s, "again"), "RESOLVER_UNREACHABLE")
				onlyTo(t, s, c.via.peers(s))
			},
		})
		t.Run("D3/"+c.via.name+"/dead from the start", func(t *testing.T) {
			t.Parallel()
			run(t, lab.Cell{
				Arrange: func(t testing.TB, s *lab.Scene) { c.dies(t, relays(s)) },
				Start:   new(running).unready(c.via.config), Refused: "(NOT_READY)",
				After: func(t testing.TB, s *lab.Scene) {
					resolves(t, s, "RESOLVER_UNREACHABLE", "")
					nobodyAsked(t, s)
					onlyTo(t, s, c.via.peers(s))
				},
			})
		})
	}
	play(t, "D3/odoh/the key comes through the relay, and again where the target has another", lab.Cell{
		Start: with(named("odoh").config),
		After: func(t testing.TB, s *lab.Scene) {
			target := s.Resolver.Relays.Target
			before := target.Fetched()
			target.Renew()
			served(t, s, other(s, "second"))
			if n := target.Fetched(); before == 0 || n <= before {
				t.Errorf("the key was fetched %d times through the relay, and %d times in the end", before, n)
			}
		},
	})
}

func TestStamps_GoThroughHopsOrNowhere(t *testing.T) {
	t.Parallel()
	for _, c := range stamped {
		for _, kind := range kinds {
			t.Run("D2/"+c.via.name+"/"+kind.name, func(t *testing.T) {
				far := &farChannel{kind: kind, via: &c.via}
				cell := far.cell("here")
				cell.After = func(t testing.TB, s *lab.Scene) {
					may := append(s.Origin.Peers(), c.via.peers(far.beyond(s))...)
					for _, to := range far.hop.log() {
						if !isPeer(may, to) {
							t.Errorf("the hop was asked for %s", to)
						}
					}
					log := far.resolver.Log()
					if len(log) == 0 {
						t.Error("the channel's resolver was never asked")
					}
					if c.seen != nil && c.seen(far.resolver.Relays) < 3 {
						t.Error("the relay was not used")
					}
				}
				run(t, cell)
			})
			t.Run("D2/"+c.via.name+"/"+kind.name+"/the hop is dead", func(t *testing.T) {
				far := &farChannel{kind: kind, via: &c.via}
				cell := far.cell("here")
				cell.Refused = "(HOP_REFUSED)"
				cell.Before = func(t testing.TB, s *lab.Scene) {
					served(t, s, other(s, "before"))
					lab.Settle(t, s)
					far.hop.close(t)
				}
				run(t, cell)
			})
			if c.dies == nil {
				continue
			}
			t.Run("D2/"+c.via.name+"/"+kind.name+"/the relay is dead", func(t *testing.T) {
				far := &farChannel{kind: kind, via: &c.via}
				cell := far.cell("here")
				cell.Refused = "(RESOLVER_UNREACHABLE)"
				if kind.datagrams() && !c.via.tls {
					cell.Refused = "(DNS_TIMEOUT)" // nobody says of a datagram that it did not arrive
				}
				cell.Before = func(t testing.TB, s *lab.Scene) {
					served(t, s, other(s, "before"))
					lab.Settle(t, s)
					c.dies(t, far.resolver.Relays)
				}
				run(t, cell)
			})
		}
	}
}

func TestStamps_TheKeysAndHashesInThemAreChecked(t *testing.T) {
	t.Parallel()
	for _, c := range stamped {
		if c.via.tls {
			continue
		}
		play(t, "A8/"+c.via.name+"/a certificate that was renewed", lab.Cell{Start: with(c.via.config), After: func(t testing.TB, s *lab.Scene) {
			s.Resolver.Provider.Renew(dnscrypt.Certificate{NotBefore: long.NotBefore, NotAfter: long.NotAfter})
			await(t, "the new certificate to be used", func() bool { return call(t, s, other(s, "second")).Code == 0 })
		}})
		t.Run("A8/"+c.via.name+"/another key than the stamp's", func(t *testing.T) {
			t.Parallel()
			untrusted(t, c.via, "was not signed by the key in the stamp", nil, func(s *lab.Scene) string {
				text := c.via.config(s)
				s.Resolver.Provider.Rekey()
				return text
			})
		})
		t.Run("A8/"+c.via.name+"/a certificate that has expired", func(t *testing.T) {
			t.Parallel()
			untrusted(t, c.via, "expired or not valid yet", func(_ testing.TB, s *lab.Scene) {
				s.Resolver.Provider.Renew(dnscrypt.Certificate{NotBefore: long.NotBefore, NotAfter: long.NotBefore.AddDate(1, 0, 0)})
			}, c.via.config)
		})
	}
	for _, via := range hashed {
		play(t, "A8/"+via.name+"/the hash in its stamp", lab.Cell{
			Start: with(func(s *lab.Scene) string { return via.config(s, sha256.Sum256(authority(s).RawTBSCertificate)) }),
		})
		t.Run("A8/"+via.name+"/another hash in its stamp", func(t *testing.T) {
			t.Parallel()
			untrusted(t, via.transport, "hash", nil, func(s *lab.Scene) string {
				return via.config(s, sha256.Sum256(authority(s).RawSubjectPublicKeyInfo)) // a pin is none
			})
		})
		play(t, "A8/"+via.name+"/a certificate that the hash in its stamp is not of", lab.Cell{
			Start: with(func(s *lab.Scene) string { return via.config(s, sha256.Sum256(issued(s).Leaf.RawTBSCertificate)) }),
			Arrange: func(t testing.TB, s *lab.Scene) {
				relays(s)
				swap(t, s, issued(s))
			},
			Before: func(t testing.TB, s *lab.Scene) {
				served(t, s, other(s, "before"))
				lab.Settle(t, s)
				swap(t, s, s.CA.Issue(nil, s.Resolver.Certified()))
			},
			Refused: "(RESOLVER_UNTRUSTED)",
		})
	}
}

// long is a time in which every certificate of the lab is valid.
var long = dnstest.NewCA().Issue(nil, nil).Leaf

// untrusted plays a resolver that does not prove, from the start, to be who its stamp says.
func untrusted(t *testing.T, via transport, why string, arrange func(testing.TB, *lab.Scene), config func(*lab.Scene) string) {
	t.Helper()
	e := run(t, lab.Cell{
		Arrange: arrange, Start: new(running).unready(config), Refused: "(NOT_READY)",
		After: func(t testing.TB, s *lab.Scene) {
			resolves(t, s, "RESOLVER_UNTRUSTED", why)
			nobodyAsked(t, s)
			if via.peers != nil {
				onlyTo(t, s, via.peers(s))
			}
		},
	})
	if text := e.Client.Text(); !strings.Contains(text, why) {
		t.Errorf("the client was not told %q: %s", why, text)
	}
}

// resolves lets the command resolve ask for the canary, and fails the test unless it is told the code, and why.
func resolves(t testing.TB, s *lab.Scene, code, why string) {
	t.Helper()
	r := lab.Run(t, lab.Self(s.Client, lab.WatertightRole, "resolve", s.Canary, "-c", s.Dir+"/watertight.yaml"))
	if r.Code == 0 || !strings.Contains(r.Text(), code) || !strings.Contains(r.Text(), why) {
		t.Errorf("it was not refused with %s, %q (exit code %d): %s", code, why, r.Code, r.Text())
	}
}

// onlyTo fails the test if the client's host exchanged packets with anybody but these and the origin, or with none.
func onlyTo(t testing.TB, s *lab.Scene, peers []capture.Peer) {
	t.Helper()
	packets := lab.Must(s.Packets())(t)
	for _, p := range capture.Strangers(packets, append(s.Origin.Peers(), peers...)) {
		t.Errorf("a packet of another: %v", p)
	}
	if len(capture.Strangers(packets, s.Origin.Peers())) == 0 {
		t.Error("nothing was exchanged with the resolver or its relay, so that this says nothing")
	}
}

// isPeer says whether an address with a port, as text, is that of one of these.
func isPeer(peers []capture.Peer, at string) bool {
	for _, p := range peers {
		if p.At.String() == at {
			return true
		}
	}
	return false
}

// hashed are the transports whose stamps have hashes of certificates.
var hashed = []stampWithHash{
	{named("dot"), stamp.DoT, 853, ""},
	{named("doh"), stamp.DoH, 443, "/dns-query"},
	{named("doq"), stamp.DoQ, 853, ""},
	{named("odoh"), stamp.ODoHRelay, 443, ""},
}

type stampWithHash struct {
	transport
	kind stamp.Kind
	port uint16
	path string
}

func (h stampWithHash) config(s *lab.Scene, hash [32]byte) string {
	h.permit(s)
	if h.kind == stamp.ODoHRelay {
		return direct(s, fmt.Sprintf("{url: %q, ca: %q, relay: %q}", relays(s).TargetStamp(), s.CAFile, relays(s).ODoHStamp(hash)))
	}
	at := netip.AddrPortFrom(s.Resolver.Addr(), h.port)
	text, err := stamp.Stamp{Kind: h.kind, Addr: at, Host: name.Must(at.String()), Path: h.path, Hashes: [][32]byte{hash}}.Encode()
	if err != nil {
		panic(err)
	}
	return direct(s, "{"+trusted(s, text)+"}")
}

// authority gives the certificate of the scene's authority.
func authority(s *lab.Scene) *x509.Certificate { return authorityOf(s.CA) }

func authorityOf(ca *dnstest.CA) *x509.Certificate {
	block, _ := pem.Decode(ca.PEM())
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		panic(err)
	}
	return c
}

// issued gives one certificate for the resolver and its relays, always the same.
func issued(s *lab.Scene) tls.Certificate {
	c, _ := pinnedOnes.LoadOrStore(s.Dir, s.CA.Issue(nil, s.Resolver.Certified()))
	return c.(tls.Certificate)
}

func TestStamps_WhatIsAskedForCannotBeToldByItsLength(t *testing.T) {
	for _, c := range stamped {
		if c.seen == nil {
			continue
		}
		play(t, "F4/"+c.via.name, lab.Cell{Start: with(c.via.config), After: func(t testing.TB, s *lab.Scene) {
			served(t, s, other(s, "a-rather-long-name-that-makes-more-octets"))
			lengths := map[int]int{}
			for _, r := range s.Resolver.Relays.Target.Seen() {
				if r.Method == http.MethodPost {
					lengths[len(r.Body)]++
				}
			}
			for _, packet := range s.Resolver.Relays.Crypt.Seen() {
				lengths[len(packet)]++ // that for the certificate has the length of its own
			}
			if len(lengths) == 0 || len(lengths) > 2 || c.via.tls && len(lengths) != 1 {
				t.Errorf("questions by their lengths: %v", lengths)
			}
		}})
	}
}
