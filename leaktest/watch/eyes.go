package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"watertight/capture"
)

// eyes look at packets. They keep what they must to see a label that is split over several, within bounds.
type eyes struct {
	finder       *capture.Finder
	labels       map[string]bool
	own          map[string]bool // names of the program's own
	doors        map[netip.AddrPort]bool
	resolvers    map[netip.AddrPort]bool
	destinations map[netip.AddrPort]bool
	loopback     func(index int) bool

	streams map[line]*stream
	hellos  map[line]*hello

	seen     map[mark]*sight
	fresh    []*sight // not told yet
	more     int
	packets  uint64
	crowded  uint64 // packets of connections that there was no room to remember
	unsought uint64 // packets in which nobody looked, as there were too many
}

// line is one direction of a flow at one interface.
type line struct {
	index    int
	from, to netip.AddrPort
}

// stream is what is remembered of one direction of a connection.
type stream struct {
	next  uint32
	begin []byte // until a name was read there, or there is too much
	tail  []byte // the last octets, in which a label may have begun
	first capture.Packet
	past  bool // the beginning was missed, or is read
}

// hello is the beginning of a connection of QUIC.
type hello struct {
	initials capture.QUICHello
	told     bool
}

// sight is a sighting before anybody knows whose packet it is.
type sight struct {
	Sighting
	Index    int
	Loopback bool
	told     int // how many of Times were told
}

// mark is what makes two packets one sighting.
type mark struct {
	line
	what  What
	form  Form
	label string
}

func newEyes(loopback func(int) bool) *eyes {
	return &eyes{
		labels: map[string]bool{}, own: map[string]bool{}, doors: map[netip.AddrPort]bool{}, resolvers: map[netip.AddrPort]bool{}, destinations: map[netip.AddrPort]bool{},
		loopback: loopback, streams: map[line]*stream{}, hellos: map[line]*hello{}, seen: map[mark]*sight{},
	}
}

var errTooMany = errors.New("there are more labels than are looked for")

// seek adds labels.
func (e *eyes) seek(labels []string) error {
	for _, l := range labels {
		if l = strings.ToLower(l); e.labels[l] {
			continue
		}
		if len(e.labels) >= maxLabels {
			return errTooMany
		}
		if e.finder == nil {
			f, err := capture.NewFinder(nil)
			if err != nil {
				return err
			}
			e.finder = f
		}
		if err := e.finder.Add(l); err != nil {
			return err
		}
		e.labels[l] = true
	}
	return nil
}

// glance looks at the ends of a packet: it needs no label.
func (e *eyes) glance(p *capture.Packet, index int) {
	what := ports[p.To.Port()]
	if what == "" || !p.Outgoing || p.Proto != capture.TCP && p.Proto != capture.UDP {
		return
	}
	if what == DoT && e.resolvers[plain(p.To)] || e.byDoor(p, index) {
		return
	}
	e.note(p, index, what, "", "")
	if what != DoT && len(e.own) > 0 {
		for _, asked := range capture.Begins(p, p.Payload) {
			if asked.Means == capture.ByDNS && e.own[asked.Name] {
				e.note(p, index, Label, Wire, asked.Name)
			}
		}
	}
}

// search looks for labels in a packet, and in the stream that it is part of.
func (e *eyes) search(p *capture.Packet, index int) {
	if e.finder == nil || e.byDoor(p, index) {
		return
	}
	at := line{index, p.From, p.To}
	found := e.finder.Find(p.Frame)
	switch p.Proto {
	case capture.TCP:
		found = e.joined(p, at, found)
	case capture.UDP:
		e.quic(p, at)
	}
	for _, f := range found {
		e.found(p, index, f, e.clear(p, at, f))
	}
	if p.Closes() {
		delete(e.streams, at)
	}
}

// byDoor says that a packet is between a client on this host and one of the program's doors.
func (e *eyes) byDoor(p *capture.Packet, index int) bool {
	if !e.loopback(index) {
		return false
	}
	if about := p.About(); about != nil { // the door is shut
		p = about
	}
	for _, end := range []netip.AddrPort{p.From, p.To} {
		end = plain(end)
		everywhere := e.doors[netip.AddrPortFrom(netip.IPv4Unspecified(), end.Port())] || e.doors[netip.AddrPortFrom(netip.IPv6Unspecified(), end.Port())]
		if e.doors[end] || everywhere && ordinary(end.Addr()) {
			return true
		}
	}
	return false
}

