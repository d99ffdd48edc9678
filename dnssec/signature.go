package dnssec

import (
	"time"

	"github.com/miekg/dns"
)

// Bounds on the work that one RRset can cause, whatever its zone publishes (CVE-2023-50387: keys with one tag, and
// signatures that all have to be tried with each).
const (
	maxSigners = 3   // zones that an RRset may claim to be signed by
	maxPerTag  = 4   // keys of one tag and algorithm that are tried with a signature
	maxPerSet  = 16  // tries for one RRset
	bigSet     = 256 // records after which a try counts once more
)

// zoneKey is a DNSKEY record with its tag, which costs a pass over the key.
type zoneKey struct {
	*dns.DNSKEY
	tag uint16
}

// zoneKeys gives the keys of a DNSKEY RRset, whatever their flags.
func zoneKeys(set *rrset) []zoneKey {
	var keys []zoneKey
	for _, rr := range set.rrs {
		if k, ok := rr.(*dns.DNSKEY); ok {
			keys = append(keys, zoneKey{k, k.KeyTag()})
		}
	}
	return keys
}

// signs says whether the key may sign its zone's data: a zone key (RFC 4034, section 2.1.1) of protocol 3 that is not
// revoked (RFC 5011, section 2.1), of an algorithm that is known here.
func (k zoneKey) signs() bool {
	return k.Flags&dns.ZONE != 0 && k.Flags&dns.REVOKE == 0 && k.Protocol == 3 && supported(k.Algorithm)
}

func signingKeys(keys []zoneKey) []zoneKey {
	var list []zoneKey
	for _, k := range keys {
		if k.signs() {
			list = append(list, k)
		}
	}
	return list
}

// proven is the verdict on an RRset and, where it is Secure, the Labels field of the signature that holds: fewer than
// its owner has labels where the RRset was made from a wildcard (RFC 4035, section 5.3.4).
type proven struct {
	verdict
	labels int
	since  time.Time // when the signature's period began
}

// verify looks for a signature of the zone apex over the RRset that one of the keys made (RFC 4035, section 5.3).
func (w *work) verify(set *rrset, apex name, keys []zoneKey) proven {
	fail := bogus(EDESignaturesMissing, "%s has no signature by %s", set.text(), apex.text())
	left := maxPerSet
	for _, sig := range set.sigs {
		if sig.signer != apex || !set.owner.under(apex) || !supported(sig.Algorithm) || int(sig.Labels) > set.owner.signed() ||
			int(sig.Labels) < apex.labels() { // a wildcard above its zone
			continue
		}
		if v := inPeriod(sig.RRSIG, w.now, set); v.state == Bogus {
			fail = v
			continue
		}
		tried := 0
		for _, k := range keys {
			if k.tag != sig.KeyTag || k.Algorithm != sig.Algorithm {
				continue
			}
			if tried++; tried > maxPerTag {
				break
			}
			if left--; left < 0 {
				return proven{verdict: bogus(EDEBogus, "%s has more than %d signatures and keys to try", set.text(), maxPerSet)}
			}
			if !w.spend(&w.tries, 1+len(set.rrs)/bigSet) {
				return proven{verdict: indeterminate("more than %d signatures to check, the last ones over %s", w.v.limits.Signatures, set.text())}
			}
			if sig.Verify(k.DNSKEY, set.rrs) == nil {
				return proven{secure(lifetime(set, sig.RRSIG, w.now)), int(sig.Labels), nearest(sig.Inception, w.now)}
			}
			fail = bogus(EDEBogus, "the signature of %s over %s does not hold", apex.text(), set.text())
		}
		if tried == 0 && fail.ede == EDESignaturesMissing {
			fail = bogus(EDEKeyMissing, "%s is signed with key %d, which is not a key of %s", set.text(), sig.KeyTag, apex.text())
		}
	}
	return proven{verdict: fail}
}

// inPeriod judges the clock alone: Bogus outside the signature's period, in serial number arithmetic (RFC 4034, section
// 3.1.5; RFC 1982).
func inPeriod(sig *dns.RRSIG, now time.Time, set *rrset) verdict {
	at := uint32(now.Unix()) // modulo 2^32, as the field is
	switch {
	case int32(at-sig.Inception) < 0:
		return bogus(EDESignatureNotYetValid, "the signature over %s is valid from %s", set.text(), moment(sig.Inception, now))
	case int32(sig.Expiration-at) < 0:
		return bogus(EDESignatureExpired, "the signature over %s expired at %s", set.text(), moment(sig.Expiration, now))
	}
	return verdict{state: Secure}
}

// nearest is the moment nearest to now that a serial number of seconds stands for.
func nearest(serial uint32, now time.Time) time.Time {
	off := int32(serial - uint32(now.Unix()))
	return time.Unix(now.Unix(), 0).Add(time.Duration(off) * time.Second)
}

// moment writes it.
func moment(serial uint32, now time.Time) string {
	return nearest(serial, now).UTC().Format("2006-01-02 15:04:05 UTC")
}

// lifetime is how long an RRset may be kept (RFC 4035, section 5.3.3).
func lifetime(set *rrset, sig *dns.RRSIG, now time.Time) time.Duration {
	left := int32(sig.Expiration - uint32(now.Unix()))
	return min(setTTL(set), seconds(sig.OrigTtl), time.Duration(max(0, left))*time.Second)
}

// setTTL is the smallest TTL of the records, as they arrived.
func setTTL(set *rrset) time.Duration {
	ttl := maxTTL
	for _, rr := range set.rrs {
		ttl = min(ttl, seconds(rr.Header().Ttl))
	}
	return ttl
}

// seconds reads a TTL; one with the top bit set is zero (RFC 2181, section 8).
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return min(maxTTL, time.Duration(ttl)*time.Second)
}
