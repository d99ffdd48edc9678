package dnssec

import (
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// Anchor is a trust anchor of the root: the digest of a key or the key itself (RFC 4035, section 4.4). Make it with
// [ParseAnchor].
type Anchor struct {
	ds  *dns.DS
	key *dns.DNSKEY
}

// rootAnchors are the digests of the root's key signing keys, as IANA publishes them in root-anchors.xml (RFC 9718).
var rootAnchors = []string{
	// KSK-2017: signs the root since 2018-10-11.
	". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
	// KSK-2024: in the root zone since 2025-01-11, made to follow KSK-2017.
	". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
}

// RootAnchors gives the trust anchors that the program comes with: KSK-2017 and KSK-2024 of the root.
func RootAnchors() []Anchor {
	list := make([]Anchor, 0, len(rootAnchors))
	for _, s := range rootAnchors {
		a, err := ParseAnchor(s)
		if err != nil {
			panic(err) // a test parses them
		}
		list = append(list, a)
	}
	return list
}

// ParseAnchor reads a DS or DNSKEY record of the root in presentation form. A key must be one that may sign: a zone
// key, not revoked, of an algorithm and digest that can be checked here. Digests and keys are as long as those say: one
// that was cut off would fit nothing for ever.
func ParseAnchor(s string) (Anchor, error) {
	if len(s) > 4096 || strings.ContainsAny(s, "\n\r$") {
		return Anchor{}, errors.New("a trust anchor is one DS or DNSKEY record")
	}
	rr, err := dns.NewRR(s)
	if err != nil || rr == nil {
		return Anchor{}, fmt.Errorf("%.40q is not a DS or DNSKEY record", s)
	}
	h := rr.Header()
	if h.Name != "." || h.Class != dns.ClassINET {
		return Anchor{}, fmt.Errorf("%.40q is not a record of the root in class IN", s)
	}
	switch rr := rr.(type) {
	case *dns.DS:
		if !supported(rr.Algorithm) || !supportedDigest(rr.DigestType) {
			return Anchor{}, fmt.Errorf("the anchor with key tag %d has algorithm %d and digest %d, which cannot be checked here", rr.KeyTag, rr.Algorithm, rr.DigestType)
		}
		if has, want := len(rr.Digest)/2, digestOctets(rr.DigestType); has != want {
			return Anchor{}, fmt.Errorf("the anchor with key tag %d has %d octets of digest, and digest %d has %d: part of it is missing, or too much", rr.KeyTag, has, rr.DigestType, want)
		}
		return Anchor{ds: rr}, nil
	case *dns.DNSKEY:
		if k := (zoneKey{rr, rr.KeyTag()}); !k.signs() {
			return Anchor{}, fmt.Errorf("the anchor with key tag %d is not a key that signs its zone with an algorithm known here", k.tag)
		}
		if !whole(rr) {
			return Anchor{}, fmt.Errorf("the anchor with key tag %d has no key of its algorithm %d: part of it is missing, or it is too weak", rr.KeyTag(), rr.Algorithm)
		}
		return Anchor{key: rr}, nil
	}
	return Anchor{}, fmt.Errorf("%.40q is neither a DS nor a DNSKEY record", s)
}

// String gives the record in presentation form. The zero Anchor is empty text.
func (a Anchor) String() string {
	switch {
	case a.ds != nil:
		return fmt.Sprintf(". IN DS %d %d %d %s", a.ds.KeyTag, a.ds.Algorithm, a.ds.DigestType, strings.ToUpper(a.ds.Digest))
	case a.key != nil:
		return fmt.Sprintf(". IN DNSKEY %d %d %d %s", a.key.Flags, a.key.Protocol, a.key.Algorithm, a.key.PublicKey)
	}
	return ""
}

// is says whether the anchor stands for this key of the root.
func (a Anchor) is(k zoneKey) bool {
	if a.key != nil {
		return sameKey(a.key, k.DNSKEY)
	}
	return a.ds != nil && digests(a.ds, k)
}

// isIn says whether b is the same anchor, or the key that a is the digest of.
func (a Anchor) isIn(b Anchor) bool {
	if b.key != nil {
		return a.is(zoneKey{b.key, b.key.KeyTag()})
	}
	return a.String() == b.String()
}

// digests says whether ds is the digest of the key (RFC 4034, section 5.1.4; RFC 4509).
func digests(ds *dns.DS, k zoneKey) bool {
	if ds.KeyTag != k.tag || ds.Algorithm != k.Algorithm {
		return false
	}
	own := k.ToDS(ds.DigestType)
	return own != nil && strings.EqualFold(own.Digest, ds.Digest)
}

// sameKey compares what a key is, and the flags with it.
func sameKey(a, b *dns.DNSKEY) bool {
	return a.Flags == b.Flags && a.Protocol == b.Protocol && a.Algorithm == b.Algorithm && a.PublicKey == b.PublicKey
}
