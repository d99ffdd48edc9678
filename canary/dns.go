package canary

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"watertight/dnssec"
	"watertight/dnswire"
	door "watertight/front/dns"
	"watertight/visit"
)

// Limits of the name server.
const (
	// amplification is how often the length of a question somebody gets by UDP who may be another's forged address. A signed
	// answer is some five times as long as its question; what is longer is asked for again by TCP, or with a cookie.
	amplification = 8
	// ratePerSource bounds the questions per second of an address, or of an IPv6 network of 64 bits, that is proven by a
	// connection or by a cookie, and rateForged those of one that is not.
	ratePerSource = 500
	rateForged    = 50

	slowness = 3 * time.Second // of [visit.Slow]
	maxSlow  = 512             // slow answers under way at a time: beyond them there is silence

	idle        = 10 * time.Second // of a connection (RFC 7766, section 6.2.3)
	connections = 1000
	perClient   = 20
	pipeline    = 32
	queries     = 2048
)

// DNS is the authoritative name server of a canary's zone. The Serve methods may be called for several sockets at once.
type DNS struct {
	o      Options
	door   *door.Door
	zone   *zone
	signer *signer
	slow   atomic.Int64

	challenges atomic.Pointer[[]dnswire.Record]
}

// NewDNS makes a name server that signs with key.
func NewDNS(o Options, key *ecdsa.PrivateKey) (*DNS, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s, err := newSigner(o.Zone, key, o.Now)
	if err != nil {
		return nil, fmt.Errorf("canary: %w", err)
	}
	z, err := newZone(&o, s.Key(ttlApex))
	if err != nil {
		return nil, err
	}
	d := &DNS{o: o, zone: z, signer: s}
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	d.door, err = door.New(door.Options{
		Authority: d, Logger: o.Logger, PlainClients: all, Clients: all,
		Idle: idle, Connections: connections, PerClient: perClient, Pipeline: pipeline, Queries: queries,
		Rate: ratePerSource, Unproven: rateForged, Amplification: amplification,
	})
	return d, err
}

// ServeUDP answers on conn until ctx ends, and closes it. It gives nil then, or the error that ended the socket.
func (d *DNS) ServeUDP(ctx context.Context, conn *net.UDPConn) error {
	return d.door.ServeUDP(ctx, conn)
}

// ServeTCP answers on the connections of l until ctx ends, and closes it. The error is that of ServeUDP.
func (d *DNS) ServeTCP(ctx context.Context, l *net.TCPListener) error { return d.door.ServeTCP(ctx, l) }

// ServeTLS is ServeTCP over TLS (RFC 7858; RFC 9539 between resolvers and authorities). credentials gives the
// configuration of each handshake.
func (d *DNS) ServeTLS(ctx context.Context, l *net.TCPListener, credentials func() *tls.Config) error {
	return d.door.ServeTLS(ctx, l, credentials)
}

// Delegation gives the records that the zone above needs, in presentation form: NS, glue, and DS last.
func (d *DNS) Delegation() []string { return d.zone.delegation(d.o.Servers, d.signer.Signer) }

// Zone is what the canary says of itself.
func (d *DNS) Zone() visit.Zone {
	return visit.Zone{
		Zone: d.o.Zone, Addresses: d.o.Addresses, Branches: visit.Branches, Keep: int(Keep / time.Second),
		DS: []string{d.signer.DS()}, Version: d.o.Version,
	}
}

// Challenge is the label below the zone at which an authority for certificates looks for its challenges (RFC 8555, section 8.4).
const Challenge = "_acme-challenge"

// SetChallenges changes the texts at [Challenge]: none, and the name is not there.
func (d *DNS) SetChallenges(texts ...string) error {
	var set []dnswire.Record
	for _, text := range texts {
		if len(text) > 255 {
			return errors.New("canary: a challenge has at most 255 octets")
		}
		set = append(set, dnswire.TXTRecord(Challenge+"."+d.zone.name, ttlShort, text))
	}
	d.challenges.Store(&set)
	return nil
}

// edeNotAuthoritative and edeNotSupported are Extended DNS Errors (RFC 8914, section 4).
const (
	edeNotAuthoritative = 20
	edeNotSupported     = 21
)

