package cells

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"watertight/capture"
	"watertight/config"
	"watertight/daemon"
	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/lab/memory"
	"watertight/name"
	"watertight/stamp"
)

func sdns(s stamp.Stamp) string {
	text, err := s.Encode()
	if err != nil {
		panic(err)
	}
	return text
}

func targetAt(host string, port uint16) name.Target {
	t, err := name.New(name.MustHost(host), port)
	if err != nil {
		panic(err)
	}
	return t
}

// crypt is the stamp of the resolver for DNSCrypt.
func (p *site) crypt(key [32]byte) string {
	return sdns(stamp.Stamp{Kind: stamp.DNSCrypt, Addr: netip.AddrPortFrom(p.resolver, portCrypt), Provider: p.provider, PublicKey: key})
}

func (p *site) cryptRelay() string {
	return sdns(stamp.Stamp{Kind: stamp.DNSCryptRelay, Addr: netip.AddrPortFrom(p.relay, portCrypt)})
}

// odohRelay is the stamp of the relay of ODoH by its address or its name.
func (p *site) odohRelay(host string, hashes ...[32]byte) string {
	return sdns(stamp.Stamp{Kind: stamp.ODoHRelay, Host: targetAt(host, 443), Path: "/proxy", Hashes: hashes})
}

// The world in memory.

const secret = "k7q2vx9m4t"

var matrixSite = site{
	resolver: netip.MustParseAddr("185.10.0.53"), relay: netip.MustParseAddr("185.13.0.7"), vacant: netip.MustParseAddr("185.14.0.9"),
	hops: []netip.AddrPort{
		netip.MustParseAddrPort("146.1.0.1:1080"), netip.MustParseAddrPort("146.1.0.2:3128"), netip.MustParseAddrPort("146.1.0.3:443"),
	},
}

var matrixBelow = netip.MustParseAddr("185.11.0.53")

// matrixAuthority is shared by all cells in memory: certificates take time.
var matrixAuthority = sync.OnceValue(func() *memory.Authority {
	return memory.NewAuthority([]string{resolverName, relayName}, []netip.Addr{matrixSite.resolver, matrixSite.relay, matrixBelow})
})

type memoryWorld struct {
	*memory.Internet
	row    row
	way    pathTo
	place  site
	server *dnstest.Server
	crypt  *dnstest.CryptRelay
	target *dnstest.ODoHTarget
	hops   []*memory.Proxy
}

