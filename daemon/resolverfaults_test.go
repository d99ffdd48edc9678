package daemon

import (
	"strings"
	"testing"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/dnstest"
	"watertight/lab/memory"
)

// trouble is a fault of a resolver, and what a client sees of it.
type trouble struct {
	name   string
	fault  memory.Fault
	only   transport  // empty for both
	code   fault.Code // once the channel was ready; empty where the fault does no harm
	part   string
	starts bool // a channel gets ready in spite of it: a reply that says no is a reply
	pins   bool // the resolver is as always, and the configuration asks for another key
}

func answers(change func(dnstest.Handler) dnstest.Handler) memory.Fault {
	return memory.Fault{Answers: change, Warm: true}
}

func always(h dnstest.Handler) memory.Fault {
	return answers(func(dnstest.Handler) dnstest.Handler { return h })
}

// ttl lets a resolver give every record the same TTL, in seconds.
func ttl(seconds string) memory.Fault {
	var zone dnstest.Zone
	for _, r := range records {
		zone = append(zone, strings.Replace(r, " 60 ", " "+seconds+" ", 1))
	}
	return always(zone.Handler())
}

var troubles = []trouble{
	{name: "refused", fault: memory.Fault{Gone: true}, code: fault.ResolverUnreachable, part: "refused the connection"},
	{name: "blackholed", fault: memory.Fault{Black: true}, code: fault.DNSTimeout, part: "in time"},
	{name: "half-open", fault: memory.Fault{Mute: true}, code: fault.DNSTimeout, part: "in time"},
	{name: "expired certificate", fault: memory.Fault{TLS: memory.Expired}, code: fault.ResolverUntrusted, part: "expired"},
	{name: "wrong name", fault: memory.Fault{TLS: memory.WrongName}, code: fault.ResolverUntrusted, part: "does not cover"},
	{name: "unknown CA", fault: memory.Fault{TLS: memory.UnknownCA}, code: fault.ResolverUntrusted, part: "unknown authority"},
	{name: "wrong pin", pins: true, code: fault.ResolverUntrusted, part: "none of its keys is pinned"},
	{name: "TLS 1.2 only", fault: memory.Fault{TLS: memory.OldTLS}, code: fault.ResolverUntrusted, part: "TLS 1.3"},
	{name: "HTTP 500", fault: always(dnstest.Status(500, "text/plain", "no")), only: doh, code: fault.ResolverUnreachable, part: "HTTP 500"},
	{name: "redirect to another host", fault: always(dnstest.Redirect("https://185.12.0.53/dns-query")), only: doh, code: fault.ResolverUnreachable, part: "never followed"},
	{name: "captive page", fault: always(dnstest.Captive), only: doh, code: fault.ResolverUnreachable, part: "text/html"},
	{name: "SERVFAIL", fault: always(dnstest.RCode(dnswire.ServFail)), code: fault.DNSServFail, part: "SERVFAIL", starts: true},
	{name: "REFUSED", fault: always(dnstest.RCode(dnswire.Refused)), code: fault.DNSServFail, part: "REFUSED", starts: true},
	{name: "malformed", fault: always(dnstest.Malformed), code: fault.DNSServFail, part: "malformed"},
	{name: "oversize", fault: always(dnstest.Oversize), code: fault.DNSServFail, part: "the resolver"},
	{name: "wrong ID", fault: answers(dnstest.WrongID), code: fault.DNSServFail, part: "ID"},
	{name: "wrong question", fault: always(dnstest.WrongQuestion), code: fault.DNSServFail, part: "another question"},
	{name: "truncated", fault: answers(dnstest.Truncated), code: fault.DNSServFail, part: "truncated"},
	{name: "silent", fault: always(dnstest.Silent), code: fault.DNSTimeout, part: "in time"},
	{name: "hangs up", fault: always(dnstest.Hangup), code: fault.ResolverUnreachable, part: "closed the connection"},
	{name: "TTL 0", fault: ttl("0"), starts: true},
	{name: "TTL 2^31-1", fault: ttl("2147483647"), starts: true},
}

// everyTrouble runs a test for each fault of a resolver, each way out, each transport.
func everyTrouble(t *testing.T, test func(*world, trouble)) {
	for _, v := range ways {
		for _, k := range transports {
			for _, bad := range troubles {
				if bad.only != "" && bad.only != k {
					continue
				}
				t.Run(bad.name+"/"+string(v)+"/"+string(k), func(t *testing.T) {
					t.Parallel()
					inWorld(t, v, k, func(w *world) { test(w, bad) })
				})
			}
		}
	}
}

// later is longer than any failure is remembered, and than any connection stays open unused.
const later = 10 * time.Minute

func TestAResolverThatFails_isAFaultOfItsOwn_andNothingElseIsAsked(t *testing.T) {
	everyTrouble(t, func(w *world, bad trouble) {
		if bad.pins {
			w.ready(w.text())
			w.reaches("four."+canary+".example.com:443", "origin")
			w.run(w.mispinned())
			w.fails(target, fault.NotReady, bad.part)
			return
		}
		w.ready(w.text())
		w.own.Fail(bad.fault)
		if bad.code == "" {
			w.reaches(target, "origin")
			return
		}
		w.fails(target, bad.code, bad.part)
		w.fails(target, bad.code, "") // remembered or asked again: the same
		w.own.Fail(memory.Fault{})
		time.Sleep(later)
		w.reaches(target, "origin")
	})
}

func TestAResolverThatFailsFromTheStart_neverMakesTheChannelReady(t *testing.T) {
	everyTrouble(t, func(w *world, bad trouble) {
		w.own.Fail(bad.fault)
		if bad.pins {
			w.run(w.mispinned())
		} else {
			w.run(w.text())
		}
		switch {
		case bad.code == "":
			w.reaches(target, "origin")
			return
		case bad.starts:
			w.fails(target, bad.code, bad.part)
		default:
			w.fails(target, fault.NotReady, "is not ready: ")
			for _, q := range w.own.Log() {
				if strings.Contains(q.Name, canary) {
					w.t.Errorf("the channel is not ready, and its resolver was asked for %s", q.Name)
				}
			}
		}
		if bad.pins {
			return
		}
		w.own.Fail(memory.Fault{})
		time.Sleep(later)
		w.reaches(target, "origin")
	})
}

// mispinned is the world's configuration with a pin that the channel's resolver cannot meet.
func (w *world) mispinned() string {
	host, at := ownName, ownAddr
	if w.way == straight {
		host, at = belowName, belowAddr
	}
	return strings.Replace(w.text(), w.upstream(host, at), w.upstream(host, at, authority.Foreign), 1)
}

func TestTheTTLOfAnAnswer_isKept(t *testing.T) {
	for seconds, again := range map[string]int{"0": 2, "60": 1, "2147483647": 1} {
		t.Run(seconds, func(t *testing.T) {
			inWorld(t, bySOCKS, doh, func(w *world) {
				w.ready(w.text())
				w.own.Fail(ttl(seconds))
				w.reaches(target, "origin")
				time.Sleep(time.Second)
				w.reaches(target, "origin")
				if n := w.own.Count(hostName, dnswire.A); n != again {
					w.t.Errorf("asked %d times, want %d", n, again)
				}
			})
		})
	}
}
