package daemon

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/lab/memory"
	"watertight/name"
	"watertight/route"
)

// with runs a test in a world with a policy or routes, on each way.
func with(t *testing.T, what, extra string, test func(*world)) {
	for _, v := range ways {
		t.Run(what+"/"+string(v), func(t *testing.T) {
			inWorld(t, v, dot, func(w *world) {
				w.extra = extra
				w.ready(w.text())
				test(w)
			})
		})
	}
}

// turnsAway wants targets to be refused without a question asked and without an octet sent.
func (w *world) turnsAway(code fault.Code, targets ...string) {
	w.t.Helper()
	for _, to := range targets {
		quiet, asked := w.Quiet(), len(w.own.Log())+len(w.below.Log())
		w.fails(to, code, "")
		if since := quiet(); len(since) > 0 || len(w.own.Log())+len(w.below.Log()) != asked {
			w.t.Errorf("%s was refused, and yet %q", to, since)
		}
		if e := w.sink.last(); e.Code != code {
			w.t.Errorf("%s was reported as %q", to, e.Code)
		}
	}
}

func TestPlainHTTP(t *testing.T) {
	absolute := func(to string) route.Request {
		r := request(to)
		r.Door, r.PlainHTTP = event.DoorHTTP, true
		return r
	}
	with(t, "refused", "", func(w *world) {
		w.turnsAway(fault.PolicyPlainHTTP, hostName+":80", "93.184.216.34:80")
		_, err := w.g.table.Dial(w.t.Context(), absolute(target))
		w.isFault(err, target, fault.PolicyPlainHTTP, "clear")
	})
	with(t, "allowed", "policy: {plain_http: allow}\n", func(w *world) {
		conn, err := w.g.table.Dial(w.t.Context(), absolute(target))
		if err != nil {
			w.t.Fatal(err)
		}
		defer conn.Close()
		w.talks(conn, "origin")
		w.allow(netip.MustParseAddrPort("93.184.216.34:80"))
		w.fails(hostName+":80", fault.ConnectRefused, "") // nobody listens there, and it was tried
	})
}

func TestPlainDNS_isRefusedWhateverElseIsAllowed(t *testing.T) {
	targets := []string{"9.9.9.9:53", "185.12.0.53:53", "[2620:fe::fe]:53", hostName + ":53", "dns.quad9.net:53", "224.0.0.251:5353", "93.184.216.34:5355", "93.184.216.34:137"}
	with(t, "sealed", "", func(w *world) { w.turnsAway(fault.PolicyForeignResolver, targets...) })
	with(t, "all allowed", "policy: {plain_http: allow, foreign_resolvers: allow, private_targets: allow, client_resolved: allow}\n",
		func(w *world) { w.turnsAway(fault.PolicyForeignResolver, targets...) })
}

func TestForeignResolvers(t *testing.T) {
	with(t, "refused", "", func(w *world) {
		w.turnsAway(
			fault.PolicyForeignResolver,
			hostName+":853", "93.184.216.34:853", "[2606:2800:220:1::34]:853", hostName+":8853",
			"dns.google:443", "DNS.Google.:443", "cloudflare-dns.com:443", "mozilla.cloudflare-dns.com:443", "dns.quad9.net:443", "one.one.one.one:443",
			"9.9.9.9:443", "1.1.1.1:443", "[2620:fe::fe]:443", "[::ffff:8.8.8.8]:443",
		)
	})
	with(t, "refused though its name is nobody's", "", func(w *world) {
		w.own.Fail(always(zoneOf(hostName + ". 60 A 1.1.1.1")))
		w.fails(target, fault.PolicyForeignResolver, "1.1.1.1")
	})
	with(t, "allowed", "policy: {foreign_resolvers: allow}\n", func(w *world) {
		resolver := netip.MustParseAddrPort("9.9.9.9:443")
		w.allow(resolver)
		w.Origin(resolver.String(), "quad9")
		w.reaches(resolver.String(), "quad9")
		w.allow(netip.MustParseAddrPort("93.184.216.34:853"))
		w.fails(hostName+":853", fault.ConnectRefused, "")
	})
}

// private are addresses that are not of the public internet, in all their disguises.
var private = []string{
	"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.0.192",
	"198.18.0.1", "::1", "::", "fe80::1", "fd00::1", "fec0::1", "ff02::1", "2001:db8::1", "100::1",
	"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", // mapped and compatible
	"64:ff9b::a00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", // NAT64
	"2002:a00:1::1", "2002:7f00:1::", "2002:c0a8:101::1", // 6to4
	"2001:0:a00:1::", // Teredo
}