// Answer is for the door that the canary has: it keeps what a question shows, and answers it.
func (d *DNS) Answer(ctx context.Context, a door.Arrival) *door.Reply {
	if a.Name != d.zone.name && !under(a.Name, d.zone.name) {
		return refused(edeNotAuthoritative, "not a name of the zone that is served here")
	}
	if n := d.zone.own[a.Name]; n != nil {
		return d.reply(a, n, false)
	}
	if label, branch, _, err := visit.Parse(a.Name, d.zone.name); err == nil && !strings.Contains(a.Name, `\`) {
		q := queryOf(a)
		q.Network = d.o.Networks.Network(a.Addr.Addr())
		d.o.Log.Query(label, q)
		return d.visited(ctx, a, label, branch)
	}
	switch a.Name {
	case visit.Whoami + "." + d.zone.name:
		return d.reply(a, d.zone.whoami(a.Name, a.Addr.Addr()), false)
	case Challenge + "." + d.zone.name:
		if set := d.challenges.Load(); set != nil && len(*set) > 0 {
			return d.reply(a, &node{sets: [][]dnswire.Record{*set}}, false)
		}
	}
	return d.missing(a)
}

// queryOf is what is kept of a question.
func queryOf(a door.Arrival) visit.Query {
	q := visit.Query{
		From: a.Addr, Over: a.Proto.String(), Name: a.Spelled, Type: a.Type.String(), Cookie: a.Cookie,
		MixedCase: strings.ToLower(a.Spelled) != a.Spelled && strings.ToUpper(a.Spelled) != a.Spelled,
		DNSSEC:    a.DNSSEC, Size: a.UDPSize,
	}
	if a.Subnet.IsValid() {
		q.Subnet = a.Subnet.String()
	}
	return q
}

// visited answers for a visit's name as its branch says.
func (d *DNS) visited(ctx context.Context, a door.Arrival, label string, branch visit.Branch) *door.Reply {
	switch branch {
	case visit.Silent:
		return nil
	case visit.Servfail:
		return &door.Reply{Reply: dnswire.Reply{RCode: dnswire.ServFail}, Authoritative: true}
	case visit.Refused:
		return &door.Reply{Reply: dnswire.Reply{RCode: dnswire.Refused}}
	case visit.Nxdomain:
		return d.absent(a, label)
	case visit.TCP:
		if a.Proto == door.UDP {
			return &door.Reply{Authoritative: true, Truncated: true}
		}
	case visit.Slow:
		if !d.wait(ctx) {
			return nil
		}
	}
	return d.reply(a, d.zone.visited(a.Name, label, branch), branch == visit.Bogus)
}

// wait waits for as long as [visit.Slow] is slow. It says false where there is to be no answer.
func (d *DNS) wait(ctx context.Context) bool {
	defer d.slow.Add(-1)
	if d.slow.Add(1) > maxSlow {
		return false
	}
	t := time.NewTimer(slowness)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func refused(code uint16, text string) *door.Reply {
	return &door.Reply{Reply: dnswire.Reply{RCode: dnswire.Refused, EDE: []dnswire.EDE{{Code: code, Text: text}}}}
}

// reply answers a question for a name that is there.
func (d *DNS) reply(a door.Arrival, n *node, bogus bool) *door.Reply {
	w := &writing{d: d, signed: a.DNSSEC, bogus: bogus}
	switch set := n.of(a.Type); {
	case a.Type == typeRRSIG:
		return refused(edeNotSupported, "signatures are given with what they sign")
	case a.Type == dnswire.ANY: // RFC 8482, section 4.2
		w.say(&w.Answer, []dnswire.Record{d.zone.any.Named(a.Name, ttlApex)}, false)
	case a.Type == typeNSEC:
		w.signed = true
		w.say(&w.Answer, denial(a.Name, n.types()), false)
	case set != nil:
		w.say(&w.Answer, set, n.kept)
	default:
		w.say(&w.Authority, d.zone.soa, true)
		w.prove(denial(a.Name, n.types()), false)
	}
	return w.reply()
}

// missing answers a question for a name that is not there: by its response code, and for those who want proof by a compact one
// (RFC 9824), where the response code is told to those alone who know what that means.
func (d *DNS) missing(a door.Arrival) *door.Reply {
	w := &writing{d: d, signed: a.DNSSEC}
	proof := denial(a.Name, []dnswire.Type{typeRRSIG, typeNSEC, typeNXNAME})
	if a.Type == typeNSEC {
		w.signed = true
		w.say(&w.Answer, proof, false)
		return w.reply()
	}
	if !a.DNSSEC || a.Compact {
		w.RCode = dnswire.NXDomain
	}
	w.say(&w.Authority, d.zone.soa, true)
	w.prove(proof, false)
	return w.reply()
}

// absent answers for [visit.Nxdomain] with the response code in any case, and with a proof that every resolver knows.
func (d *DNS) absent(a door.Arrival, label string) *door.Reply {
	if a.Compact {
		return d.missing(a)
	}
	w := &writing{d: d, signed: a.DNSSEC}
	w.RCode = dnswire.NXDomain
	w.say(&w.Authority, d.zone.soa, true)
	w.prove(d.zone.absence(label), false)
	w.prove(d.zone.noStar, true)
	return w.reply()
}

// writing is a reply that is being made.
type writing struct {
	d      *DNS
	signed bool // signatures and proofs are wanted
	bogus  bool // signatures are to be wrong
	failed bool
	door.Reply
}

// say puts a set into a section, with its signature.
func (w *writing) say(section *[]dnswire.Record, set []dnswire.Record, kept bool) {
	*section = append(*section, set...)
	if !w.signed || w.failed {
		return
	}
	sign := w.d.signer.sign
	if kept {
		sign = w.d.signer.signKept
	}
	sig, err := sign(set)
	if err == nil && w.bogus {
		sig, err = dnssec.Spoil(sig)
	}
	w.failed = err != nil
	*section = append(*section, sig)
}

// prove puts a proof into the authority section, where it is wanted.
func (w *writing) prove(set []dnswire.Record, kept bool) {
	if w.signed {
		w.say(&w.Authority, set, kept)
	}
}

func (w *writing) reply() *door.Reply {
	if w.failed { // a name so long that none comes after it
		return &door.Reply{Reply: dnswire.Reply{RCode: dnswire.ServFail}}
	}
	w.Authoritative = true
	return &w.Reply
}
