package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"testing"
)

// framed is a message as it is sent.
func framed(body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func TestTalk_WhatIsSaidIsHeard(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:53")
	var pipe bytes.Buffer
	said := order{Labels: []string{sought}, Own: []string{"gw.example"}, Doors: []netip.AddrPort{at}, Resolvers: []netip.AddrPort{at}, Loopback: []int{1}, Packets: true, Stop: true}
	if err := say(&pipe, said); err != nil {
		t.Fatal(err)
	}
	var heard order
	if err := hear(&pipe, &heard); err != nil || len(heard.Labels) != 1 || heard.Own[0] != said.Own[0] || heard.Doors[0] != at || !heard.Packets || !heard.Stop {
		t.Errorf("%v: %+v", err, heard)
	}
	if err := hear(&pipe, &heard); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

// FuzzTalk reads what the other process may say: it is this program again, but it has looked at what strangers sent.
func FuzzTalk(f *testing.F) {
	f.Add(framed(`{"ready":true}`))
	f.Add(framed(`{"sight":{"At":"2026-06-01T12:00:00Z","From":"192.0.2.1:53","To":"[::1]:53","What":"dns","Index":2,"Loopback":true}}`))
	f.Add(framed(`{"packet":{"index":1,"length":-1,"frame":"AAAA"}}`))
	f.Add(framed(`{"done":{"packets":18446744073709551615,"failed":"x"}}`))
	f.Add(framed(`{"labels":["abcdefghijklmnop2345","short"],"own":["gw.example"],"doors":["192.0.2.1:0"],"loopback":[-1],"stop":true}`))
	f.Add([]byte{0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var w word
		if err := hear(bytes.NewReader(b), &w); err == nil {
			var out bytes.Buffer
			if err := say(&out, w); err == nil && hear(&out, new(word)) != nil {
				t.Error("what was heard is not heard again")
			}
		}
		var next order
		if err := hear(bytes.NewReader(b), &next); err != nil {
			return
		}
		o := observer{eyes: newEyes(func(int) bool { return false })}
		if o.take(next) == nil && len(o.eyes.labels) > maxLabels {
			t.Error("there is no bound")
		}
	})
}