// newMemory makes an internet with one resolver, that of the row, and everything that leads there.
func newMemory(t *testing.T, dir string, r row, w pathTo) *memoryWorld {
	auth := matrixAuthority()
	m := &memoryWorld{Internet: memory.New(auth, nil), row: r, way: w, place: matrixSite}
	t.Cleanup(m.Close)
	m.Resolver("below", matrixBelow)
	m.place.hops = nil
	for i, k := range w.hops {
		at := matrixSite.hops[map[string]int{"socks5": 0, "http": 1, "h3": 2}[k.scheme]]
		m.place.hops = append(m.place.hops, at)
		host := fmt.Sprint("hop", i)
		var opened *memory.Proxy
		switch k.scheme {
		case "h3":
			opened = m.HTTP3(host, at.String())
		case "http":
			opened = m.CONNECT(host, at.String(), "", "")
		default:
			opened = m.SOCKS5(host, at.String(), "", "")
		}
		m.hops = append(m.hops, opened)
	}
	provider := dnstest.NewProvider()
	p := &m.place
	p.provider, p.key = provider.Name, provider.Key()
	p.pin, p.otherPin = auth.CA.Pin(), auth.Foreign
	p.hash = sha256.Sum256(authorityOf(auth.CA).RawTBSCertificate)
	p.ca, p.otherCA = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "other.pem")
	for path, ca := range map[string]*dnstest.CA{p.ca: auth.CA, p.otherCA: otherAuthority()} {
		if err := os.WriteFile(path, ca.PEM(), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	zone := dnstest.Zone{secret + ".example.com. 60 A 93.184.216.34", ". 3600 NS a.root-servers.net."}.Handler()
	cert := auth.CA.Issue([]string{resolverName, relayName}, []netip.Addr{p.resolver, p.relay})
	hidden := dnstest.Takes(matrixKeys)
	on := m.Net()
	at := netip.AddrPortFrom(p.resolver, r.port)
	relayAt := netip.AddrPortFrom(p.relay, r.port)
	switch {
	case r.crypt():
		m.server = dnstest.ServeDNSCrypt(on.Listen(at), on.ListenPacket(at), provider, zone)
		m.crypt = dnstest.ServeCryptRelay(on.Listen(relayAt), on.ListenPacket(relayAt), on.DialPacketAddr)
		m.OnClose(func() { _ = m.crypt.Close() })
	case r.relay:
		m.target = dnstest.NewODoHTarget(targetName, "/dns-query")
		m.server = dnstest.ServeODoH(on.Listen(relayAt), cert, m.target, zone, hidden)
	case r.packets && r.port == 853:
		m.server = dnstest.ServeDoQ(on.ListenPacket(at), cert, zone, hidden)
	case r.packets:
		m.server = dnstest.ServeDoH3(on.ListenPacket(at), cert, zone, hidden)
	case r.port == 853:
		m.server = dnstest.ServeDoT(on.Listen(at), cert, zone, hidden)
	default:
		m.server = dnstest.ServeDoH(on.Listen(at), cert, zone, hidden)
	}
	m.OnClose(func() { _ = m.server.Close() })
	return m
}

var otherAuthority = sync.OnceValue(dnstest.NewCA)

func (m *memoryWorld) site(testing.TB) *site { return &m.place }

func (m *memoryWorld) below() string {
	return fmt.Sprintf("{url: \"tls://%v\", ca: %q}", matrixBelow, m.place.ca)
}

func (m *memoryWorld) kill(_ testing.TB, w pathTo, part string) {
	switch {
	case part == "hop":
		m.hops[len(w.hops)-1].Stop()
	case m.crypt != nil:
		_ = m.crypt.Close()
	default:
		_ = m.server.Close()
	}
}

func (m *memoryWorld) asked() int { return m.server.Count(secret+".example.com", dnswire.A) }

func (m *memoryWorld) relayed() int {
	switch {
	case m.crypt != nil:
		return len(m.crypt.Seen())
	case m.target != nil:
		return len(m.target.Seen())
	}
	return 0
}

func (m *memoryWorld) resolve(t testing.TB, text string) result {
	c, err := config.Parse("watertight.yaml", []byte(text), config.ThisHost())
	if err != nil {
		return result{said: err.Error()}
	}
	r, err := daemon.ResolveOn(t.Context(), m.PacketGround(memory.Program), c, "", name.MustHost(secret+".example.com"), []dnswire.Type{dnswire.A})
	if err != nil {
		return result{said: err.Error()}
	}
	return resultOf(t, r)
}

func resultOf(t testing.TB, r *daemon.Resolution) result {
	t.Helper()
	if r.Error != nil || len(r.Answers) != 1 {
		t.Fatalf("the question was not asked: %+v", r)
	}
	out := result{started: true, records: len(r.Answers[0].Records)}
	if e := r.Answers[0].Error; e != nil {
		out.code = string(e.Code)
	}
	return out
}

// play plays one cell, after which nobody may have dialled but along the way, and nobody may have read the name.
func (m *memoryWorld) play(t *testing.T, c choice) {
	t.Helper()
	quiet := m.Quiet()
	end := prove(t, m, m.row, m.way, c)
	if !end.IsValid() {
		if dialled := quiet(); len(dialled) > 0 {
			t.Errorf("it did not start, and dialled %v", dialled)
		}
		return
	}
	along := append(append([]netip.AddrPort(nil), m.place.hops...), end)
	allowed := memory.Allowed{Dials: map[string][]netip.AddrPort{memory.Program: {along[0]}}, Secrets: map[string][]string{secret: nil}}
	for i, h := range m.hops {
		allowed.Dials[h.Name] = append(allowed.Dials[h.Name], along[i+1])
	}
	if len(m.hops) > 0 && m.way.datagrams() {
		allowed.Dials[memory.Program] = append(allowed.Dials[memory.Program], m.hops[0].Relays()...)
	}
	if len(m.hops) > 0 {
		allowed.Dials[memory.Program] = append(allowed.Dials[memory.Program], netip.AddrPortFrom(matrixBelow, 853))
	}
	for _, leak := range m.Leaks(allowed) {
		t.Error("LEAK:", leak)
	}
	dead := c.name == "a hop that is dead"
	if n := m.Dials(end); (n == 0) != dead {
		t.Errorf("the end of the way, %v, was dialled %d times", end, n)
	}
}

// The world of packets.

type packetWorld struct {
	s         *lab.Scene
	row       row
	way       pathTo
	resolver  *internet.Resolver // of the row
	under     *internet.Resolver
	hops      []*hop
	place     site
	permitted []capture.Peer
}

func newPackets(t testing.TB, s *lab.Scene, r row, w pathTo) *packetWorld {
	t.Helper()
	l := &packetWorld{s: s, row: r, way: w, resolver: s.Resolver}
	relays := relays(s)
	p := &l.place
	p.resolver, p.relay = s.Resolver.Addr(), relays.Addr()
	p.vacant = lab.Must(s.AddHost("vacant"))(t).Addr()
	p.provider, p.key = s.Resolver.Provider.Name, s.Resolver.Provider.Key()
	p.pin, p.otherPin = s.CA.Pin(), otherAuthority().Pin()
	p.hash = sha256.Sum256(authority(s).RawTBSCertificate)
	p.ca, p.otherCA = s.CAFile, filepath.Join(s.Dir, "other.pem")
	if err := os.WriteFile(p.otherCA, otherAuthority().PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	for i, k := range w.hops {
		h := addHop(t, s, fmt.Sprintf("hop%d.example.net", i), k)
		l.hops, p.hops = append(l.hops, h), append(p.hops, h.At(k.port))
	}
	if len(l.hops) > 0 {
		l.under = lab.Must(s.AddResolver("below.example.net"))(t)
		l.permitted = append(l.under.Host.Peers(capture.TCP, 853), l.hops[0].peers(w.hops[0])...)
	}
	if err := s.Client.AwaitLink(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *packetWorld) site(testing.TB) *site { return &l.place }

func (l *packetWorld) below() string {
	if l.under == nil {
		return "" // there is no channel underneath
	}
	return "{" + trusted(l.s, l.under.DoTURL()) + "}"
}

func (l *packetWorld) kill(t testing.TB, w pathTo, part string) {
	t.Helper()
	switch {
	case part == "hop":
		l.hops[len(w.hops)-1].close(t)
	case l.row.crypt():
		lab.Must(0, l.resolver.Relays.Crypt.Close())(t)
	default:
		lab.Must(0, l.resolver.Relays.ODoH.Close())(t)
	}
}

func (l *packetWorld) asked() int { return l.resolver.Count(l.s.Canary, dnswire.A) }

func (l *packetWorld) relayed() int {
	return len(l.resolver.Relays.Crypt.Seen()) + len(l.resolver.Relays.Target.Seen())
}

func (l *packetWorld) resolve(t testing.TB, text string) result {
	t.Helper()
	path := filepath.Join(l.s.Dir, "watertight.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := lab.Run(t, lab.Self(l.s.Client, lab.WatertightRole, "resolve", l.s.Canary, "A", "--json", "-c", path))
	const badConfiguration = 2
	if r.Err != nil || r.Code == badConfiguration {
		return result{said: r.Text()}
	}
	var got daemon.Resolution
	if err := json.Unmarshal([]byte(r.Stdout), &got); err != nil {
		t.Fatalf("%v in: %s", err, r.Text())
	}
	return resultOf(t, &got)
}

// play plays one cell, and permits packets to the end of its way where nothing leads there.
func (l *packetWorld) play(t *testing.T, r row, w pathTo, c choice) {
	t.Helper()
	t.Run(c.name, func(t *testing.T) {
		before := len(lab.Must(l.s.Packets())(t))
		end := prove(t, l, r, w, c)
		switch {
		case !end.IsValid():
			if conversed := capture.Strangers(lab.Must(l.s.Packets())(t)[before:], l.permitted); len(conversed) > 0 {
				t.Errorf("it did not start, and there was %v", conversed[0])
			}
		case len(l.hops) == 0:
			for _, proto := range []capture.Proto{capture.TCP, capture.UDP} {
				l.permitted = append(l.permitted, capture.Peer{Proto: proto, At: end})
			}
		}
	})
}

// verdict fails the test if anything left that was not permitted, or anybody on the way could read the name.
func (l *packetWorld) verdict(t testing.TB, s *lab.Scene) {
	t.Helper()
	s.Permitted, s.Readers = l.permitted, nil
	e := s.Gather(t, internet.Result{})
	for _, leak := range s.Leaks(e) {
		t.Error("LEAK:", leak)
	}
	if l.row.packets && !l.way.datagrams() {
		return // nothing ever started
	}
	if !strings.Contains(fmt.Sprint(peersOf(e.Packets)), l.expected().String()) {
		t.Errorf("nothing was exchanged with %v, so that this says nothing", l.expected())
	}
}

// expected is who the client's host must have been seen to speak to.
func (l *packetWorld) expected() netip.Addr {
	switch {
	case len(l.hops) > 0:
		return l.hops[0].Addr()
	case l.row.relay:
		return l.place.relay
	}
	return l.place.resolver
}

func peersOf(packets []capture.Packet) (all []string) {
	for _, p := range packets {
		all = append(all, p.String())
	}
	return all
}
