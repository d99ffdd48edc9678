package daemon

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
	"github.com/quic-go/quic-go"

	"watertight/dnswire"
	"watertight/lab/dnstest"
)

// doorFiles writes a certificate of loopback, its key, and the authority of both ends.
func doorFiles(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	chain, key := dnstest.PEMPair(authority.CA.Issue(nil, []netip.Addr{loopback}))
	for name, b := range map[string][]byte{"cert.pem": chain, "key.pem": key, "ca.pem": authority.CA.PEM()} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// doors is a configuration with these listeners of the DNS door; more stands in the `tls` of each.
func doors(dir, more string, schemes ...string) string {
	list := ""
	for _, scheme := range schemes {
		switch scheme {
		case "":
			list += ", 127.0.0.1:0"
		default:
			list += fmt.Sprintf(", {address: \"%s://127.0.0.1:0\", tls: {cert: %q, key: %q%s}}", scheme, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), more)
		}
	}
	return "listen: {proxy: \"127.0.0.1:0\", dns: [" + strings.TrimPrefix(list, ", ") + "]}\n"
}

// at gives the address of a listener of the DNS door by its scheme.
func (l *live) door(scheme string) *net.UDPAddr {
	l.t.Helper()
	for _, text := range l.at.DNS {
		text, of := strings.CutPrefix(text, scheme)
		if of || scheme == "" && !strings.Contains(text, ":/") {
			at, err := netip.ParseAddrPort(strings.TrimSuffix(text, "/dns-query"))
			if err != nil {
				l.t.Fatal(err)
			}
			return net.UDPAddrFromAddrPort(at)
		}
	}
	l.t.Fatalf("there is no door %q among %q", scheme, l.at.DNS)
	return nil
}

// doq connects to the door of DNS over QUIC, with a client's certificates.
func (l *live) doq(certificates ...tls.Certificate) (*quic.Conn, error) {
	l.t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		l.t.Fatal(err)
	}
	transport := &quic.Transport{Conn: socket}
	l.t.Cleanup(func() { transport.Close(); socket.Close() })
	ctx, cancel := context.WithTimeout(l.t.Context(), limit)
	defer cancel()
	return transport.Dial(ctx, l.door("quic://"), &tls.Config{RootCAs: authority.CA.Pool(), ServerName: "127.0.0.1", NextProtos: []string{"doq"}, Certificates: certificates}, nil)
}

// askDoQ asks for an address on a stream of its own. With TLS 1.3 a server may end the connection before one can be opened.
func askDoQ(t *testing.T, conn *quic.Conn, host string) (*quic.Stream, error) {
	t.Helper()
	stream, err := conn.OpenStreamSync(t.Context())
	if err != nil {
		return nil, err
	}
	_ = stream.SetDeadline(time.Now().Add(limit))
	q := question(t, host)
	_, _ = stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...))
	_ = stream.Close()
	return stream, nil
}

