package dnssec

import (
	"encoding/base64"

	"github.com/miekg/dns"
)

// supported says whether signatures of an algorithm can be verified here: what RFC 8624 (and RFC 9904 after it) tells
// validators to implement, without what rests on SHA-1. A zone signed with others only is insecure, as if it were not
// signed (RFC 4035, section 5.2). Ed448 (16) is not in the message library. An RSA key of less than 1024 bits, or with an
// exponent above 2^31, is of a known algorithm and yet verifies nothing: what only such a key signed is Bogus.
func supported(algorithm uint8) bool {
	switch algorithm {
	case dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519:
		return true
	}
	return false
}

// supportedDigest says whether a DS record's digest can be computed here. SHA-1 is only looked at where a delegation
// has nothing better (RFC 4509, section 3): finding a second key for a given digest is still out of reach.
func supportedDigest(digest uint8) bool {
	switch digest {
	case dns.SHA1, dns.SHA256, dns.SHA384:
		return true
	}
	return false
}

// digestOctets is how long a digest is that can be computed here (RFC 3658, section 2.4; RFC 4509; RFC 6605), in octets.
func digestOctets(digest uint8) int {
	return map[uint8]int{dns.SHA1: 20, dns.SHA256: 32, dns.SHA384: 48}[digest]
}

// whole says whether a key of a supported algorithm has the length that it has to have: a curve's (RFC 6605; RFC 8080), or
// at least the 1024 bits of RSA that are verified with.
func whole(k *dns.DNSKEY) bool {
	key, err := base64.StdEncoding.DecodeString(k.PublicKey)
	if err != nil {
		return false
	}
	switch k.Algorithm {
	case dns.ECDSAP256SHA256:
		return len(key) == 64
	case dns.ECDSAP384SHA384:
		return len(key) == 96
	case dns.ED25519:
		return len(key) == 32
	}
	return len(key) > 1024/8 // its modulus, and its exponent before it
}

// chooseDS keeps the DS records that can be used, and drops those with SHA-1 where one with a better digest is left.
// Where none is left, it tells why as an Extended DNS Error.
func chooseDS(all []*dns.DS) (usable []*dns.DS, ede uint16) {
	ede = EDEUnsupportedAlgorithm
	better := false
	for _, ds := range all {
		switch {
		case !supported(ds.Algorithm):
		case !supportedDigest(ds.DigestType):
			ede = EDEUnsupportedDigest
		default:
			usable = append(usable, ds)
			better = better || ds.DigestType != dns.SHA1
		}
	}
	if !better {
		return usable, ede
	}
	kept := usable[:0]
	for _, ds := range usable {
		if ds.DigestType != dns.SHA1 {
			kept = append(kept, ds)
		}
	}
	return kept, EDENone
}
