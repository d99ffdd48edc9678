package icmp

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

func TestAPortIsUnreachableForOneDatagram(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		// The checksums were worked out by another program.
		{"198.18.0.1:4660", "203.0.113.7:443", "0303" + "e905" + "00000000" + "4500001c00000000401178b6" + "c6120001" + "cb007107" + "123401bb00080000"},
		{"[::ffff:198.18.0.1]:4660", "203.0.113.7:443", "0303" + "e905" + "00000000" + "4500001c00000000401178b6" + "c6120001" + "cb007107" + "123401bb00080000"},
		{"[fd00::1]:4660", "[2001:db8::7]:443", "0104" + "0000" + "00000000" + "6000000000081140" +
			"fd000000000000000000000000000001" + "20010db8000000000000000000000007" + "123401bb00080000"},
		{"198.18.0.1:4660", "[2001:db8::7]:443", ""},
	} {
		b := PortUnreachable(netip.MustParseAddrPort(c.from), netip.MustParseAddrPort(c.to))
		if got := hex.EncodeToString(b); got != c.want {
			t.Errorf("%s to %s: %s, want %s", c.from, c.to, got, c.want)
		}
	}
}

func TestWhatHasItsChecksumAddsUpToNothing(t *testing.T) {
	b := PortUnreachable(netip.MustParseAddrPort("198.18.0.1:65535"), netip.MustParseAddrPort("255.254.253.252:65535"))
	if checksum(b) != 0 || checksum(b[header:header+ipv4Header]) != 0 {
		t.Errorf("%x", b)
	}
}
