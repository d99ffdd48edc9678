package dnssec

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"

	"watertight/dnswire"
)

// Signer signs the record sets of a zone with one key, which is the zone's only one (RFC 6781, section 3.1: a single-type
// signing scheme), by ECDSA on P-256 with SHA-256 (algorithm 13, RFC 6605). Its methods may be called from many goroutines.
type Signer struct {
	zone string // canonical
	key  *ecdsa.PrivateKey
	rr   *dns.DNSKEY
	tag  uint16
}

// Flags of a key that signs a zone and is the entry to it (RFC 4034, section 2.1.1).
const entryKey = dns.ZONE | dns.SEP

// NewSigner takes the key of a zone, whose name is canonical.
func NewSigner(zone string, key *ecdsa.PrivateKey) (*Signer, error) {
	if key == nil || key.Curve != elliptic.P256() {
		return nil, errors.New("dnssec: a signer needs a key on P-256")
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("dnssec: %w", err)
	}
	rr := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: dns.Fqdn(zone), Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET},
		Flags: entryKey, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
		PublicKey: base64.StdEncoding.EncodeToString(point[1:]), // without the octet that says how it is written (RFC 6605, section 4)
	}
	return &Signer{zone: zone, key: key, rr: rr, tag: rr.KeyTag()}, nil
}

// Key gives the zone's DNSKEY record.
func (s *Signer) Key(ttl uint32) dnswire.Record {
	rr := dns.Copy(s.rr)
	rr.Header().Ttl = ttl
	return dnswire.RecordOf(rr)
}

// DS gives the record that the zone above has to have, with a digest of SHA-256 (RFC 4509), in presentation form.
func (s *Signer) DS() string {
	ds := s.rr.ToDS(dns.SHA256)
	return fmt.Sprintf("%s IN DS %d %d %d %s", dns.Fqdn(s.zone), ds.KeyTag, ds.Algorithm, ds.DigestType, strings.ToUpper(ds.Digest))
}

// Sign gives the signature over a set of records of one name, type and TTL, good for a time. The owner is below the
// zone or its name, and stands for no wildcard.
func (s *Signer) Sign(set []dnswire.Record, from, until time.Time) (dnswire.Record, error) {
	if len(set) == 0 {
		return dnswire.Record{}, errors.New("dnssec: no records to sign")
	}
	list := make([]dns.RR, len(set))
	for i, r := range set {
		if list[i] = r.RR(); list[i] == nil {
			return dnswire.Record{}, errors.New("dnssec: no record to sign")
		}
	}
	sig := &dns.RRSIG{
		Hdr:       dns.RR_Header{Ttl: set[0].TTL},
		Algorithm: dns.ECDSAP256SHA256, SignerName: dns.Fqdn(s.zone), KeyTag: s.tag, OrigTtl: set[0].TTL,
		Inception: uint32(from.Unix()), Expiration: uint32(until.Unix()), // serial numbers (RFC 4034, section 3.1.5)
	}
	if err := sig.Sign(s.key, list); err != nil {
		return dnswire.Record{}, fmt.Errorf("dnssec: %w", err)
	}
	return dnswire.RecordOf(sig), nil
}

// Spoil gives a signature that is wrong in one bit, and right in all that is around it.
func Spoil(signature dnswire.Record) (dnswire.Record, error) {
	sig, ok := signature.RR().(*dns.RRSIG)
	if !ok {
		return dnswire.Record{}, errors.New("dnssec: not a signature")
	}
	b, err := base64.StdEncoding.DecodeString(sig.Signature)
	if err != nil || len(b) == 0 {
		return dnswire.Record{}, errors.New("dnssec: not a signature")
	}
	b[len(b)-1] ^= 1
	sig.Signature = base64.StdEncoding.EncodeToString(b)
	return dnswire.RecordOf(sig), nil
}
