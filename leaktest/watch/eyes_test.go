package watch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"watertight/capture"
)

const sought = "abcdefghijklmnop2345"

// segment is a packet of TCP from 10.0.0.1 and a port to 198.51.100.80:443.
func segment(from uint16, seq uint32, payload []byte) *capture.Packet {
	ip := make([]byte, 40, 40+len(payload))
	ip[0], ip[9] = 0x45, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(40+len(payload)))
	copy(ip[12:], []byte{10, 0, 0, 1, 198, 51, 100, 80})
	binary.BigEndian.PutUint16(ip[20:], from)
	binary.BigEndian.PutUint16(ip[22:], 443)
	binary.BigEndian.PutUint32(ip[24:], seq)
	ip[32] = 5 << 4
	p := capture.Decode(capture.Framed(0x0800, append(ip, payload...)))
	p.Outgoing = true
	return &p
}

func looking(t testing.TB) *eyes {
	e := newEyes(func(int) bool { return false })
	if err := e.seek([]string{sought}); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEyes_ALabelIsSeenWhereverAStreamIsCut(t *testing.T) {
	text := []byte("some octets before it " + sought + " and some behind")
	for cut := 1; cut < len(text); cut++ {
		e := looking(t)
		e.search(segment(4000, 1, text[:cut]), 2)
		e.search(segment(4000, 1, text[:cut]), 2) // sent again
		e.search(segment(4000, uint32(1+cut), text[cut:]), 2)
		if len(e.seen) != 1 {
			t.Errorf("cut behind %d: %d sightings", cut, len(e.seen))
		}
	}
	e := looking(t)
	for i, c := range text { // each octet by itself
		e.search(segment(4000, uint32(1+i), []byte{c}), 2)
	}
	if len(e.seen) != 1 {
		t.Errorf("octet by octet: %d sightings", len(e.seen))
	}
}

func TestEyes_WhatIsApartIsNotJoined(t *testing.T) {
	half := len(sought) / 2
	for what, packets := range map[string][]*capture.Packet{
		"by a gap":         {segment(4000, 1, []byte(sought[:half])), segment(4000, uint32(2+half), []byte(sought[half:]))},
		"by two flows":     {segment(4000, 1, []byte(sought[:half])), segment(4001, uint32(1+half), []byte(sought[half:]))},
		"by another octet": {segment(4000, 1, []byte(sought[:half]+"x")), segment(4000, uint32(2+half), []byte(sought[half:]))},
	} {
		e := looking(t)
		for _, p := range packets {
			e.search(p, 2)
		}
		if len(e.seen) != 0 {
			t.Errorf("apart %s: %d sightings", what, len(e.seen))
		}
	}
}

func TestEyes_WhateverComesTheyKeepNoMoreThanTheirBounds(t *testing.T) {
	e := looking(t)
	filler := bytes.Repeat([]byte("x"), 1000)
	for i := range maxFlows + 500 {
		e.search(segment(uint16(i), uint32(i), append([]byte(sought), filler...)), i>>16)
	}
	for i := range 100 { // one that is long
		e.search(segment(1, uint32(1+i*len(filler)), filler), 9)
	}
	if len(e.streams) > maxFlows || len(e.seen) > maxSightings || e.more == 0 || e.crowded == 0 {
		t.Errorf("%d streams, %d sightings and %d more, %d forgotten", len(e.streams), len(e.seen), e.more, e.crowded)
	}
	for _, s := range e.streams {
		if cap(s.begin) > 2*maxBegin || len(s.tail) > e.finder.Longest() {
			t.Fatalf("of one stream %d and %d octets are kept", cap(s.begin), len(s.tail))
		}
	}
	for i := range maxLabels - len(e.labels) {
		e.labels[fmt.Sprintf("label%015d", i)] = true // looked for already
	}
	if err := e.seek([]string{"onelabeltoomanyofthem"}); err == nil {
		t.Error("any number of labels is looked for")
	}
	delete(e.labels, "label000000000000000")
	if err := e.seek([]string{"short"}); err == nil {
		t.Error("a label that occurs by chance is looked for")
	}
}

// A busy host has many connections, one after the other: those that have ended take no place.
func TestEyes_AConnectionThatHasEndedIsForgotten(t *testing.T) {
	for flag, name := range map[byte]string{1: "FIN", 4: "RST"} {
		e := looking(t)
		for i := range map[byte]int{1: maxFlows + 100, 4: 100}[flag] {
			e.search(segment(uint16(i), 1, []byte("some octets")), i>>16)
			last := segment(uint16(i), 12, []byte(sought[:10]))
			last.Frame[len(last.Frame)-len(last.Payload)-20+13] |= flag
			again := capture.Decode(last.Frame)
			e.search(&again, i>>16)
		}
		if e.crowded > 0 || len(e.streams) > 0 {
			t.Errorf("%s: %d connections are remembered, and %d were forgotten for others", name, len(e.streams), e.crowded)
		}
	}
	e := looking(t)
	e.search(segment(4000, 1, []byte(sought[:10])), 2)
	last := segment(4000, 11, []byte(sought[10:]))
	last.Frame[len(last.Frame)-len(last.Payload)-20+13] |= 1
	again := capture.Decode(last.Frame)
	e.search(&again, 2)
	if len(e.seen) != 1 {
		t.Error("what the last segment brings is not joined with what came before")
	}
}

func TestTalk_AMessageThatIsTooLongIsRefused(t *testing.T) {
	var w word
	if err := hear(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff}), &w); err == nil {
		t.Error("it was read")
	}
	if err := say(new(bytes.Buffer), word{Blind: strings.Repeat("x", maxMessage)}); err == nil {
		t.Error("it was written")
	}
}

func FuzzEyes(f *testing.F) {
	f.Add(segment(4000, 1, []byte(sought)).Frame, []byte("behind"))
	f.Add(segment(4000, 1, []byte{22, 3, 1, 0, 200}).Frame, []byte{0xc0, 0, 0, 0, 1})
	ask := segment(4000, 1, append([]byte{0, 28, 0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, "\x02gw\x07example\x00\x00\x01\x00\x01"...))
	binary.BigEndian.PutUint16(ask.Frame[len(ask.Frame)-len(ask.Payload)-18:], 53)
	f.Add(ask.Frame, []byte("behind"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		e := looking(t)
		e.own["gw.example"] = true
		for _, frame := range [][]byte{a, b, capture.Framed(0x86dd, b), a} {
			p := capture.Decode(frame)
			p.Outgoing = true
			e.glance(&p, 2)
			e.search(&p, 2)
		}
	})
}
