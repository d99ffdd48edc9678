package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
)

func TestMain(m *testing.M) {
	Seal()
	m.Run()
}

func TestDialTCPReachesAnAddress(t *testing.T) {
	l, err := ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := DialTCP(t.Context(), l.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestEveryIPv4AddressIsNoIPv6Address(t *testing.T) {
	l, err := ListenTCP(netip.MustParseAddrPort("0.0.0.0:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := ListenUDP(netip.MustParseAddrPort("0.0.0.0:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for _, at := range []net.Addr{l.Addr(), u.LocalAddr()} {
		if ap := netip.MustParseAddrPort(at.String()); ap.Addr() != netip.IPv4Unspecified() {
			t.Errorf("%s listens on %s", at.Network(), ap)
		}
	}
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	if conn, err := DialTCP(t.Context(), netip.AddrPortFrom(netip.IPv6Loopback(), port)); err == nil {
		conn.Close()
		t.Error("it takes connections of IPv6")
	}
}

func TestAFlowOfDatagramsHearsItsFarSideAlone(t *testing.T) {
	listen := func() *net.UDPConn {
		c, err := ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	server, stranger := listen(), listen()
	conn, err := Dialer{}.DialPacketAddr(t.Context(), server.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	near := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, m := range []struct {
		from *net.UDPConn
		text string
	}{{stranger, "spoofed"}, {server, "answer"}} {
		if _, err := m.from.WriteToUDPAddrPort([]byte(m.text), near); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 64)
	if n, err := conn.Read(b); err != nil || string(b[:n]) != "answer" {
		t.Errorf("%q %v", b[:n], err)
	}
}

func TestPortsOfPlainNamesAreRefused(t *testing.T) {
	for _, port := range []uint16{53, 137, 5353, 5355} {
		to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
		if _, err := DialTCP(t.Context(), to); !errors.Is(err, ErrPlainDNS) {
			t.Errorf("port %d: %v", port, err)
		}
		if _, err := DialUDP(to); !errors.Is(err, ErrPlainDNS) {
			t.Errorf("port %d, datagrams: %v", port, err)
		}
	}
}

func TestWhatIsNoSocketAddressIsRefused(t *testing.T) {
	for _, to := range []netip.AddrPort{{}, netip.MustParseAddrPort("127.0.0.1:0")} {
		if _, err := (Dialer{}).DialAddr(t.Context(), to); !errors.Is(err, ErrAddress) {
			t.Errorf("%v: %v", to, err)
		}
	}
	if _, err := ListenTCP(netip.AddrPort{}); !errors.Is(err, ErrAddress) {
		t.Errorf("listening nowhere: %v", err)
	}
	if _, err := ListenUDP(netip.AddrPort{}); !errors.Is(err, ErrAddress) {
		t.Errorf("listening nowhere: %v", err)
	}
}

func TestTheHostResolverIsDisarmedAndCounted(t *testing.T) {
	ways := map[string]func() error{
		"net.LookupHost": func() error { _, err := net.LookupHost("leak.example.com"); return err },
		"net.LookupAddr": func() error { _, err := net.LookupAddr("192.0.2.1"); return err },
		"net.ResolveTCPAddr": func() error {
			_, err := net.ResolveTCPAddr("tcp", "leak.example.com:443")
			return err
		},
		"net.Dial":  func() error { _, err := net.Dial("tcp", "leak.example.com:443"); return err },
		"http.Get":  func() error { _, err := http.Get("https://leak.example.com/"); return err }, //nolint:bodyclose // it fails
		"transport": func() error { _, err := (&http.Client{}).Get("https://leak.example.com/"); return err },
		"a dialer without a resolver": func() error {
			_, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", "leak.example.com:443")
			return err
		},
	}
	for name, way := range ways {
		before := Trapped()
		err := way()
		if err == nil {
			t.Errorf("%s reached something", name)
		}
		if Trapped() == before {
			t.Errorf("%s was not counted: %v", name, err)
		}
	}
}

func TestAHeadComesBeforeTheSocket(t *testing.T) {
	l, err := ListenTCP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, _ = conn.Write([]byte(" world"))
			conn.Close()
		}
	}()
	for name, read := range map[string]func(*Headed) ([]byte, error){
		"Read":    func(h *Headed) ([]byte, error) { return io.ReadAll(readerOnly{h}) },
		"WriteTo": func(h *Headed) ([]byte, error) { return readByWriteTo(h) },
	} {
		conn, err := DialTCP(t.Context(), l.Addr().(*net.TCPAddr).AddrPort())
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(NewHeaded(conn, []byte("hello")))
		if err != nil || string(got) != "hello world" {
			t.Errorf("%s gave %q, %v", name, got, err)
		}
		conn.Close()
		go func() {
			if conn, err := l.Accept(); err == nil {
				_, _ = conn.Write([]byte(" world"))
				conn.Close()
			}
		}()
	}
}

type readerOnly struct{ io.Reader }

func readByWriteTo(h *Headed) ([]byte, error) {
	r, w := io.Pipe()
	go func() {
		_, err := h.WriteTo(w)
		w.CloseWithError(err)
	}()
	return io.ReadAll(r)
}