func question(t *testing.T, host string) []byte {
	t.Helper()
	q, err := dnswire.Query(dnswire.Question{Name: host, Type: dnswire.A}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// wantLoopback wants a reply that says what the test's resolver does.
func wantLoopback(t *testing.T, how string, b []byte, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: no reply: %v", how, err)
		return
	}
	a, err := dnswire.ParseAnswer(b, dnswire.Question{Name: hostName, Type: dnswire.A}, 0)
	if err != nil || len(a.Records) != 1 {
		t.Errorf("%s: %v, %+v", how, err, a)
	}
}

func TestQuestionsUnderWayAreAnswered_whereAReloadTakesTheirListenersAway_andAtAStop(t *testing.T) {
	for _, end := range []string{"reload", "stop"} {
		dir := doorFiles(t)
		l := newLive(t, doors(dir, "", "", "quic")).start().awaitReady()
		release := make(chan struct{})
		l.dns.Handle(dnstest.Held(dnstest.Zone{hostName + ". 60 A 127.0.0.1"}.Handler(), release))
		plain, err := net.DialUDP("udp", nil, l.door(""))
		if err != nil {
			t.Fatal(err)
		}
		defer plain.Close()
		_ = plain.SetDeadline(time.Now().Add(limit))
		if _, err := plain.Write(question(t, hostName)); err != nil {
			t.Fatal(err)
		}
		conn, err := l.doq()
		if err != nil {
			t.Fatal(err)
		}
		stream, err := askDoQ(t, conn, hostName)
		if err != nil {
			t.Fatal(err)
		}
		for until := time.Now().Add(limit); l.d.dns.Stats().Waiting != 2; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("the questions do not arrive: %+v", l.d.dns.Stats())
			}
		}
		if end == "reload" {
			l.mustReload("")
		} else {
			l.cancel()
		}
		close(release)
		b := make([]byte, 2048)
		n, err := plain.Read(b)
		wantLoopback(t, end+", UDP", b[:n], err)
		b, err = io.ReadAll(stream)
		wantLoopback(t, end+", QUIC", b[min(2, len(b)):], err)
		<-conn.Context().Done()
		var code *quic.ApplicationError
		if err := context.Cause(conn.Context()); !errors.As(err, &code) || code.ErrorCode != 0 {
			t.Errorf("%s: the connection ends with %v", end, err)
		}
		if err := l.stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestAListenerThatAReloadGivesAnAuthorityForClients_demandsCertificatesFromThenOn(t *testing.T) {
	dir := doorFiles(t)
	l := newLive(t, doors(dir, "", "quic", "tls", "https")).start().awaitReady()
	client := authority.CA.IssueLeaf(dnstest.Leaf{Client: true})
	visit := func(certificates ...tls.Certificate) error {
		conn, err := l.doq(certificates...)
		if err != nil {
			return err
		}
		defer conn.CloseWithError(0, "")
		stream, err := askDoQ(t, conn, hostName)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(stream)
		if err == nil {
			wantLoopback(t, "QUIC", b[min(2, len(b)):], nil)
		}
		return err
	}
	if err := visit(); err != nil {
		t.Error(err)
	}
	before := strings.Join(l.at.DNS, " ")
	for range 2 {
		l.mustReload(doors(dir, ", client_ca: "+filepath.Join(dir, "ca.pem"), "quic", "tls", "https"))
		if err := visit(); err == nil {
			t.Error("a client without a certificate is served")
		}
		if err := visit(client); err != nil {
			t.Errorf("with a certificate: %v", err)
		}
		l.mustReload(doors(dir, "", "quic", "tls", "https"))
		if err := visit(); err != nil {
			t.Error(err)
		}
	}
	if now := strings.Join(l.d.serving.dns(), " "); now != before {
		t.Errorf("the listeners were %s, and are %s", before, now)
	}
}

func TestTheDNSDoorTellsOfItselfWhatTheConfigurationInForceSays(t *testing.T) {
	l := newLive(t, "listen: {proxy: \"127.0.0.1:0\", dns: \"127.0.0.1:0\"}\ndns: {id_server: first}\n").start()
	ask := func(name string) string {
		c, err := net.DialUDP("udp", nil, l.door(""))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(limit))
		q, err := (&miekg.Msg{Question: []miekg.Question{{Name: name, Qtype: miekg.TypeTXT, Qclass: miekg.ClassCHAOS}}}).Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(q); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 2048)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		var m miekg.Msg
		if err := m.Unpack(b[:n]); err != nil {
			t.Fatal(err)
		}
		for _, r := range m.Answer {
			return r.(*miekg.TXT).Txt[0]
		}
		return miekg.RcodeToString[m.Rcode]
	}
	if id, version := ask("id.server."), ask("version.bind."); id != "first" || version != "REFUSED" {
		t.Errorf("it tells %q and %q", id, version)
	}
	l.mustReload("listen: {proxy: \"127.0.0.1:0\", dns: \"127.0.0.1:0\"}\ndns: {version_bind: second}\n")
	if id, version := ask("id.server."), ask("version.bind."); id != "REFUSED" || version != "second" {
		t.Errorf("after a reload it tells %q and %q", id, version)
	}
}

func TestTheStatusSaysWhatIsSpokenAtEachDoorOfDNS(t *testing.T) {
	l := newLive(t, doors(doorFiles(t), "", "", "tls", "quic", "https")).start()
	var shown []string
	for _, at := range l.d.Status().Listeners {
		if at.Kind == "dns" {
			shown = append(shown, at.Address)
		}
	}
	for i, want := range []string{"127.0.0.1:", "tls://127.0.0.1:", "quic://127.0.0.1:", "https://127.0.0.1:"} {
		if len(shown) != 4 || !strings.HasPrefix(shown[i], want) {
			t.Fatalf("it shows %q, want %s", shown, want)
		}
	}
}

func TestTwoDoorsOfOnePort_areRefusedWithWhatHoldsIt(t *testing.T) {
	at := freePort(t)
	taken, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := doorFiles(t)
	text := strings.ReplaceAll(doors(dir, "", "https"), "https://127.0.0.1:0", "https://"+at.String())
	l := newLive(t, text)
	if err := l.d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), at.String()+", UDP") {
		t.Errorf("it gave %v", err)
	}
	if listens(at) {
		t.Error("its socket of TCP is left open")
	}
}

func TestWhatTheDNSDoorCountsIsShown(t *testing.T) {
	l := newLive(t, "listen: {proxy: \"127.0.0.1:0\", dns: \"127.0.0.1:0\"}\n").start().awaitReady()
	if before := l.d.state().DNS; before == nil || before.Queries["udp"] != 0 {
		t.Errorf("%+v", before)
	}
	conn, err := net.DialUDP("udp", nil, l.door(""))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(limit))
	for _, b := range [][]byte{make([]byte, 12), question(t, "wpad.corp.example"), question(t, hostName)} { // the first asks nothing, and is dropped or refused
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 1500)
	for id := -1; id != 0; {
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := dnswire.ParseAnswer(b[:n], dnswire.Question{Name: hostName, Type: dnswire.A}, 0); err == nil && len(a.Records) == 1 {
			id = 0
		}
	}
	if s := l.d.Status().DNS; s == nil || s.Queries["udp"] != 3 || s.WPAD != 1 {
		t.Errorf("%+v", s)
	}
	if s := l.d.state().DNS; s == nil || s.Queries["udp"] != 3 || len(s.Dropped) != 7 {
		t.Errorf("%+v", s)
	}
	if s := newLive(t, "listen: {proxy: \"127.0.0.1:0\"}\n").start().awaitReady().d.state().DNS; s != nil {
		t.Errorf("a door that is not there counts: %+v", s)
	}
}
