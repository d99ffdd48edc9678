package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"watertight/config"
	"watertight/gate"
	"watertight/leaktest"
	"watertight/wire"
)

// Doors gives the listeners.
func (s subject) Doors() (all []leaktest.Door) {
	s.d.servingMu.RLock()
	defer s.d.servingMu.RUnlock()
	for _, l := range s.d.serving.all {
		door := leaktest.Door{At: l.address().String(), Address: l.address()}
		var secure *tls.Config
		switch l.kind {
		case kindProxy:
			way := l.way.Load()
			door.Kind, door.Unfit, secure = leaktest.DoorProxy, unfit(way.Rules), way.TLS
			if len(way.Balancers) > 0 {
				door.Unfit = "it is for balancers that speak the PROXY protocol"
			}
			door.Datagrams = s.toRelay
		case kindGateway:
			terms := l.terms.Load()
			door.Kind, door.Unfit, secure = leaktest.DoorGateway, unfit(terms.Rules), terms.TLS
			for _, e := range s.d.current().config.Gateway {
				door.Entries = append(door.Entries, entryText(e))
			}
		case kindDNS:
			door.Kind, door.At, secure = leaktest.DoorDNS, l.text(), l.tls.Load()
			switch {
			case l.scheme == config.SchemeQUIC:
				door.Unfit = "the test does not speak DNS over QUIC"
			case secure != nil && secure.ClientAuth != tls.NoClientCert:
				door.Unfit = "it asks for a certificate, which the test has not"
			case l.scheme == "":
				door.Datagrams = func(netip.AddrPort) (net.Conn, error) { return s.d.tests.clients.dialled(wire.DialPacketListener(l.packets)) }
			}
			door.HTTPS = l.scheme == config.SchemeHTTPS
		default:
			continue
		}
		if l.socket != nil {
			door.Dial = func(ctx context.Context) (net.Conn, error) { return s.d.tests.clients.dialled(wire.DialListener(ctx, l.socket)) }
		}
		if secure != nil && door.Dial != nil {
			door.Dial = overTLS(door.Dial, secure)
		}
		door.TLS = secure != nil
		all = append(all, door)
	}
	return all
}

// entryText is an entry of the gateway as people know it.
func entryText(e config.Gateway) string {
	if e.Path != "" {
		return e.Path
	}
	return fmt.Sprintf("the generic form, for %d patterns of hosts", len(e.Hosts))
}

// unfit says why a client that proves nothing cannot come in.
func unfit(r *gate.Rules) string {
	if !r.Unproven() {
		return "it asks for proof of who comes, which the test has not"
	}
	return ""
}

// overTLS connects to a listener of this process over TLS. It has to show the certificate that it is to show now: whoever signed
// that is of no account.
func overTLS(dial func(context.Context) (net.Conn, error), of *tls.Config) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		client, err := clientOf(of)
		if err != nil {
			return nil, err
		}
		raw, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		conn := tls.Client(raw, client)
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		return conn, nil
	}
}

// clientOf is what a client speaks that trusts the certificate of a listener alone.
func clientOf(of *tls.Config) (*tls.Config, error) {
	if of.GetCertificate == nil {
		return nil, errors.New("it has no certificate")
	}
	shown, err := of.GetCertificate(&tls.ClientHelloInfo{
		SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.Ed25519, tls.PSSWithSHA256},
		CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
	})
	if err != nil {
		return nil, fmt.Errorf("it has no certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(shown.Certificate[0])
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool()}
	c.RootCAs.AddCert(leaf)
	switch {
	case len(leaf.DNSNames) > 0:
		c.ServerName = leaf.DNSNames[0]
		if rest, ok := strings.CutPrefix(c.ServerName, "*."); ok {
			c.ServerName = "watertight." + rest
		}
	case len(leaf.IPAddresses) > 0:
		c.ServerName = leaf.IPAddresses[0].String()
	default:
		return nil, errors.New("its certificate is for nobody")
	}
	return c, nil
}

// toRelay sends to a relay of this host.
func (s subject) toRelay(to netip.AddrPort) (net.Conn, error) {
	if !to.Addr().Unmap().IsLoopback() && !to.Addr().IsUnspecified() {
		return nil, fmt.Errorf("the relay says that it is at %s, which is not this host", to)
	}
	conn, err := wire.DialUDP(to)
	if err != nil {
		return nil, err
	}
	return s.d.tests.clients.dialled(conn, nil)
}
