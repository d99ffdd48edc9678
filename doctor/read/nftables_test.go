package read

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// told is what a kernel told of nf_tables (Linux 6.18, nft 1.0.6): the kind of each message, and it without its header. A host of the other
// order of octets tells it otherwise.
const told = `
3 010000020f0001007761746572746967687400000b0003006f757470757400000c000200000000000000000114000400080001000000000308000200ffffff9c0800050000000001080007006e61740008000a00000000010800060000000002
3 010000020f0001007761746572746967687400000b00030066696c74657200000c0002000000000000000002140004000800010000000002080002000000000008000500000000000b00070066696c746572000008000a00000000010800060000000002
3 010000020f0001007761746572746967687400000a0003006f746865720000000c00020000000000000000030800060000000002
3 010000020f00010077617465727469676874000008000300707265000c000200000000000000000414000400080001000000000008000200ffffff6a08000500000000010b00070066696c746572000008000a00000000010800060000000001
3 02000002080001006e617400080003006f7574000c000200000000000000000114000400080001000000000308000200ffffff9c0800050000000001080007006e61740008000a00000000010800060000000001
6 010000020f0001007761746572746967687400000b0002006f757470757400000c00030000000000000000063c01040024000100090001006d657461000000001400020008000200000000100800010000000001300001000b0001006c6f6f6b75700000200002000b0001005f5f73657430000008000200000000010800050000000000340001000c0001007061796c6f6164002400020008000100000000010800020000000002080003000000000208000400000000022c00010008000100636d700020000200080001000000000108000200000000000c00030006000100003500002c0001000c000100636f756e746572001c0002000c00010000000000000000000c00020000000000000000002c0001000e000100696d6d6564696174650000001800020008000100000000010c0002000600010014e900002c0001000a00010072656469720000001c000200080001000000000108000200000000010800030000000002
6 010000020f0001007761746572746967687400000b0002006f757470757400000c00030000000000000000080c0006000000000000000006ec00040024000100090001006d6574610000000014000200080002000000001008000100000000012c00010008000100636d700020000200080001000000000108000200000000000c0003000500010006000000340001000c0001007061796c6f616400240002000800010000000001080002000000000208000300000000020800040000000002380001000b0001006c6f6f6b75700000280002000b0001005f5f6d61703000000800020000000001080003000000000108000500000000002c0001000a00010072656469720000001c000200080001000000000108000200000000010800030000000002
6 010000020f0001007761746572746967687400000b00020066696c74657200000c00030000000000000000097800040024000100090001006d6574610000000014000200080002000000001008000100000000012c00010008000100636d700020000200080001000000000108000200000000000c0003000500010011000000240001000b00010072656a65637400001400020008000100000000020500020001000000
6 010000020f0001007761746572746967687400000b00020066696c74657200000c000300000000000000000a0c0006000000000000000009400004003c0001000e000100696d6d6564696174650000002800020008000100000000001c0002001800020008000100fffffffd0a0002006f74686572000000
6 010000020f0001007761746572746967687400000a0002006f746865720000000c000300000000000000000b600004002c0001000c000100636f756e746572001c0002000c00010000000000000000000c0002000000000000000000300001000e000100696d6d6564696174650000001c0002000800010000000000100002000c0002000800010000000000
6 010000020f00010077617465727469676874000008000200707265000c000300000000000000000ce400040024000100090001006d6574610000000014000200080002000000001008000100000000012c00010008000100636d700020000200080001000000000108000200000000000c0003000500010006000000380001000e000100696d6d6564696174650000002400020008000100000000011800020014000100000000000000000000000000000000012c0001000e000100696d6d6564696174650000001800020008000100000000020c000200060001001f9100002c0001000b0001007470726f787900001c000200080001000000000a08000200000000010800030000000002
6 02000002080001006e617400080002006f7574000c00030000000000000000025401040024000100090001006d6574610000000014000200080002000000001008000100000000012c00010008000100636d700020000200080001000000000108000200000000000c0003000500010006000000340001000c0001007061796c6f6164002400020008000100000000010800020000000002080003000000000208000400000000022c00010008000100636d700020000200080001000000000108000200000000000c0003000600010001bb00002c0001000e000100696d6d6564696174650000001800020008000100000000010c000200080001007f0000012c0001000e000100696d6d6564696174650000001800020008000100000000020c0002000600010020fb000048000100080001006e6174003c0002000800010000000001080002000000000208000300000000010800040000000001080005000000000208000600000000020800070000000003
`