func TestPrivateTargets(t *testing.T) {
	with(t, "refused as literals", "", func(w *world) {
		for _, a := range private {
			addr := netip.MustParseAddr(a).Unmap()
			w.turnsAway(fault.PolicyPrivateTarget, netip.AddrPortFrom(addr, 443).String())
			if !addr.Is4() {
				continue
			}
			mapped := name.Must("[::ffff:" + addr.String() + "]:443")
			_, err := w.g.table.Dial(w.t.Context(), route.Request{Door: event.DoorSOCKS5, Target: mapped})
			w.isFault(err, mapped.String(), fault.PolicyPrivateTarget, "")
		}
	})
	with(t, "refused as answers: DNS rebinding", "", func(w *world) {
		now := func(records ...string) {
			time.Sleep(later) // longer than it is remembered that there was none
			w.own.Fail(always(zoneOf(records...)))
		}
		for _, a := range private {
			typ := "A"
			if strings.Contains(a, ":") {
				typ = "AAAA"
			}
			now(hostName + ". 0 " + typ + " " + a)
			w.fails(target, fault.PolicyPrivateTarget, hostName)
		}
		// A public address today, the router tomorrow: each answer is checked.
		now(hostName + ". 0 A " + originAt.Addr().String())
		w.reaches(target, "origin")
		now(hostName + ". 0 A 192.168.1.1")
		w.fails(target, fault.PolicyPrivateTarget, "192.168.1.1")
		// Of several addresses only those that may be dialled are.
		now(hostName+". 0 A 10.0.0.1", hostName+". 0 AAAA ::1", hostName+". 0 A "+originAt.Addr().String())
		w.reaches(target, "origin")
	})
	with(t, "some allowed", "policy: {private_targets: [10.1.0.0/16, fd00::/8]}\n", func(w *world) {
		office := netip.MustParseAddrPort("10.1.2.3:443")
		w.allow(office)
		w.Origin(office.String(), "office")
		w.reaches(office.String(), "office")
		w.own.Fail(always(zoneOf(hostName + ". 60 A 10.1.2.3")))
		w.reaches(target, "office")
		w.turnsAway(fault.PolicyPrivateTarget, "10.2.0.1:443", "127.0.0.1:443", "[::1]:443")
	})
	with(t, "all allowed, but never the proxy itself", "policy: {private_targets: allow}\n", func(w *world) {
		router := netip.MustParseAddrPort("192.168.1.1:443")
		w.allow(router)
		w.Origin(router.String(), "router")
		w.reaches(router.String(), "router")
		w.turnsAway(fault.PolicyPrivateTarget, "127.0.0.1:8080", "[::ffff:127.0.0.1]:8080")
		w.allow(netip.MustParseAddrPort("[::1]:8080")) // somebody else's
		w.fails("localhost:8080", fault.ConnectRefused, "")
		if w.Dials(netip.MustParseAddrPort("127.0.0.1:8080")) > 0 {
			w.t.Error("the proxy dialled itself")
		}
	})
}

func TestClientResolved(t *testing.T) {
	literal := originAt.String()
	resolve := func(w *world) {
		w.t.Helper()
		r := request(target)
		r.Door = event.DoorResolve
		addrs, err := w.g.table.Resolve(w.t.Context(), r)
		if err != nil || len(addrs) != 1 || addrs[0] != originAt.Addr() {
			w.t.Errorf("RESOLVE gave %v, %v", addrs, err)
		}
	}
	reported := func(w *world, want bool) {
		w.t.Helper()
		if e := w.sink.last(); e.ClientResolved != want {
			w.t.Errorf("reported as client-resolved: %v, want %v", e.ClientResolved, want)
		}
	}
	for _, mode := range []string{"report", "allow"} {
		with(t, mode, "policy: {client_resolved: "+mode+"}\n", func(w *world) {
			w.reaches(literal, "origin")
			reported(w, true)
			w.reaches(target, "origin")
			reported(w, false)
			resolve(w)
			w.reaches(literal, "origin")
			reported(w, false)
		})
	}
	with(t, "refuse", "policy: {client_resolved: refuse}\n", func(w *world) {
		w.turnsAway(fault.PolicyClientResolved, literal, origin6At.String())
		w.reaches(target, "origin")
		w.turnsAway(fault.PolicyClientResolved, literal) // what was dialled for a name was not given to the client
		resolve(w)
		w.reaches(literal, "origin")
		w.turnsAway(fault.PolicyClientResolved, origin6At.String())
		w.ready(w.text("timeout: 4s")) // another channel gave out nothing
		w.turnsAway(fault.PolicyClientResolved, literal)
	})
	with(t, "refuse, and RESOLVE gives nothing that the policy refuses", "policy: {client_resolved: refuse}\n", func(w *world) {
		w.own.Fail(always(zoneOf(hostName + ". 60 A 10.0.0.1")))
		r := request(target)
		r.Door = event.DoorResolve
		_, err := w.g.table.Resolve(w.t.Context(), r)
		w.isFault(err, target, fault.PolicyPrivateTarget, "10.0.0.1")
	})
}

