package dnswire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// How long an answer may be kept at most, whatever it says of itself.
const (
	MaxTTL         = 24 * time.Hour
	MaxNegativeTTL = 3 * time.Hour // RFC 2308, section 5: one to three hours work well
)

// ErrMalformed is wrapped by every error of ParseAnswer: the message is no answer to the question.
var ErrMalformed = errors.New("malformed reply")

// EDE is an Extended DNS Error (RFC 8914).
type EDE struct {
	Code uint16
	Text string // as the server wrote it, at most 256 octets; it may hold any octet
}

// Name gives the code's registered name, or its number.
func (e EDE) Name() string {
	if s, ok := dns.ExtendedErrorCodeToString[e.Code]; ok {
		return s
	}
	return fmt.Sprintf("EDE %d", e.Code)
}

// Answer is a checked reply to a question.
type Answer struct {
	Question
	RCode     int
	Canonical string   // the name at the end of the CNAME chain: the question's own where there is none
	Records   []Record // the chain in its order, then the records of the question's type at its end
	// TTL is how long the answer may be kept: the smallest of Records, and for a negative answer of the SOA record's
	// TTL and MINIMUM too (RFC 2308, section 5). At most MaxTTL or MaxNegativeTTL; 0 means not at all.
	TTL  time.Duration
	EDE  []EDE
	AD   bool   // the resolver says that it validated the answer
	Wire []byte // the whole message as it came

	age   time.Duration // since Wire came
	forms *forms        // how it is said to clients
}

// ParseAnswer reads the reply to q that was asked with this id. It follows CNAME records from the question, at
// most [MaxChain], and keeps nothing that is not reached that way. A reply whose response code is an error is an
// answer too. Every error wraps [ErrMalformed] and says what is wrong.
func ParseAnswer(b []byte, q Question, id uint16) (*Answer, error) {
	if err := checkHeader(b, id); err != nil {
		return nil, err
	}
	if p, ok := readPlain(b, q); ok {
		a := &Answer{Question: q, Canonical: q.Name, Records: p.records(q), EDE: p.ede, AD: b[3]&adBit != 0, Wire: b, forms: &forms{}}
		a.TTL = a.lifetime(nil)
		return a, nil
	}
	return parseAnswer(b, q)
}

// parseAnswer is ParseAnswer for a reply of any form whose header is good.
func parseAnswer(b []byte, q Question) (*Answer, error) {
	m, err := readReply(b, q)
	if err != nil {
		return nil, err
	}
	a := &Answer{Question: q, RCode: m.Rcode, AD: m.AuthenticatedData, Wire: b, forms: &forms{}}
	if opt := m.IsEdns0(); opt != nil {
		a.EDE = readEDE(opt)
	}
	if err := a.follow(m.Answer); err != nil {
		return nil, err
	}
	a.TTL = a.lifetime(m.Ns)
	return a, nil
}

// Message unpacks the reply to q whatever its ID is, for those who look at every record: package dnssec. Its checks are
// those of [ParseAnswer], and so are its errors.
func Message(b []byte, q Question) (*dns.Msg, error) {
	var id uint16
	if len(b) >= headerLen {
		id = binary.BigEndian.Uint16(b)
	}
	if err := checkHeader(b, id); err != nil {
		return nil, err
	}
	return readReply(b, q)
}

// readReply unpacks a reply whose header is good.
func readReply(b []byte, q Question) (*dns.Msg, error) {
	m, err := unpack(b)
	if err != nil {
		return nil, err
	}
	return m, checkQuestion(m.Question, q)
}

func checkHeader(b []byte, id uint16) error {
	if len(b) < headerLen {
		return fmt.Errorf("%w: %d octets are less than a header", ErrMalformed, len(b))
	}
	if len(b) > MaxMessage {
		return fmt.Errorf("%w: more than %d octets", ErrMalformed, MaxMessage)
	}
	flags := binary.BigEndian.Uint16(b[2:])
	switch {
	case flags&(1<<15) == 0:
		return fmt.Errorf("%w: a query, not a reply", ErrMalformed)
	case binary.BigEndian.Uint16(b) != id:
		return fmt.Errorf("%w: the wrong ID", ErrMalformed)
	case flags>>11&0xF != dns.OpcodeQuery:
		return fmt.Errorf("%w: the wrong opcode", ErrMalformed)
	case flags&(1<<9) != 0: // on a stream nothing is too long (RFC 7766, section 5)
		return fmt.Errorf("%w: truncated on a stream", ErrMalformed)
	}
	return nil
}

// unpack reads a message whose header is whole. The library forgives a message that ends before it holds as many
// records as its header says, and follows a compressed name wherever it leads; this does not. A name leads to one before it
// (RFC 1035, section 4.1.4), so that answer and authority are read without the additional section: they are kept without it.
func unpack(b []byte) (*dns.Msg, error) {
	end, err := endOfAuthority(b)
	if err != nil {
		return nil, err
	}
	alone := slices.Clone(b[:end])
	beside := binary.BigEndian.Uint16(b[10:])
	binary.BigEndian.PutUint16(alone[10:], 0)
	var m dns.Msg
	if err := m.Unpack(alone); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	for i, got := range []int{len(m.Question), len(m.Answer), len(m.Ns)} {
		if want := int(binary.BigEndian.Uint16(b[4+2*i:])); got != want {
			return nil, fmt.Errorf("%w: %d records in section %d, and the header says %d", ErrMalformed, got, i, want)
		}
	}
	for i := range beside {
		if end >= len(b) {
			return nil, fmt.Errorf("%w: %d records in section 3, and the header says %d", ErrMalformed, i, beside)
		}
		var rr dns.RR
		if rr, end, err = dns.UnpackRR(b, end); err != nil {
			return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
		}
		m.Extra = append(m.Extra, rr)
	}
	if beside > 0 { // a name that leads into the header reads the count that alone has not
		if err := new(dns.Msg).Unpack(b); err != nil {
			return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
		}
	}
	if opt := m.IsEdns0(); opt != nil {
		m.Rcode |= opt.ExtendedRcode()
	}
	return &m, nil
}

