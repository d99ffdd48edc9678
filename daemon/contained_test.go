package daemon

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/name"
	"watertight/route"
)

// program is the address of a contained program.
var program = netip.MustParseAddrPort("198.18.0.1:50000")

// Addresses that stand for each name in these tests.
var standIn, standIn6 = netip.MustParseAddr("198.18.1.1"), netip.MustParseAddr("fd00::198.18.1.1")

// stand asks for an address of a name as a contained program does, and gives what it hears in short.
func (w *world) stand(host string, typ dnswire.Type) string {
	w.t.Helper()
	q := dnswire.Question{Name: host, Type: typ}
	a, err := w.g.table.StandIn(program, q, func(h name.Host) (*dnswire.Answer, error) {
		if h.String() != host {
			w.t.Errorf("an address is made for %v", h)
		}
		return dnswire.Local(q, dnswire.Reply{Answer: []dnswire.Record{
			dnswire.AddrRecord(host, 60, map[dnswire.Type]netip.Addr{dnswire.A: standIn, dnswire.AAAA: standIn6}[typ]),
		}})
	})
	if err != nil {
		return string(fault.Of(err).Code)
	}
	text := dnswire.RCodeText(a.RCode)
	for _, r := range a.Final() {
		text += " " + r.Addr.String()
	}
	return text
}

func TestContained_anAddressStandsForANameAndNobodyIsAsked(t *testing.T) {
	everyWay(t, func(w *world) {
		w.extra = "routes: [{to: refused.example.com, channel: refuse}, {to: '*', channel: " + w.last() + "}]\n"
		w.ready(w.text())
		quiet, asked := w.Quiet(), len(w.own.Log())+len(w.below.Log())
		for host, want := range map[string]string{
			hostName:              "NOERROR " + standIn.String(),
			"nosuch.example.com":  "NOERROR " + standIn.String(),
			"_sip.example.com":    "NOERROR " + standIn.String(),
			"refused.example.com": "POLICY_ROUTE",
			"localhost":           "NOERROR 127.0.0.1",
			"printer.local":       "NXDOMAIN",
			"nosuch":              "NXDOMAIN",
			"wpad":                "NXDOMAIN",
			"ipv4only.arpa":       "NOERROR 192.0.0.170 192.0.0.171",
			`what\046else.com`:    "DNS_SERVFAIL",
			"192.0.2.1":           "DNS_SERVFAIL",
			"":                    "DNS_SERVFAIL",
		} {
			if got := w.stand(host, dnswire.A); got != want {
				t.Errorf("%s: %s, want %s", host, got, want)
			}
		}
		if got := w.stand("ipv4only.arpa", dnswire.AAAA); got != "NOERROR" {
			t.Errorf("a prefix of NAT64 is found: %s", got)
		}
		if since := quiet(); len(since) > 0 || len(w.own.Log())+len(w.below.Log()) != asked {
			t.Errorf("it was sent: %q", since)
		}
	})
}

// last is the channel that carries a world's traffic.
func (w *world) last() string {
	if w.way == straight {
		return "direct"
	}
	return "out"
}

// everyWay runs a test over each way out.
func everyWay(t *testing.T, test func(*world)) {
	for _, v := range ways {
		t.Run(string(v), func(t *testing.T) { inWorld(t, v, dot, test) })
	}
}

func TestContained_whatTheResolverFoundOutIsSaidWithoutAskingAgain(t *testing.T) {
	inWorld(t, straight, dot, func(w *world) {
		w.ready(w.text())
		gone, text := "gone."+canary+".example.com", "text."+canary+".example.com"
		for _, host := range []string{gone, text, "four." + canary + ".example.com"} {
			if got := w.stand(host, dnswire.A); got != "NOERROR "+standIn.String() {
				t.Errorf("%s: %s", host, got)
			}
			if conn, err := w.dial(host + ":443"); err == nil {
				conn.Close()
			}
		}
		asked := len(w.below.Log())
		for q, want := range map[dnswire.Question]string{
			{Name: gone, Type: dnswire.A}:                                 "NXDOMAIN",
			{Name: gone, Type: dnswire.AAAA}:                              "NXDOMAIN",
			{Name: text, Type: dnswire.A}:                                 "NOERROR",
			{Name: text, Type: dnswire.AAAA}:                              "NOERROR",
			{Name: "four." + canary + ".example.com", Type: dnswire.AAAA}: "NOERROR " + standIn6.String(),
		} {
			if got := w.stand(q.Name, q.Type); got != want {
				t.Errorf("%s %v: %s, want %s", q.Name, q.Type, got, want)
			}
		}
		if n := len(w.below.Log()); n != asked {
			t.Errorf("the resolver was asked %d times more", n-asked)
		}
		time.Sleep(24 * time.Hour)
		if got := w.stand(gone, dnswire.A); got != "NOERROR "+standIn.String() {
			t.Errorf("a day later it is still gone: %s", got)
		}
	})
}

