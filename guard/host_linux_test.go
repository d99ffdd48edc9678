package guard

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const sockets = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0A4DA8C0:0016 0100A8C0:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0A4DA8C0:0016 0100A8C0:9C41 06 00000000:00000000 00:00000000 00000000     0        0 0 1
   3: 0A4DA8C0:9C42 08080808:01BB 01 00000000:00000000 00:00000000 00000000     0        0 3 1
   4: 0100007F:0016 0100007F:9C43 01 00000000:00000000 00:00000000 00000000     0        0 4 1
   5: 0A4DA8C0:0016 0100A8C0:9C44 08 00000000:00000000 00:00000000 00000000     0        0 5 1
   6: 0100007F:9C42 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 6 1
   7: 0A4DA8C0:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1
   8: 0A4DA8C0:0050 0100A8C0:9C47 01 00000000:00000000 00:00000000 00000000     0        0 8 1
   9: 0B4DA8C0:0050 0100A8C0:9C48 01 00000000:00000000 00:00000000 00000000     0        0 9 1
`

const sockets6 = `  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0 0 0
   1: 0000000000000000FFFF00000A4DA8C0:1F90 0000000000000000FFFF00000100A8C0:9C45 01 0 0 0
   2: 4049122A000000000000000010000000:1F90 4049122A000000000000000099000000:9C46 01 0 0 0
`

func TestConnectionsThatOthersOpenedAreToldByWhereThisHostListens(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("NOT TESTED: the tables of this test are those of a machine of the other order")
	}
	listens := map[netip.AddrPort]bool{}
	four, err := readSockets(strings.NewReader(sockets), listens)
	if err != nil {
		t.Fatal(err)
	}
	six, err := readSockets(strings.NewReader(sockets6), listens)
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprint(inbound(append(four, six...), listens))
	want := "[{192.168.77.10:22 192.168.0.1:40000} {192.168.77.10:22 192.168.0.1:40004} {192.168.77.10:80 192.168.0.1:40007} " +
		"{192.168.77.10:8080 192.168.0.1:40005} {[2a12:4940::10]:8080 [2a12:4940::99]:40006}]"
	if all != want {
		t.Errorf("they are %s, and not %s", all, want)
	}
	for _, line := range []string{"x", "0: 1 2 3", "0: 00000000:0016 zz000000:0000 0A", "0: 00000000:0016 00000000:10000 01", "0: 00000000:0016 00000000:0000 XX"} {
		if _, err := readSockets(strings.NewReader("sl\n"+line+"\n"), listens); err == nil {
			t.Errorf("%q is taken for a line", line)
		}
	}
}

func FuzzSockets(f *testing.F) {
	f.Add(sockets)
	f.Add(sockets6)
	f.Fuzz(func(t *testing.T, text string) {
		listens := map[netip.AddrPort]bool{}
		flows, err := readSockets(strings.NewReader(text), listens)
		if err != nil {
			return
		}
		if err := (Rules{Mark: 1, Kept: inbound(flows, listens)}).Check(); err != nil {
			t.Error(err)
		}
	})
}

func attribute(kind uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

func index(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

func hop(n uint32, attributes ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtNexthop+len(attributes)))
	return append(append(append(b, 0, 0), index(n)...), attributes...)
}

func TestADefaultRouteHalfOfOneAndAGatewayLeadOut(t *testing.T) {
	device, gateway := attribute(unix.RTA_OIF, index(7)...), attribute(unix.RTA_GATEWAY, 1, 2, 3, 4)
	via := attribute(unix.RTA_VIA, 10, 0, 1, 2, 3, 4)
	several := attribute(unix.RTA_MULTIPATH, append(hop(8, gateway...), hop(9)...)...)
	for _, c := range []struct {
		name       string
		length     byte
		attributes []byte
		want       string
	}{
		{"a default route", 0, device, "[7]"},
		{"half of one", 1, device, "[7]"},
		{"a network on the link", 24, device, "[]"},
		{"a network behind a gateway", 24, append(append([]byte{}, device...), gateway...), "[7]"},
		{"one of the other family", 24, append(append([]byte{}, device...), via...), "[7]"},
		{"several ways", 0, several, "[8 9]"},
		{"several, one by a gateway", 24, several, "[8]"},
		{"a hop that is cut off", 0, attribute(unix.RTA_MULTIPATH, append(hop(8), 200, 0, 0, 0, 1, 0, 0, 0)...), "[8]"},
		{"nothing", 0, nil, "[]"},
	} {
		if got := fmt.Sprint(leadsOut(c.length, attributesOf(c.attributes))); got != c.want {
			t.Errorf("%s: %s, and not %s", c.name, got, c.want)
		}
	}
}

func FuzzAttributes(f *testing.F) {
	f.Add(byte(0), attribute(unix.RTA_OIF, index(7)...))
	f.Add(byte(24), attribute(unix.RTA_MULTIPATH, hop(8, attribute(unix.RTA_GATEWAY, 1, 2, 3, 4)...)...))
	f.Add(byte(1), attribute(nftaHookDevs, attribute(1, []byte("eth0\x00")...)...))
	f.Fuzz(func(t *testing.T, length byte, b []byte) {
		if n := len(leadsOut(length, attributesOf(b))) + len(devices(b)); n > len(b) {
			t.Errorf("%d devices in %d octets", n, len(b))
		}
	})
}
