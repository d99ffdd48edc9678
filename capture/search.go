package capture

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// Hit is a place where a name was found.
type Hit struct {
	Packet Packet // where the stream it was found in began, if it was split over several
	Form   string // how the name was written
	Split  bool   // found only after the segments of a TCP stream were joined
}

// needle is one disguise of a name.
type needle struct {
	form string
	text []byte
	fold bool // letters match in either case; text is in lower case
}

// needles gives the disguises of a name that are looked for: as text, forwards and backwards, as DNS labels (RFC 1035,
// section 3.1), percent-encoded (RFC 3986, section 2.1), in hexadecimal, base32 and base64 (RFC 4648), and in the
// Huffman code of HTTP/2 and HTTP/3 (RFC 7541, section 5.2), the last three in every alignment to the text around them.
func needles(name string) []needle {
	lower := strings.ToLower(strings.Trim(name, "."))
	backwards := []byte(lower)
	slices.Reverse(backwards)
	out := []needle{{"text", []byte(lower), true}, {"text backwards", backwards, true}}
	if strings.Contains(lower, ".") {
		out = append(out, needle{"dns labels", labels(lower), true})
	}
	for _, raw := range []string{lower, strings.ToUpper(lower)} {
		out = append(out,
			needle{"hexadecimal", []byte(hex.EncodeToString([]byte(raw))), true},
			needle{"percent-encoding", percent(raw), true},
			needle{"utf-16", utf16([]byte(raw)), false})
		for shift := range 8 {
			if b := huffman(raw, shift); len(b) >= minNeedle {
				out = append(out, needle{"hpack", b, false})
			}
		}
		for pad := range 5 {
			if b := aligned(raw, pad, 5, 8, base32.StdEncoding.EncodeToString); len(b) >= minNeedle {
				out = append(out, needle{"base32", bytes.ToLower(b), true})
			}
			if b := aligned(raw, pad, 5, 8, base32.HexEncoding.EncodeToString); len(b) >= minNeedle {
				out = append(out, needle{"base32hex", bytes.ToLower(b), true})
			}
		}
		for pad := range 3 {
			std := aligned(raw, pad, 3, 4, base64.StdEncoding.EncodeToString)
			url := aligned(raw, pad, 3, 4, base64.URLEncoding.EncodeToString)
			if len(std) >= minNeedle {
				out = append(out, needle{"base64", std, false})
			}
			if !bytes.Equal(std, url) && len(url) >= minNeedle {
				out = append(out, needle{"base64url", url, false})
			}
		}
	}
	return out
}

// minNeedle keeps a disguise of a very short name from matching by chance.
const minNeedle = 6

// aligned encodes raw as it would stand after pad other octets, and keeps only the characters that depend on raw
// alone. In is the octets and out the characters of one group of the encoding.
func aligned(raw string, pad, in, out int, encode func([]byte) string) []byte {
	text := encode(append(make([]byte, pad), raw...))
	bits := 8 * in / out // carried by one character
	first := (8*pad + bits - 1) / bits
	last := 8 * (pad + len(raw)) / bits
	if first >= last {
		return nil
	}
	return []byte(text[first:last])
}

func labels(name string) []byte {
	var b []byte
	for label := range strings.SplitSeq(name, ".") {
		b = append(b, byte(len(label)))
		b = append(b, label...)
	}
	return b
}

// percent writes every octet as %xx, in lower case.
func percent(raw string) []byte {
	var b []byte
	for _, c := range []byte(raw) {
		b = append(b, '%')
		b = hex.AppendEncode(b, []byte{c})
	}
	return b
}

// huffman writes raw in the Huffman code of headers, as it would stand after so many bits of other text, and keeps
// only the octets that depend on raw alone.
func huffman(raw string, shift int) []byte {
	code := hpack.AppendHuffmanString(nil, raw)
	code = code[:max(0, len(code)-1)] // the last octet may be filled up
	if shift == 0 {
		return code
	}
	var b []byte
	for i := 1; i < len(code); i++ {
		b = append(b, code[i-1]<<(8-shift)|code[i]>>shift)
	}
	return b
}

func utf16(raw []byte) []byte {
	b := make([]byte, 0, 2*len(raw))
	for _, c := range raw {
		b = append(b, c, 0)
	}
	return b[:len(b)-1]
}

// Search finds name in packets, in any disguise and in either case. It looks at the whole of every packet, and at
// every TCP stream with its segments joined.
func Search(packets []Packet, name string) []Hit {
	var hits []Hit
	want := needles(name)
	found := map[flow]bool{}
	for _, p := range packets {
		folded := bytes.ToLower(p.Frame)
		for _, n := range want {
			if n.in(p.Frame, folded) {
				hits = append(hits, Hit{Packet: p, Form: n.form})
				found[flowOf(p)] = true
				break
			}
		}
	}
	for _, s := range Streams(packets) {
		if found[s.flow] {
			continue
		}
		folded := bytes.ToLower(s.Data)
		for _, n := range want {
			if n.in(s.Data, folded) {
				hits = append(hits, Hit{Packet: s.First, Form: n.form, Split: true})
				break
			}
		}
	}
	return hits
}

func (n needle) in(b, folded []byte) bool {
	if n.fold {
		return bytes.Contains(folded, n.text)
	}
	return bytes.Contains(b, n.text)
}

// flow is one direction of a TCP connection as seen at one point.
type flow struct {
	point    string
	from, to netip.AddrPort
}

func flowOf(p Packet) flow { return flow{p.Point, p.From, p.To} }

// Stream is one direction of a TCP connection at one point, as far as it was seen in order.
type Stream struct {
	First Packet
	Data  []byte
	flow  flow
	next  uint32
}

// Streams joins the segments of TCP connections. A segment that was sent again is taken once; a gap is passed over.
func Streams(packets []Packet) []*Stream {
	open := map[flow]*Stream{}
	var all []*Stream
	for _, p := range packets {
		if p.Proto != TCP {
			continue
		}
		f := flowOf(p)
		s := open[f]
		if p.syn || s == nil {
			if p.syn && s != nil && s.next == p.seq+1 && len(s.Data) == 0 {
				continue // the same SYN again
			}
			s = &Stream{First: p, flow: f, next: p.seq}
			if p.syn {
				s.next++
			}
			open[f] = s
			all = append(all, s)
		}
		seq, data := p.seq, p.Payload
		if p.syn {
			seq++
		}
		if old := int32(s.next - seq); old > 0 {
			if int(old) >= len(data) {
				continue
			}
			data = data[old:]
			seq = s.next
		}
		s.Data = append(s.Data, data...)
		s.next = seq + uint32(len(data))
	}
	return all
}
