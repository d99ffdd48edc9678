package capture_test

import (
	"net/netip"
	"slices"
	"testing"

	"watertight/capture"
	"watertight/lab/dnstest"
)

func TestQUICHello_IsReadFromItsDatagramsInAnyOrder(t *testing.T) {
	sent := dnstest.QUICHello(t, name)
	for _, order := range [][][]byte{sent, {sent[1], sent[0]}, {sent[0], sent[0], sent[1]}} {
		var h capture.QUICHello
		for _, d := range order {
			h.Add(d)
		}
		if got, ok := h.ServerName(); !ok || got != name {
			t.Errorf("read %q, %v", got, ok)
		}
	}
	var h capture.QUICHello
	h.Add(sent[0][:100])
	if got, ok := h.ServerName(); ok {
		t.Errorf("read %q in a hundred octets", got)
	}
}

func TestNames_ReadsTheHellosOfQUIC(t *testing.T) {
	var packets []capture.Packet
	other := netip.AddrPortFrom(client.Addr(), 40001)
	for _, d := range dnstest.QUICHello(t, name) {
		packets = append(packets, udp(t, client, server, d))
	}
	for _, d := range dnstest.QUICHello(t, "second.example.net") {
		packets = append(packets, udp(t, other, server, d))
	}
	var got []string
	for _, r := range capture.Names(packets) {
		got = append(got, string(r.Means)+" "+r.Name)
	}
	if !slices.Equal(got, []string{"sni " + name, "sni second.example.net"}) {
		t.Error(got)
	}
}

func FuzzQUICHello(f *testing.F) {
	for _, d := range dnstest.QUICHello(f, name) {
		f.Add(d)
	}
	f.Add([]byte{0xc0, 0, 0, 0, 1, 0, 0, 0, 20})
	f.Fuzz(func(t *testing.T, b []byte) {
		var h capture.QUICHello
		h.Add(b)
		h.Add(b)
		h.ServerName()
		if len(h.Message()) > 64<<10 {
			t.Error("kept without a limit")
		}
	})
}
