package internet

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"

	"watertight/capture"
	"watertight/lab/dnstest"
	"watertight/name"
	"watertight/stamp"
)

// portCrypt is that of DNSCrypt and of its relays. On its usual one, DNS over HTTPS is spoken here.
const portCrypt = 8443

// Paths of ODoH.
const (
	targetPath = "/dns-query"
	relayPath  = "/proxy"
)

// Relays are a host that stands between clients and a resolver: a relay of Anonymized DNSCrypt, and one of ODoH, which
// hands what it gets to the resolver, its target, without packets. The target's name has the resolver's own address, so
// that whoever wants to can go past the relay, and is seen.
type Relays struct {
	*Host
	Crypt  *dnstest.CryptRelay
	ODoH   *dnstest.Server // its queries are the target's
	Target *dnstest.ODoHTarget
}

// AddRelays connects a host with relays that lead to the resolver. What is put in the resolver's place later has them
// on the same host.
func (r *Resolver) AddRelays() error {
	h, err := r.in.AddHost("relays of " + r.Name)
	if err != nil {
		return err
	}
	target := "target." + r.Name
	if err := r.in.Authority.Publish(target, r.Host); err != nil {
		return err
	}
	r.in.mu.Lock()
	r.in.relays[r.Host] = h
	r.in.mu.Unlock()
	return r.relay(h, r.in.CA.Issue([]string{"relay." + r.Name}, h.Addrs()))
}

func (r *Resolver) relay(h *Host, cert tls.Certificate, tweak ...func(*tls.Config)) error {
	r.Relays = &Relays{Host: h, Target: dnstest.NewODoHTarget("target."+r.Name, targetPath)}
	l, err := h.Listen(portCrypt)
	if err != nil {
		return err
	}
	socket, err := h.ListenUDP(portCrypt)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	r.Relays.Crypt = dnstest.ServeCryptRelay(l, socket, h.DialUDP)
	odoh, err := h.Listen(portHTTPS)
	if err != nil {
		return err
	}
	r.mu.Lock()
	handler := r.handler
	r.mu.Unlock()
	r.Relays.ODoH = dnstest.ServeODoH(odoh, cert, r.Relays.Target, handler, tweak...)
	return nil
}

// crypt serves DNSCrypt beside the other transports.
func (r *Resolver) crypt() error {
	l, err := r.Listen(portCrypt)
	if err != nil {
		return err
	}
	socket, err := r.ListenUDP(portCrypt)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	r.Provider = dnstest.NewProvider()
	r.Crypt = dnstest.ServeDNSCrypt(l, socket, r.Provider, r.Recurse)
	return nil
}

// Certified gives the addresses that a certificate has to cover: the resolver's, and those of its relays.
func (r *Resolver) Certified() []netip.Addr {
	if r.Relays == nil {
		return r.Addrs()
	}
	return append(r.Addrs(), r.Relays.Addrs()...)
}

// CryptPeers gives the resolver as someone with whom packets of DNSCrypt may be exchanged. [Resolver.Peers] has no
// DNSCrypt in it: who has a relay is not to speak it with the resolver.
func (r *Resolver) CryptPeers() []capture.Peer { return cryptPeers(r.Host) }

// CryptPeers gives the relay of DNSCrypt as someone with whom packets may be exchanged.
func (r *Relays) CryptPeers() []capture.Peer { return cryptPeers(r.Host) }

// ODoHPeers gives the relay of ODoH as someone with whom packets may be exchanged.
func (r *Relays) ODoHPeers() []capture.Peer { return r.Host.Peers(capture.TCP, portHTTPS) }

func cryptPeers(h *Host) []capture.Peer {
	return append(h.Peers(capture.TCP, portCrypt), h.Peers(capture.UDP, portCrypt)...)
}

// CryptStamp gives the resolver as an upstream of DNSCrypt, by its first address and with a provider's key.
func (r *Resolver) CryptStamp(key [32]byte) string {
	return text(stamp.Stamp{Kind: stamp.DNSCrypt, Addr: r.At(portCrypt), Provider: r.Provider.Name, PublicKey: key})
}

// CryptStamp gives the relay of DNSCrypt, by its first address.
func (r *Relays) CryptStamp() string {
	return text(stamp.Stamp{Kind: stamp.DNSCryptRelay, Addr: r.At(portCrypt)})
}

// TargetStamp gives the target as an upstream of ODoH.
func (r *Relays) TargetStamp() string {
	return text(stamp.Stamp{Kind: stamp.ODoHTarget, Host: name.Must(fmt.Sprintf("%s:%d", r.Target.Host, portHTTPS)), Path: r.Target.Path})
}

// ODoHStamp gives the relay of ODoH, by its first address, with these hashes of certificates.
func (r *Relays) ODoHStamp(hashes ...[32]byte) string {
	return text(stamp.Stamp{Kind: stamp.ODoHRelay, Host: name.Must(r.At(portHTTPS).String()), Path: relayPath, Hashes: hashes})
}

// text writes a stamp of this internet's, which is always good.
func text(s stamp.Stamp) string {
	out, err := s.Encode()
	if err != nil {
		panic(err)
	}
	return out
}
