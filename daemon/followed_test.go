package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// shows gives the certificate that a listener shows over TLS, or over QUIC where protocol says what is spoken in it.
func shows(t *testing.T, at netip.AddrPort, protocol string) []byte {
	t.Helper()
	c := &tls.Config{InsecureSkipVerify: true}
	if protocol == "" {
		conn, err := tls.Dial("tcp", at.String(), c)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Raw
	}
	c.NextProtos = []string{protocol}
	own, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	conn, err := quic.Dial(ctx, own, net.UDPAddrFromAddrPort(at), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	return conn.ConnectionState().TLS.PeerCertificates[0].Raw
}

// put replaces a file by another, as of an own moment: two of one size within the same tick of the clock look alike.
func put(t *testing.T, from, to string, at time.Time) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(to, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestACertificateInFilesIsShownByEveryListenerOnceItHasChanged(t *testing.T) {
	dir, other := doorFiles(t), doorFiles(t)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	proxy, dot, doq, doh, admin, gateway := freePort(t), freePort(t), freePort(t), freePort(t), freePort(t), freePort(t)
	files := fmt.Sprintf("tls: {cert: %q, key: %q}", cert, key)
	l := newLive(t, fmt.Sprintf("listen: {proxy: {address: %q, h3: true, %s}, dns: [{address: \"tls://%s\", %s}, {address: \"quic://%s\", %s}, {address: \"https://%s\", %s}], admin: {address: %q, allow_insecure: true, %s}, gateway: {address: %q, %s}}\ngateway: {path: /a/, to: \"https://%s/\"}\n",
		proxy, files, dot, files, doq, files, doh, files, admin, files, gateway, files, hostName)).start().awaitReady()
	all := func(what string) []byte {
		t.Helper()
		shown := shows(t, proxy, "")
		for _, at := range []netip.AddrPort{dot, doh, admin, gateway} {
			if !bytes.Equal(shows(t, at, ""), shown) {
				t.Errorf("%s: %s shows another", what, at)
			}
		}
		for protocol, at := range map[string]netip.AddrPort{"h3": proxy, "doq": doq} {
			if !bytes.Equal(shows(t, at, protocol), shown) {
				t.Errorf("%s: %s of %s shows another", what, protocol, at)
			}
		}
		return shown
	}
	looks := func() {
		for range 2 {
			l.d.rereadCertificates()
		}
	}
	first, now := all("at first"), time.Now()
	put(t, filepath.Join(other, "cert.pem"), cert, now.Add(time.Second))
	looks()
	if !bytes.Equal(all("with the key of another"), first) {
		t.Error("a certificate is shown without its key")
	}
	if log := l.log.String(); !strings.Contains(log, "is not used") {
		t.Errorf("the log: %s", log)
	}
	put(t, filepath.Join(other, "key.pem"), key, now.Add(2*time.Second))
	looks()
	if bytes.Equal(all("changed"), first) {
		t.Error("the one before is still shown")
	}
	if log := l.log.String(); strings.Count(log, "was read again") != 1 {
		t.Errorf("the log: %s", log)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	looks()
	if bytes.Equal(all("gone"), first) {
		t.Error("the one before is shown again")
	}
}
