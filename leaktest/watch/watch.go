// Package watch sees what leaves this host while the leak test runs: the packets on every interface, and the sockets of this
// process.
//
// It promises that what it did not see is said ([Seen.Blind]): without the right to read packets, with packets that were lost, or
// where this system has no such thing, nothing that it says is a proof. Packets are read by another process, this program again,
// which has CAP_NET_RAW alone, no way to send or to open anything, and ends with this one. Whatever comes, it keeps no more than
// its bounds. It looks for labels that are random, so that what is found is no chance; and it never sends a packet.
//
// It sees no packet of another network namespace before it comes to this one, nor what passes by the taps of the kernel (AF_XDP,
// packet sockets with PACKET_QDISC_BYPASS); and in what is encrypted it sees nothing.
package watch

import (
	"errors"
	"io"
	"net/netip"
	"time"
)

// What is a kind of sighting.
type What string

// The kinds: a label in a packet, and packets to ports on which names are asked for.
const (
	Label   What = "label"
	DNS     What = "dns"     // port 53
	DoT     What = "dot"     // port 853, over TCP, or over UDP as DNS over QUIC has it
	MDNS    What = "mdns"    // port 5353
	LLMNR   What = "llmnr"   // port 5355
	NetBIOS What = "netbios" // port 137
)

// Form is how a label was written.
type Form string

// The forms. Of others, such as "percent-encoding", the name is that of package capture.
const (
	Wire   Form = "wire" // a question of DNS (RFC 1035)
	SNI    Form = "sni"  // of TLS or QUIC
	Host   Form = "host" // of an HTTP request
	Text   Form = "text" // in any other place
	Base32 Form = "base32"
	Base64 Form = "base64"
	Hex    Form = "hex"
)

// Sighting is what one kind of packets between two ends showed.
type Sighting struct {
	At        time.Time // of the first of them
	Interface string
	Outgoing  bool // sent by this host, or by one behind it that it forwards for
	From, To  netip.AddrPort
	Proto     string // tcp, udp, icmp
	What      What
	Form      Form   // of a label
	Label     string // that was found
	// Process is the program on this host that the packet is of, as "NAME (PID)", if that is known; Ours says that it is this one.
	// One that has ended, or whose sockets this user may not see, is not known.
	Process string
	Ours    bool
	Times   int // how many packets
}

// Options says what to look for, and what is no sighting.
type Options struct {
	// Labels gives what to look for. It is called all the time; a label must be there before it is used, and is looked for from then
	// on to the end, also where it is not given any more. A label has 8 octets at least; more than 4096 are an error of the run.
	Labels func() []string
	// Doors gives where clients come in to this program. Between them and clients on this host, a label is in its place. Nil: only
	// what the sockets of this process say is known.
	Doors func() []netip.AddrPort
	// Resolvers are where the channels reach encrypted resolvers. That packets go there is no sighting, unless it is on a port of
	// clear text.
	Resolvers []netip.AddrPort
	// Destinations gives with whom a label may be spoken of in the clear, but for questions of DNS: where the test itself goes, and a
	// proxy without TLS that is told names. Nil: nobody.
	Destinations func() []netip.AddrPort
	// Own are names that this program has reason to look up: a question of DNS for one of them that leaves in clear is a sighting of
	// [Label], whoever asks. 256 at most.
	Own []string
	// PCAP gets every packet that was seen, up to 64 MiB of them, as pcapng. Nil: nobody does.
	PCAP io.Writer
}

func (o Options) validate() error {
	if o.Labels == nil {
		return errors.New("watch: nobody says which labels are looked for")
	}
	if len(o.Own) > maxOwn {
		return errors.New("watch: there are more names of the program's own than are looked for")
	}
	return nil
}

// Seen is what was seen from Start to Stop.
type Seen struct {
	Interfaces []string   // on which packets were read; those that came and went, too
	Packets    uint64     // that were read
	Sightings  []Sighting // 1000 at most, in the order of At
	More       int        // sightings beyond these
	// Sockets are those of this process that lead to a port where names are asked for, or hear there without being a door.
	Sockets []Socket
	// Blind says what could not be seen, and why, and what to do; empty: nothing. With it the rest proves nothing.
	Blind string
	// PCAPCut says that there were more packets than PCAP got.
	PCAPCut bool
}

// Limits.
const (
	maxLabels    = 4096
	maxOwn       = 256
	maxSightings = 1000
	maxAddresses = 4096      // of each kind in Options
	maxPCAP      = 64 << 20  // octets of packets
	maxPending   = 64 << 20  // octets of packets that are not searched yet
	maxFlows     = 8192      // directions of connections whose ends are remembered
	maxBegin     = 16 << 10  // octets of the beginning of a stream that are remembered until it is read
	maxMessage   = 256 << 10 // octets between the two processes
	tick         = 50 * time.Millisecond
	startWait    = 10 * time.Second
	stopWait     = 20 * time.Second
)

// ports are where names are asked for.
var ports = map[uint16]What{53: DNS, 853: DoT, 5353: MDNS, 5355: LLMNR, 137: NetBIOS}
