// Package stamp reads and writes DNS stamps: one string, `sdns://…`, that holds everything needed to reach a resolver
// or a relay (https://dnscrypt.info/stamps-specifications and draft-denis-dns-stamps-01).
//
// It promises that a [Stamp] which [Parse] gives out is complete and in one canonical form, that nothing in the string
// is passed over except property bits without a meaning, which the draft (section "Properties Field") says to ignore,
// and that [Stamp.Encode] writes all of a Stamp or fails. It never looks a name up, never asks a bootstrap resolver,
// and never decides whether a stamp is good enough: plain DNS is read like the rest, so that whoever refuses it can
// say what it was.
package stamp

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"

	"watertight/name"
)

// Limits of what is read and written, in octets.
const (
	MaxLength = 4096 // the whole string, scheme included
	maxField  = 255  // a field: its length has one octet
	maxItem   = 127  // an item of a list: the top bit of its length says that another follows
	hashLen   = sha256.Size
	keyLen    = 32 // an Ed25519 public key
)

// Ports that a stamp means when it names none.
const (
	portPlain = 53
	portHTTPS = 443 // DNSCrypt, DoH, ODoH and relays
	portTLS   = 853 // DoT and DoQ
)

// ErrStamp is wrapped by every error of this package.
var ErrStamp = errors.New("not a DNS stamp that can be used")

// Kind is what a stamp leads to: the first octet of its payload.
type Kind uint8

// The kinds. From 0x80 on they are relays, which forward what they cannot read.
const (
	Plain         Kind = 0x00 // DNS in clear
	DNSCrypt      Kind = 0x01
	DoH           Kind = 0x02
	DoT           Kind = 0x03
	DoQ           Kind = 0x04
	ODoHTarget    Kind = 0x05
	DNSCryptRelay Kind = 0x81
	ODoHRelay     Kind = 0x85
)

// String gives the kind's usual name.
func (k Kind) String() string {
	if l, ok := layouts[k]; ok {
		return l.title
	}
	return fmt.Sprintf("kind 0x%02x", uint8(k))
}

// IsRelay says that the stamp leads to a relay and not to a resolver.
func (k Kind) IsRelay() bool { return k&0x80 != 0 }

// Props is what the stamp's author says of the resolver. Nothing proves it.
type Props struct {
	DNSSEC   bool // it validates
	NoLog    bool // it keeps no log of queries
	NoFilter bool // it blocks no name
}

// The bits of Props.
const (
	bitDNSSEC = 1 << iota
	bitNoLog
	bitNoFilter
)

// Stamp is what a stamp says. Which fields a kind has stands beside each; a field that the kind lacks is zero.
type Stamp struct {
	Kind  Kind
	Props Props // all but DNSCryptRelay

	// Addr is where to connect, port included. All but ODoHTarget have it. It is required for Plain, DNSCrypt and
	// DNSCryptRelay; elsewhere it may be the zero AddrPort, and then Host has to be looked up by whoever uses it.
	Addr netip.AddrPort

	// Host is whom to expect there, for TLS and HTTP: a name in A-labels or an address, and a port. DoH, DoT, DoQ,
	// ODoHTarget, ODoHRelay. Where Addr is valid too, both have the same port.
	Host name.Target

	// Path is the absolute path of the URI: DoH, ODoHTarget, ODoHRelay. It starts with a slash, and has no query.
	Path string

	// Hashes are SHA-256 digests of the to-be-signed part (TBSCertificate, RFC 5280 section 4.1) of certificates, and
	// not of public keys (SPKI): one of the chain, usually that of the issuer, must have one of them. DoH, DoT, DoQ,
	// ODoHRelay. None means that the stamp pins nothing. [Stamp.MatchChain] compares.
	Hashes [][hashLen]byte

	// Bootstraps are resolvers in clear, which the author offers for looking Host up. DoH, DoT, DoQ, ODoHRelay. The
	// specification lets a client ignore them; nothing here asks them.
	Bootstraps []netip.AddrPort

	// Provider is the provider's name (DNSCrypt), in lower case without the root dot, and PublicKey its Ed25519 key.
	Provider  string
	PublicKey [keyLen]byte
}

// layout says which fields a kind has, in the order of the wire: props, addr, hashes, host, path, bootstraps; or
// props, addr, key and provider for DNSCrypt.
type layout struct {
	title                                    string
	port                                     uint16
	props, addr, needAddr, tls, path, crypto bool
	host                                     bool // tls implies it
}

var layouts = map[Kind]layout{
	Plain:         {title: "plain DNS", port: portPlain, props: true, addr: true, needAddr: true},
	DNSCrypt:      {title: "DNSCrypt", port: portHTTPS, props: true, addr: true, needAddr: true, crypto: true},
	DoH:           {title: "DoH", port: portHTTPS, props: true, addr: true, tls: true, host: true, path: true},
	DoT:           {title: "DoT", port: portTLS, props: true, addr: true, tls: true, host: true},
	DoQ:           {title: "DoQ", port: portTLS, props: true, addr: true, tls: true, host: true},
	ODoHTarget:    {title: "ODoH target", port: portHTTPS, props: true, host: true, path: true},
	DNSCryptRelay: {title: "DNSCrypt relay", port: portHTTPS, addr: true, needAddr: true},
	ODoHRelay:     {title: "ODoH relay", port: portHTTPS, props: true, addr: true, tls: true, host: true, path: true},
}

// MatchChain says whether a certificate of the chain has one of the stamp's hashes. A stamp without hashes matches
// nothing: look at len(s.Hashes) first. The chain is the verified one, its root included, since an author may have
// hashed any of it; that it is verified is the caller's to see to, a hash does not replace it.
func (s Stamp) MatchChain(chain []*x509.Certificate) bool {
	found := 0
	for _, c := range chain {
		sum := sha256.Sum256(c.RawTBSCertificate)
		for _, h := range s.Hashes {
			found |= subtle.ConstantTimeCompare(sum[:], h[:])
		}
	}
	return found == 1
}