// joined remembers what a segment brings, and looks for labels that began in one before it.
func (e *eyes) joined(p *capture.Packet, at line, found []capture.Found) []capture.Found {
	s := e.streams[at]
	if s == nil || p.Opens() {
		if len(p.Payload) == 0 && !p.Opens() {
			return found
		}
		if s == nil && len(e.streams) >= maxFlows {
			e.crowded++
			for old := range e.streams { // any: there is no better one
				delete(e.streams, old)
				break
			}
		}
		s = &stream{next: p.Sequence(), first: *p}
		s.first.Frame, s.first.Payload = nil, nil
		e.streams[at] = s
	}
	data := p.Payload
	if len(data) == 0 {
		return found
	}
	seq := p.Sequence()
	switch old := int32(s.next - seq); {
	case old < 0: // a gap
		s.tail, s.past = nil, true
	case int(old) >= len(data): // sent again
		return found
	default:
		data = data[old:]
	}
	s.next = seq + uint32(len(p.Payload))
	if !s.past {
		if len(s.begin)+len(data) > maxBegin {
			s.begin, s.past = append(s.begin, data[:maxBegin-len(s.begin)]...), true
		} else {
			s.begin = append(s.begin, data...)
		}
	}
	keep := e.finder.Longest()
	if len(s.tail) > 0 {
		for _, f := range e.finder.Find(slices.Concat(s.tail, data[:min(len(data), keep)])) {
			if !slices.ContainsFunc(found, func(g capture.Found) bool { return g.Name == f.Name }) {
				found = append(found, f)
			}
		}
	}
	if len(data) >= keep {
		s.tail = bytes.Clone(data[len(data)-keep:])
	} else {
		s.tail = append(s.tail, data...)
		s.tail = s.tail[max(0, len(s.tail)-keep):]
	}
	return found
}

// quic looks into the beginnings of connections of QUIC, which are encrypted with what everybody can derive.
func (e *eyes) quic(p *capture.Packet, at line) {
	h := e.hellos[at]
	if h == nil {
		if len(p.Payload) < 1200 || p.Payload[0]&0xc0 != 0xc0 { // RFC 9000, sections 14.1 and 17.2
			return
		}
		if len(e.hellos) >= maxFlows {
			e.crowded++
			for old := range e.hellos {
				delete(e.hellos, old)
				break
			}
		}
		h = &hello{}
		e.hellos[at] = h
	}
	if h.told || len(p.Payload) == 0 || p.Payload[0]&0xc0 != 0xc0 {
		return
	}
	h.initials.Add(p.Payload)
	for _, f := range e.finder.Find(h.initials.Message()) {
		h.told = true
		e.found(p, at.index, f, SNI)
	}
}

// clear says as what a label stands in the clear.
func (e *eyes) clear(p *capture.Packet, at line, f capture.Found) Form {
	if f.Form != "text" {
		return ""
	}
	data := p.Payload
	if s := e.streams[at]; p.Proto == capture.TCP && s != nil && len(s.begin) > 0 {
		data = s.begin
	}
	if unfinished(data) {
		return SNI // nothing else in it is in the clear
	}
	for _, r := range capture.Begins(p, data) {
		if strings.Contains(r.Name, f.Name) {
			return map[capture.Means]Form{capture.ByDNS: Wire, capture.BySNI: SNI, capture.ByHost: Host}[r.Means]
		}
	}
	return Text
}

// unfinished says that a handshake of TLS goes on in the next segment (RFC 8446, section 5.1).
func unfinished(data []byte) bool {
	return len(data) >= 5 && data[0] == 22 && data[1] == 3 && 5+int(binary.BigEndian.Uint16(data[3:])) > len(data)
}

// forms gives the names of forms that differ from those of package capture.
var forms = map[string]Form{"hexadecimal": Hex, "base32hex": Base32, "base64url": Base64, "dns labels": Wire, "text": Text}

// found notes a label.
func (e *eyes) found(p *capture.Packet, index int, f capture.Found, form Form) {
	if form == "" {
		form = Form(f.Form)
		if known, ok := forms[f.Form]; ok {
			form = known
		}
	}
	if form != Wire && (e.destinations[plain(p.To)] || e.destinations[plain(p.From)]) {
		return
	}
	e.note(p, index, Label, form, f.Name)
}

// note counts a sighting.
func (e *eyes) note(p *capture.Packet, index int, what What, form Form, label string) {
	m := mark{line{index, p.From, p.To}, what, form, label}
	if s := e.seen[m]; s != nil {
		s.Times++
		return
	}
	if len(e.seen) >= maxSightings {
		e.more++
		return
	}
	s := &sight{Index: index, Loopback: e.loopback(index), Sighting: Sighting{
		At: p.Time, Outgoing: p.Outgoing, From: plain(p.From), To: plain(p.To), Proto: string(p.Proto), What: what, Form: form, Label: label, Times: 1,
	}}
	e.seen[m] = s
	e.fresh = append(e.fresh, s)
}

// plain is an address as others write it.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
