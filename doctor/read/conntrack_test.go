package read

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const tracked = `ipv4     2 udp      17 29 src=192.168.1.5 dst=8.8.8.8 sport=53815 dport=53 packets=3 bytes=180 src=8.8.8.8 dst=192.168.1.5 sport=53 dport=53815 packets=2 bytes=300 mark=0 zone=0 use=2
ipv4     2 udp      17 29 src=192.168.1.5 dst=8.8.8.8 sport=53816 dport=53 [UNREPLIED] src=127.0.0.1 dst=192.168.1.5 sport=5353 dport=53816 mark=0 zone=0 use=2
ipv6     10 tcp      6 431999 ESTABLISHED src=2001:db8::5 dst=2001:db8:1::1 sport=40000 dport=853 packets=20 bytes=3000 src=2001:db8:1::1 dst=2001:db8::5 sport=853 dport=40000 packets=18 bytes=9000 [ASSURED] mark=0 zone=0 use=2
ipv4     2 icmp     1 29 src=192.168.1.5 dst=8.8.8.8 type=8 code=0 id=1 src=8.8.8.8 dst=192.168.1.5 type=0 code=0 id=1 mark=0 use=2
ipv4     2 udp      17 29 src=broken dst=8.8.8.8 sport=1 dport=53 src=8.8.8.8 dst=192.168.1.5 sport=53 dport=1 mark=0 use=2
`

func TestTrackedFlows_areReadWithWhereTheirAnswersComeFrom(t *testing.T) {
	at := netip.MustParseAddrPort
	got, cut := ParseTracked([]byte(tracked), func(TrackedFlow) bool { return true })
	want := []TrackedFlow{
		{"udp", at("192.168.1.5:53815"), at("8.8.8.8:53"), at("8.8.8.8:53"), 3, true},
		{"udp", at("192.168.1.5:53816"), at("8.8.8.8:53"), at("127.0.0.1:5353"), 0, false},
		{"tcp", at("[2001:db8::5]:40000"), at("[2001:db8:1::1]:853"), at("[2001:db8:1::1]:853"), 20, true},
	}
	if cut || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	first, _, _ := strings.Cut(tracked, "\n")
	if got, cut := ParseTracked([]byte(strings.Repeat(first+"\n", maxTable+2)), func(TrackedFlow) bool { return true }); len(got) != maxTable || !cut {
		t.Errorf("%d, %v", len(got), cut)
	}
}

const trie = `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 192.168.1.0/24 2 0 2
        |-- 192.168.1.5
           /32 host LOCAL
        |-- 192.168.1.255
           /32 link BROADCAST
`

const inet6 = "fe8000000000000000fc00fffe000001 04 40 20 80     eth0\nxx 1\n20010db8000000000000000000000005 02 40 00 00     eth0\n"

func TestOwnAddresses_areThoseOfBothFamilies(t *testing.T) {
	got := OwnAddresses([]byte(trie), []byte(inet6))
	want := []netip.Addr{netip.MustParseAddr("192.168.1.5"), netip.MustParseAddr("fe80::fc:ff:fe00:1"), netip.MustParseAddr("2001:db8::5")}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func FuzzTracked(f *testing.F) {
	f.Add([]byte(tracked))
	f.Add([]byte(trie))
	f.Add([]byte(inet6))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, _ := ParseTracked(b, func(TrackedFlow) bool { return true })
		for _, s := range all {
			if !s.From.IsValid() || !s.To.IsValid() || !s.Answers.IsValid() || s.Packets > 0 && !s.Counted {
				t.Errorf("%+v", s)
			}
		}
		for _, a := range OwnAddresses(b, b) {
			if !a.IsValid() {
				t.Error("an address that is none")
			}
		}
	})
}
