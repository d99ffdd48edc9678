package capture_test

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/net/http2/hpack"

	"watertight/capture"
)

const name = "k7q2vx.probe.example.net"

var (
	client = netip.MustParseAddrPort("192.168.77.10:40000")
	server = netip.MustParseAddrPort("151.216.3.10:443")
)

// udp and tcp build frames with an implementation that is not the one under test.
func udp(t testing.TB, from, to netip.AddrPort, payload []byte) capture.Packet {
	t.Helper()
	l := &layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}
	return frame(t, from, to, layers.IPProtocolUDP, l, payload)
}

func tcp(t testing.TB, from, to netip.AddrPort, seq uint32, syn bool, payload []byte) capture.Packet {
	t.Helper()
	l := &layers.TCP{SrcPort: layers.TCPPort(from.Port()), DstPort: layers.TCPPort(to.Port()), Seq: seq, SYN: syn, DataOffset: 5}
	return frame(t, from, to, layers.IPProtocolTCP, l, payload)
}

func frame(t testing.TB, from, to netip.AddrPort, proto layers.IPProtocol, transport gopacket.SerializableLayer, payload []byte) capture.Packet {
	t.Helper()
	ether := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}
	var network gopacket.SerializableLayer = &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: proto, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
	if from.Addr().Is6() {
		ether.EthernetType = layers.EthernetTypeIPv6
		network = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
	}
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true}, ether, network, transport, gopacket.Payload(payload))
	if err != nil {
		t.Fatal(err)
	}
	p := capture.Decode(bytes.Clone(b.Bytes()))
	p.Point = "here"
	return p
}

func TestDecode_ReadsWhoSpeaksToWhom(t *testing.T) {
	six := netip.MustParseAddrPort("[2a12:4940:3::10]:53")
	for _, p := range []struct {
		got   capture.Packet
		proto capture.Proto
		to    netip.AddrPort
	}{
		{udp(t, client, server, []byte("x")), capture.UDP, server},
		{tcp(t, client, server, 1, false, []byte("x")), capture.TCP, server},
		{udp(t, netip.MustParseAddrPort("[2a12:4940:1::10]:9"), six, []byte("x")), capture.UDP, six},
	} {
		if p.got.Proto != p.proto || p.got.To != p.to || string(p.got.Payload) != "x" {
			t.Errorf("%v with %q, and it should go to %v", p.got, p.got.Payload, p.to)
		}
	}
}

func TestDecode_KeepsWhatItCannotReadAsAPacketToNobody(t *testing.T) {
	whole := udp(t, client, server, []byte("something"))
	for n := range len(whole.Frame) {
		p := capture.Decode(whole.Frame[:n])
		if len(capture.Strangers([]capture.Packet{p}, nil)) != 1 {
			t.Errorf("a packet cut to %d octets is taken for no packet", n)
		}
	}
}

func percent(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02x", c)
	}
	return b.String()
}

// disguises are payloads that have a name in them.
func disguises(name string) map[string][]byte {
	var labels []byte
	for label := range strings.SplitSeq(name, ".") {
		labels = append(append(labels, byte(len(label))), label...)
	}
	upper := strings.ToUpper(name)
	disguises := map[string][]byte{
		"text":                []byte("GET http://" + name + "/ HTTP/1.1"),
		"upper case":          []byte(upper),
		"mixed case":          []byte("K7q2VX.pRoBe.eXample.NET"),
		"dns labels":          append([]byte{0, 1, 2}, labels...),
		"dns labels, 0x20":    bytes.ToUpper(labels),
		"hexadecimal":         []byte(hex.EncodeToString([]byte(name))),
		"upper hexadecimal":   []byte(strings.ToUpper(hex.EncodeToString([]byte(name)))),
		"utf-16":              []byte(strings.Join(strings.Split(name, ""), "\x00")),
		"backwards":           []byte("x=ten.elpmaxe.eborp.XV2Q7K!"),
		"percent-encoding":    []byte(percent(name)),
		"percent, upper":      []byte(strings.ToUpper(percent(name))),
		"base32 of upper":     []byte(base32.StdEncoding.EncodeToString([]byte(upper))),
		"base32hex, no pad":   []byte(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(name))),
		"base32, lower, as a": []byte(strings.ToLower(base32.StdEncoding.EncodeToString([]byte(name)))),
	}
	for pad := range 5 {
		raw := append(bytes.Repeat([]byte("~"), pad), name+" and more"...)
		disguises["base64 behind "+strings.Repeat("~", pad)] = []byte(base64.StdEncoding.EncodeToString(raw))
		disguises["base64url behind "+strings.Repeat("~", pad)] = []byte(base64.RawURLEncoding.EncodeToString(raw))
		disguises["base32 behind "+strings.Repeat("~", pad)] = []byte(base32.StdEncoding.EncodeToString(raw))
	}
	for _, before := range []string{"", "a", "~", "https://", "x=", "\x00", "?", "!!!", "ab", "1234567"} {
		disguises["hpack behind "+before] = hpack.AppendHuffmanString([]byte{0x82}, before+name+":8443")
	}
	return disguises
}