// messages gives those of told.
func messages(t testing.TB) (kinds []uint16, datas [][]byte) {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the messages are of a host with the other order of octets")
	}
	for line := range strings.Lines(strings.TrimSpace(told)) {
		kind, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseUint(kind, 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		data, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		kinds, datas = append(kinds, uint16(n)), append(datas, data)
	}
	return kinds, datas
}

func TestFirewall_isReadAsTheKernelTellsIt(t *testing.T) {
	kinds, datas := messages(t)
	var chains []FirewallChain
	var rules []string
	for i := range kinds {
		if c, ok := ParseFirewallChain(kinds[i], datas[i]); ok {
			chains = append(chains, c)
		}
		if r, ok := ParseFirewallRule(kinds[i], datas[i]); ok {
			rules = append(rules, r.String())
		}
	}
	want := []FirewallChain{
		{"ip", "nat", "out", "output", false},
		{"inet", "watertight", "output", "output", false},
		{"inet", "watertight", "filter", "forward", true},
		{"inet", "watertight", "other", "", false},
		{"inet", "watertight", "pre", "prerouting", false},
	}
	for _, c := range want {
		if !slices.Contains(chains, c) {
			t.Errorf("no %+v in %+v", c, chains)
		}
	}
	if len(chains) != len(want) {
		t.Errorf("%+v", chains)
	}
	for _, r := range []string{
		"table inet watertight, chain output: redirect to port 5353, 0 packets", "table inet watertight, chain output: handed over, to a port that is not read",
		"table inet watertight, chain filter: drop or reject", "table inet watertight, chain filter:", "table inet watertight, chain other: drop or reject, 0 packets",
		"table inet watertight, chain pre: tproxy to port 8081", "table ip nat, chain out: dnat to 127.0.0.1:8443",
	} {
		if !slices.Contains(rules, r) {
			t.Errorf("no %q in %q", r, rules)
		}
	}
	if len(rules) != 7 {
		t.Errorf("%q", rules)
	}
}

// attributeOf makes one, with the octets that fill it up.
func attributeOf(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	return append(b, make([]byte, -len(b)&3)...)
}

func TestFirewall_theTargetsOfIPTablesAreRead(t *testing.T) {
	for target, want := range map[string]FirewallRule{
		"REJECT":     {Family: "ip", Table: "filter", Chain: "OUTPUT", TurnsAway: true},
		"REDIRECT":   {Family: "ip", Table: "filter", Chain: "OUTPUT", Unread: true},
		"MASQUERADE": {Family: "ip", Table: "filter", Chain: "OUTPUT"},
	} {
		does := slices.Concat(attributeOf(1, []byte("target\x00")), attributeOf(2, slices.Concat(attributeOf(1, []byte(target+"\x00")), attributeOf(2, make([]byte, 4)))))
		rule := slices.Concat([]byte{2, 0, 0, 0}, attributeOf(1, []byte("filter\x00")), attributeOf(2, []byte("OUTPUT\x00")), attributeOf(4, attributeOf(1, does)))
		if got, ok := ParseFirewallRule(nftNewRule, rule); !ok || got != want {
			t.Errorf("%s: %+v, want %+v", target, got, want)
		}
	}
}