func checkQuestion(got []dns.Question, q Question) error {
	if len(got) != 1 {
		return fmt.Errorf("%w: %d questions instead of one", ErrMalformed, len(got))
	}
	if got[0].Qclass != dns.ClassINET || got[0].Qtype != uint16(q.Type) || CanonicalName(got[0].Name) != q.Name {
		return fmt.Errorf("%w: an answer to another question", ErrMalformed)
	}
	return nil
}

func readEDE(opt *dns.OPT) []EDE {
	var list []EDE
	for _, o := range opt.Option {
		if e, ok := o.(*dns.EDNS0_EDE); ok && len(list) < maxEDE {
			list = append(list, EDE{Code: e.InfoCode, Text: e.ExtraText[:min(len(e.ExtraText), maxEDEText)]})
		}
	}
	return list
}

// follow walks from the question through the CNAME records of section to the name at the end, and keeps the records
// there.
func (a *Answer) follow(section []dns.RR) error {
	a.Canonical = a.Name
	for range MaxChain + 1 {
		before := len(a.Records)
		var link *dns.CNAME
		for _, rr := range section {
			h := rr.Header()
			if h.Class != dns.ClassINET || CanonicalName(h.Name) != a.Canonical {
				continue
			}
			if a.Type == ANY || h.Rrtype == uint16(a.Type) {
				a.Records = append(a.Records, newRecord(rr))
			} else if c, ok := rr.(*dns.CNAME); ok && link == nil {
				link = c
			}
		}
		if len(a.Records) > before || link == nil {
			return nil
		}
		if link.Target == "" {
			return fmt.Errorf("%w: a CNAME record that names nothing", ErrMalformed)
		}
		r := newRecord(link)
		if slices.ContainsFunc(a.Records, func(old Record) bool { return old.Name == r.Host }) || r.Host == r.Name {
			return fmt.Errorf("%w: its CNAME records form a loop", ErrMalformed)
		}
		a.Records = append(a.Records, r)
		a.Canonical = r.Host
	}
	return fmt.Errorf("%w: a chain of more than %d CNAME records", ErrMalformed, MaxChain)
}

// lifetime is how long the answer may be kept; authority is the section of that name.
func (a *Answer) lifetime(authority []dns.RR) time.Duration {
	ttl := MaxTTL
	if a.Negative() {
		ttl = min(MaxNegativeTTL, a.negativeTTL(authority))
	}
	for _, r := range a.Records {
		ttl = min(ttl, time.Duration(r.TTL)*time.Second)
	}
	return ttl
}

// negativeTTL is the smaller of the SOA record's TTL and its MINIMUM field (RFC 2308, section 5). Without a SOA
// record of a zone that holds the name, a negative answer is not kept.
func (a *Answer) negativeTTL(authority []dns.RR) time.Duration {
	for _, rr := range authority {
		soa, ok := rr.(*dns.SOA)
		if ok && soa.Hdr.Class == dns.ClassINET && isUnder(a.Canonical, CanonicalName(soa.Hdr.Name)) {
			return time.Duration(min(plainTTL(soa.Hdr.Ttl), plainTTL(soa.Minttl))) * time.Second
		}
	}
	return 0
}

// Negative says that the name does not exist, or that it has no record of the type asked for: there is an answer,
// and it is no.
func (a *Answer) Negative() bool {
	switch a.RCode {
	case NXDomain:
		return true
	case NoError:
		return !a.has()
	}
	return false
}

// has says whether there is a record of the type asked for.
func (a *Answer) has() bool {
	return slices.ContainsFunc(a.Records, func(r Record) bool { return r.Type == a.Type || a.Type == ANY })
}

// Final gives the records of the type asked for, without the chain that led there. It is a view into Records.
func (a *Answer) Final() []Record {
	i := slices.IndexFunc(a.Records, func(r Record) bool { return r.Type == a.Type || a.Type == ANY })
	if i < 0 {
		return nil
	}
	return a.Records[i:]
}

// Addrs gives the addresses of the A or AAAA records at the end of the chain.
func (a *Answer) Addrs() []netip.Addr {
	if a.RCode != NoError {
		return nil
	}
	var list []netip.Addr
	for _, r := range a.Final() {
		if r.Addr.IsValid() {
			list = append(list, r.Addr)
		}
	}
	return list
}

// Aged gives the answer as it is after it was kept for a time: every TTL is smaller by it, and none less than zero.
func (a *Answer) Aged(by time.Duration) *Answer {
	older := *a
	older.TTL = max(0, a.TTL-by)
	older.age += max(0, by)
	older.Records = slices.Clone(a.Records)
	seconds := uint32(min(max(0, by), MaxTTL) / time.Second)
	for i := range older.Records {
		r := &older.Records[i]
		r.TTL -= min(seconds, r.TTL)
	}
	return &older
}