func TestContained_otherQuestionsAreAskedInTheChannelAndBringNoAddress(t *testing.T) {
	inWorld(t, straight, dot, func(w *world) {
		service := "service." + canary + ".example.com"
		w.extra = "routes: [{to: refused.example.com, channel: refuse}, {to: '*', channel: direct}]\n"
		w.ready(w.text())
		w.own.Fail(always(zoneOf(append(slices.Clone(records), service+`. 60 HTTPS 1 . alpn=h2 ipv4hint=10.0.0.1 ech="AEX+DQBBWwAgACCBdNrnZxqNrUXSyimqqnfmNG4lHtVsbmaaIeRoUoFWFQAEAAEAAQAScHVibGljLmV4YW1wbGUuY29tAAA="`)...)))
		a, err := w.g.table.ExchangeBare(w.t.Context(), program, dnswire.Question{Name: service, Type: dnswire.HTTPS})
		if err != nil {
			t.Fatal(err)
		}
		if s := a.Services(); len(a.Hints()) > 0 || len(s) != 1 || len(s[0].ECH) == 0 || w.g.table.GivenFor(program.Addr(), netip.MustParseAddr("10.0.0.1")) != nil {
			t.Errorf("hints %v, services %+v", a.Hints(), s)
		}
		if a, err := w.g.table.ExchangeBare(w.t.Context(), program, dnswire.Question{Name: "text." + canary + ".example.com", Type: dnswire.TXT}); err != nil || len(a.Records) != 1 || !strings.Contains(a.Records[0].Text(), "hello") {
			t.Errorf("%v, %v", a, err)
		}
		for q, code := range map[dnswire.Question]fault.Code{
			{Name: "refused.example.com", Type: dnswire.TXT}: fault.PolicyRoute,
			{Name: hostName, Type: dnswire.A}:                fault.Internal,
			{Name: hostName, Type: dnswire.AAAA}:             fault.Internal,
		} {
			if _, err := w.g.table.ExchangeBare(w.t.Context(), program, q); err == nil || fault.Of(err).Code != code {
				t.Errorf("%v: %v", q, err)
			}
		}
	})
}

func TestContained_anAddressThatNobodyGaveOutIsRefusedUnlessTheConfigurationSaysOtherwise(t *testing.T) {
	for policy, want := range map[string]fault.Code{
		"":                                   fault.PolicyClientResolved,
		"policy: {client_resolved: allow}\n": fault.PolicyClientResolved,
		"exec: {client_resolved: refuse}\n":  fault.PolicyClientResolved,
		"exec: {client_resolved: report}\n":  "",
		"exec: {client_resolved: allow}\n":   "",
	} {
		inWorld(t, straight, dot, func(w *world) {
			w.extra = policy
			w.ready(w.text())
			for _, door := range []event.Door{event.DoorExec, event.DoorTransparent} {
				r := route.Request{Door: door, Client: program, Target: name.Must(originAt.String()), Original: originAt.Addr()}
				conn, err := w.g.table.Dial(w.t.Context(), r)
				code := fault.Code("")
				if err != nil {
					code = fault.Of(err).Code
					if step := fault.Of(err).NextStep(); strings.Contains(step, "`exec.client_resolved`") != (door == event.DoorExec) {
						t.Errorf("%q at %s: the next step is %q", policy, door, step)
					}
				} else {
					conn.Close()
				}
				if door == event.DoorExec && code != want || w.g.table.RefusesUngiven(door) != (code != "") {
					t.Errorf("%q at %s: %q", policy, door, code)
				}
			}
			if _, err := w.g.table.DialPacket(w.t.Context(), route.Request{Door: event.DoorExecUDP, Client: program, Target: name.Must("93.184.216.34:123"), Original: originAt.Addr()}); want != "" && (err == nil || !isCode(err, want)) {
				t.Errorf("%q, datagrams: %v", policy, err)
			}
		})
	}
}

func isCode(err error, code fault.Code) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Code == code
}