// TestFirewall_whereIPTablesLeadsIsRead in each form in which iptables-nft says it: that of old, and that of a range.
func TestFirewall_whereIPTablesLeadsIsRead(t *testing.T) {
	was := slices.Concat([]byte{1, 0, 0, 0, 3, 0, 0, 0}, []byte{172, 17, 0, 2}, []byte{172, 17, 0, 2}, []byte{0x1f, 0x91, 0x1f, 0x91})
	four, six := make([]byte, 44), make([]byte, 44)
	copy(four[4:], []byte{172, 17, 0, 2})
	copy(six[4:], netip.MustParseAddr("fd00::2").AsSlice())
	for _, one := range []struct {
		family   byte
		revision byte
		info     []byte
		want     string
	}{
		{2, 0, was, "172.17.0.2"},
		{2, 1, four, "172.17.0.2"},
		{2, 2, four, "172.17.0.2"},
		{10, 2, six, "fd00::2"},
		{2, 0, was[:8], "invalid IP"},
		{10, 2, six[:16], "invalid IP"},
		{2, 2, nil, "invalid IP"},
	} {
		does := slices.Concat(attributeOf(1, []byte("target\x00")), attributeOf(2, slices.Concat(attributeOf(1, []byte("DNAT\x00")), attributeOf(2, []byte{0, 0, 0, one.revision}), attributeOf(3, one.info))))
		rule := slices.Concat([]byte{one.family, 0, 0, 0}, attributeOf(1, []byte("nat\x00")), attributeOf(2, []byte("DOCKER\x00")), attributeOf(4, attributeOf(1, does)))
		got, ok := ParseFirewallRule(nftNewRule, rule)
		if !ok || !got.Unread || got.To.String() != one.want {
			t.Errorf("family %d, revision %d: %+v, want %s", one.family, one.revision, got, one.want)
		}
	}
}

func TestFirewall_tablesAreReadWithWhatKeepsThemFromHolding(t *testing.T) {
	message := func(more ...[]byte) []byte {
		return slices.Concat(append([][]byte{{1, 0, 0, 0}, attributeOf(1, []byte("watertight\x00"))}, more...)...)
	}
	for _, one := range []struct {
		data []byte
		want FirewallTable
	}{
		{message(attributeOf(2, []byte{0, 0, 0, 0})), FirewallTable{"inet", "watertight", false, 0}},
		{message(attributeOf(2, []byte{0, 0, 0, 1})), FirewallTable{"inet", "watertight", true, 0}},
		{message(attributeOf(2, []byte{0, 0, 0, 2}), attributeOf(7, []byte{0, 0, 0x12, 0x67})), FirewallTable{"inet", "watertight", false, 0x1267}},
	} {
		if got, ok := ParseFirewallTable(nftNewTable, one.data); !ok || got != one.want {
			t.Errorf("%+v, want %+v", got, one.want)
		}
	}
	device := slices.Concat([]byte{5, 0, 0, 0}, attributeOf(1, []byte("g\x00")), attributeOf(3, []byte("egress\x00")), attributeOf(4, attributeOf(1, []byte{0, 0, 0, 1})))
	if c, ok := ParseFirewallChain(nftNewChain, device); !ok || c.Hook != "egress" {
		t.Errorf("a chain of a device: %+v", c)
	}
}

func FuzzFirewall(f *testing.F) {
	kinds, datas := messages(f)
	for i := range kinds {
		f.Add(kinds[i], datas[i])
	}
	f.Fuzz(func(t *testing.T, kind uint16, b []byte) {
		r, ok := ParseFirewallRule(kind, b)
		if c, both := ParseFirewallChain(kind, b); ok && both {
			t.Errorf("one message is %+v and %+v", r, c)
		}
		if table, both := ParseFirewallTable(kind, b); ok && both {
			t.Errorf("one message is %+v and %+v", r, table)
		}
		if !ok && r != (FirewallRule{}) {
			t.Errorf("%+v", r)
		}
	})
}