func TestSearch_FindsANameInEveryDisguise(t *testing.T) {
	for disguise, payload := range disguises(name) {
		if hits := capture.Search([]capture.Packet{udp(t, client, server, payload)}, name); len(hits) != 1 {
			t.Errorf("%s: %d hits in %q", disguise, len(hits), payload)
		}
	}
	for _, innocent := range []string{"other.probe.example.net", "k7q2vx.probe.example.org", ""} {
		if hits := capture.Search([]capture.Packet{udp(t, client, server, []byte(innocent))}, name); len(hits) != 0 {
			t.Errorf("found in %q: %v", innocent, hits)
		}
	}
}

func TestSearch_FindsANameThatIsSplitOverSegments(t *testing.T) {
	for cut := 1; cut < len(name); cut++ {
		a, b := []byte("-- "+name[:cut]), []byte(name[cut:]+" --")
		packets := []capture.Packet{
			tcp(t, client, server, 99, true, nil),
			tcp(t, client, server, 100, false, a),
			tcp(t, server, client, 7, false, []byte("something in between")),
			tcp(t, client, server, 100, false, a), // sent again
			tcp(t, client, server, 100+uint32(len(a)), false, b),
		}
		hits := capture.Search(packets, name)
		if len(hits) != 1 || !hits[0].Split {
			t.Errorf("cut behind %d: %v", cut, hits)
		}
	}
}

func TestStrangers_AreAllButThePermittedAndWhatMakesALinkWork(t *testing.T) {
	arp := make([]byte, 60)
	binary.BigEndian.PutUint16(arp[12:], 0x0806)
	permitted := []capture.Peer{{Proto: capture.TCP, At: server}}
	for _, c := range []struct {
		what     string
		packet   capture.Packet
		stranger bool
	}{
		{"to the peer", tcp(t, client, server, 1, false, nil), false},
		{"from the peer", tcp(t, server, client, 1, false, nil), false},
		{"to another port", tcp(t, client, netip.AddrPortFrom(server.Addr(), 53), 1, false, nil), true},
		{"by another protocol", udp(t, client, server, nil), true},
		{"to another address", tcp(t, client, netip.MustParseAddrPort("8.8.8.8:443"), 1, false, nil), true},
		{"address resolution", capture.Decode(arp), false},
		{"something unheard of", capture.Decode(make([]byte, 60)), true},
	} {
		if got := len(capture.Strangers([]capture.Packet{c.packet}, permitted)) == 1; got != c.stranger {
			t.Errorf("%s: a stranger: %v", c.what, got)
		}
	}
}

func TestNames_ReadsQuestionsHellosAndHosts(t *testing.T) {
	query := question(name)
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
	resolver := netip.MustParseAddrPort("9.9.9.9:53")
	packets := []capture.Packet{
		udp(t, client, resolver, query),
		tcp(t, client, resolver, 1, false, append(framed, framed...)),
		tcp(t, client, server, 1, false, hello(t, name)),
		tcp(t, client, netip.MustParseAddrPort("151.216.3.10:80"), 1, false, []byte("GET / HTTP/1.1\r\nUser-Agent: x\r\nhost: "+name+"\r\n\r\n")),
		tcp(t, client, netip.MustParseAddrPort("151.216.3.10:8080"), 1, false, []byte("CONNECT "+name+":443 HTTP/1.1\r\n\r\n")),
		udp(t, client, server, []byte("not a question at all, but long enough to be one")),
	}
	counted := map[capture.Means]int{}
	for _, r := range capture.Names(packets) {
		if strings.TrimSuffix(r.Name, ":443") != name {
			t.Errorf("read %q", r.Name)
		}
		counted[r.Means]++
	}
	if counted[capture.ByDNS] != 3 || counted[capture.BySNI] != 1 || counted[capture.ByHost] != 2 {
		t.Errorf("read %v", counted)
	}
}

func TestWrite_IsReadByAnotherImplementation(t *testing.T) {
	a, b := udp(t, client, server, []byte("one")), udp(t, server, client, []byte("two"))
	b.Point = "there"
	for _, packets := range [][]capture.Packet{nil, {a, b, a}} {
		var file bytes.Buffer
		if err := capture.Write(&file, packets); err != nil {
			t.Fatal(err)
		}
		r, err := pcapgo.NewNgReader(&file, pcapgo.NgReaderOptions{WantMixedLinkType: true})
		if err != nil {
			t.Fatal(err)
		}
		for i := range packets {
			data, info, err := r.ReadPacketData()
			if err != nil || !bytes.Equal(data, packets[i].Frame) {
				t.Fatalf("packet %d: %v: %x", i, err, data)
			}
			face, err := r.Interface(info.InterfaceIndex)
			if err != nil || face.Name != packets[i].Point {
				t.Errorf("packet %d was seen at %q: %v", i, face.Name, err)
			}
		}
	}
}