func TestRoutes_theFirstThatMatchesDecides(t *testing.T) {
	inWorld(t, bySOCKS, dot, func(w *world) {
		w.allowed.Dials[memory.Program] = append(w.allowed.Dials[memory.Program], originAt) // `direct` may reach the origin too
		w.allowed.Secrets[canary] = []string{"own", "below"}
		w.extra = "routes:\n  - {to: bad.example.com, channel: refuse}\n  - {to: four." + canary + ".example.com, channel: direct}\n" +
			"  - {to: [\"*.example.com\", 93.184.216.0/24], channel: out}\n"
		w.ready(w.text())
		for to, channel := range map[string]string{
			"four." + canary + ".example.com:443": "direct", "FOUR." + canary + ".EXAMPLE.com.:443": "direct",
			target: "out", originAt.String(): "out", "bad.example.com:443": "", "example.com:443": "", "9.9.9.9:8443": "",
		} {
			conn, err := w.dial(to)
			if err == nil {
				conn.Close()
			}
			switch {
			case w.sink.last().Channel != channel:
				w.t.Errorf("%s took the channel %q, want %q", to, w.sink.last().Channel, channel)
			case channel == "" && (err == nil || fault.Of(err).Code != fault.PolicyRoute):
				w.t.Errorf("%s: %v", to, err)
			case channel != "" && err != nil:
				w.t.Errorf("%s: %v", to, err)
			}
		}
		for _, asked := range []struct {
			who  string
			host string
			want bool
		}{{"below", "four.", true}, {"below", "api.", false}, {"own", "four.", false}, {"own", "api.", true}} {
			log := map[string][]string{"below": names(w.below), "own": names(w.own)}[asked.who]
			if got := strings.Contains(strings.Join(log, " "), asked.host+canary); got != asked.want {
				w.t.Errorf("%s was asked for %s: %v", asked.who, asked.host, got)
			}
		}
	})
}

// A client takes the address that a record hints at without asking for another (RFC 9460, section 7.3).
func TestHintsOfHTTPSRecordsHaveToPassThePolicyAsAddressesDo(t *testing.T) {
	client := netip.MustParseAddrPort("127.0.0.1:50000")
	ask := func(w *world, records ...string) error {
		time.Sleep(later)
		w.own.Fail(always(zoneOf(records...)))
		q := dnswire.Question{Name: hostName, Type: dnswire.HTTPS}
		if a, ok := w.g.table.Cached(client, q); ok {
			w.t.Errorf("%v is known", a.Records)
		}
		_, err := w.g.table.Exchange(w.t.Context(), client, q)
		return err
	}
	const public = " 0 HTTPS 1 . alpn=h2 ipv4hint=93.184.216.34"
	with(t, "refused", "", func(w *world) {
		for _, hint := range []string{
			"ipv4hint=10.0.0.1", "ipv4hint=93.184.216.34,127.0.0.1", "ipv6hint=::1", "ipv6hint=fd00::1", "ipv6hint=64:ff9b::a00:1",
			"ipv6hint=2002:7f00:1::", "ipv6hint=2001:0:4136:e378:8000:63bf:3fff:fdd2", "ipv6hint=fe80::1",
		} {
			err := ask(w, hostName+"."+public, hostName+". 0 HTTPS 2 . "+hint)
			if err == nil || fault.Of(err).Code != fault.PolicyPrivateTarget {
				w.t.Errorf("%s: %v", hint, err)
			}
		}
	})
	with(t, "those that are allowed, and remembered as given out", "policy: {client_resolved: refuse, private_targets: 10.0.0.0/8}\n", func(w *world) {
		w.turnsAway(fault.PolicyClientResolved, originAt.String())
		if err := ask(w, hostName+"."+public+",10.0.0.1"); err != nil {
			w.t.Error(err)
		}
		w.reaches(originAt.String(), "origin")
	})
}

// What is answered here is no server's word, which could lead a client into a network that it should not reach.
func TestAddressesOfSpecialUseNamesAreGivenAtTheDoorOfDNS(t *testing.T) {
	client := netip.MustParseAddrPort("127.0.0.1:50000")
	with(t, "localhost", "", func(w *world) {
		for host, want := range map[string]string{"localhost": "[127.0.0.1]", "Api.Localhost.": "[127.0.0.1]", "ipv4only.arpa": "[192.0.0.170 192.0.0.171]"} {
			q := dnswire.Question{Name: host, Type: dnswire.A}
			a, err := w.g.table.Exchange(w.t.Context(), client, q)
			if err != nil || fmt.Sprint(a.Addrs()) != want {
				w.t.Errorf("%s: %v, %v", host, a, err)
			}
			if a, ok := w.g.table.Cached(client, q); !ok || fmt.Sprint(a.Addrs()) != want {
				w.t.Errorf("%s is not known at once: %v", host, a)
			}
		}
		time.Sleep(later)
		w.own.Fail(always(zoneOf(hostName+". 0 CNAME localhost.", "localhost. 0 A 127.0.0.1")))
		if _, err := w.g.table.Exchange(w.t.Context(), client, dnswire.Question{Name: hostName, Type: dnswire.A}); err == nil || fault.Of(err).Code != fault.PolicyPrivateTarget {
			w.t.Errorf("a server's word that a name is this host: %v", err)
		}
	})
}
