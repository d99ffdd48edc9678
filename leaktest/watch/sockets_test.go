package watch

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
)

const tcpTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0A4DA8C0:9C40 350064C6:0035 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 20 4 30 10 -1
`

const udp6Table = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  44: 00000000000000000000000000000000:14E9 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4713 2 0000000000000000 0
  45: B80D01200000000000000000530000FF:9C41 0000000000000000FFFF00000100007F:0355 01 00000000:00000000 00:00000000 00000000     0        0 4714 2 0000000000000000 0
`

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestSockets_AreReadAsTheKernelListsThem(t *testing.T) {
	tcp, cut := readTable(strings.NewReader(tcpTable), "tcp")
	if cut || len(tcp) != 2 {
		t.Fatalf("%v, cut: %v", tcp, cut)
	}
	if want := (Socket{Proto: "tcp", Local: ap("127.0.0.1:8080"), Listening: true, Inode: 4711}); tcp[0] != want {
		t.Errorf("%+v", tcp[0])
	}
	if want := (Socket{Proto: "tcp", Local: ap("192.168.77.10:40000"), Remote: ap("198.100.0.53:53"), Inode: 4712}); tcp[1] != want {
		t.Errorf("%+v", tcp[1])
	}
	udp, cut := readTable(strings.NewReader(udp6Table), "udp")
	if cut || len(udp) != 2 || udp[0].Local != ap("[::]:5353") || udp[0].Remote.IsValid() || udp[1].Remote != ap("127.0.0.1:853") || udp[1].Local != ap("[2001:db8::ff00:53]:40001") {
		t.Errorf("%v, cut: %v", udp, cut)
	}
}

func TestSockets_ATableThatIsNotWholeIsSaidToBeCut(t *testing.T) {
	for _, text := range []string{"nonsense", tcpTable + "   2: 0100007F:1F90", strings.Repeat("x", 2*maxLine), strings.Repeat(tcpTable[strings.LastIndex(tcpTable, "   1:"):], maxTable+1)} {
		if _, cut := readTable(strings.NewReader(text), "tcp"); !cut {
			t.Errorf("%.40q is taken for the whole", text)
		}
	}
}

func TestSockets_ThoseThatLeadToWhereNamesAreAskedForAreSuspicious(t *testing.T) {
	doors := []netip.AddrPort{ap("127.0.0.1:5353"), ap("0.0.0.0:53"), ap("[::1]:853")}
	resolvers := []netip.AddrPort{ap("9.9.9.9:853"), ap("9.9.9.9:443"), ap("192.0.2.1:53")}
	for _, c := range []struct {
		what       string
		s          Socket
		suspicious bool
	}{
		{"to the encrypted resolver", Socket{Proto: "tcp", Local: ap("10.0.0.1:4000"), Remote: ap("9.9.9.9:853")}, false},
		{"to it on port 443", Socket{Proto: "tcp", Local: ap("10.0.0.1:4000"), Remote: ap("9.9.9.9:443")}, false},
		{"to another encrypted one", Socket{Proto: "tcp", Local: ap("10.0.0.1:4000"), Remote: ap("1.1.1.1:853")}, true},
		{"to a plain one", Socket{Proto: "udp", Local: ap("10.0.0.1:4000"), Remote: ap("9.9.9.9:53")}, true},
		{"to a plain one that is named", Socket{Proto: "udp", Local: ap("10.0.0.1:4000"), Remote: ap("192.0.2.1:53")}, true},
		{"to a stub", Socket{Proto: "udp", Local: ap("127.0.0.1:4000"), Remote: ap("127.0.0.53:53")}, true},
		{"multicast DNS", Socket{Proto: "udp", Local: ap("10.0.0.1:4000"), Remote: ap("224.0.0.251:5353")}, true},
		{"heard by multicast DNS", Socket{Proto: "udp", Local: ap("[::]:5353")}, true},
		{"LLMNR", Socket{Proto: "udp", Local: ap("0.0.0.0:5355")}, true},
		{"NetBIOS", Socket{Proto: "udp", Local: ap("0.0.0.0:137")}, true},
		{"our DNS door", Socket{Proto: "udp", Local: ap("127.0.0.1:5353")}, false},
		{"our DNS door for all", Socket{Proto: "tcp", Local: ap("0.0.0.0:53"), Listening: true}, false},
		{"a client at our door", Socket{Proto: "tcp", Local: ap("[::1]:853"), Remote: ap("[::1]:4000")}, false},
		{"our own client of it", Socket{Proto: "tcp", Local: ap("[::1]:4000"), Remote: ap("[::1]:853")}, false},
		{"a client whose port is one of these", Socket{Proto: "tcp", Local: ap("127.0.0.1:5353"), Remote: ap("127.0.0.1:5355")}, false},
		{"a tunnel to an origin", Socket{Proto: "tcp", Local: ap("10.0.0.1:4000"), Remote: ap("151.216.1.1:443")}, false},
		{"our proxy port", Socket{Proto: "tcp", Local: ap("127.0.0.1:8080"), Listening: true}, false},
	} {
		if got := len(Suspicious([]Socket{c.s}, doors, resolvers)) == 1; got != c.suspicious {
			t.Errorf("%s (%v): suspicious is %v", c.what, c.s, got)
		}
	}
}

func TestSockets_ThoseToAnAddressThatNoChannelHasAreBeyond(t *testing.T) {
	all := []Socket{
		{Proto: "tcp", Local: ap("10.0.0.1:4000"), Remote: ap("9.9.9.9:853")},
		{Proto: "tcp", Local: ap("10.0.0.1:4001"), Remote: ap("203.0.113.9:443")},
		{Proto: "tcp", Local: ap("127.0.0.1:8080"), Remote: ap("127.0.0.1:4002")},
		{Proto: "tcp", Local: ap("127.0.0.1:8080"), Listening: true},
	}
	beyond := Beyond(all, func(a netip.AddrPort) bool { return a == ap("9.9.9.9:853") })
	if len(beyond) != 1 || beyond[0] != all[1] {
		t.Errorf("%v", beyond)
	}
}

func FuzzTable(f *testing.F) {
	f.Add([]byte(tcpTable))
	f.Add([]byte(udp6Table))
	f.Fuzz(func(t *testing.T, b []byte) {
		sockets, _ := readTable(bytes.NewReader(b), "tcp")
		for _, s := range sockets {
			if !s.Local.IsValid() {
				t.Errorf("%v has no end here", s)
			}
		}
	})
}
