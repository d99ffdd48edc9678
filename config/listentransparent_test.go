package config

import (
	"net/netip"
	"reflect"
	"testing"
)

func TestListenTransparent_IsAnAddressOrAMap(t *testing.T) {
	at := func(s string) Listener { return Listener{Address: netip.MustParseAddrPort(s)} }
	for text, want := range map[string][]TransparentListener{
		"127.0.0.1:8081": {{Listener: at("127.0.0.1:8081"), Mode: ModeRedirect}},
		`[{address: 127.0.0.1:8081, mode: tproxy, udp: true, mark: 119}, {address: "[::1]:8081", mode: tproxy, udp: true}]`: {
			{Listener: at("127.0.0.1:8081"), Mode: ModeTPROXY, UDP: true, Mark: 119},
			{Listener: at("[::1]:8081"), Mode: ModeTPROXY, UDP: true},
		},
		"{address: 192.168.1.1:8081, allow_insecure: true}": {
			{Listener: Listener{Address: netip.MustParseAddrPort("192.168.1.1:8081"), AllowInsecure: true}, Mode: ModeRedirect},
		},
	} {
		c, err := Parse("test.yaml", []byte("listen: {transparent: "+text+"}\n"), ThisHost())
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if !reflect.DeepEqual(c.Listen.Transparent, want) {
			t.Errorf("%s: %+v", text, c.Listen.Transparent)
		}
		if mark := c.Listen.Mark(); mark != uint32(want[0].Mark) {
			t.Errorf("%s: the mark is %d", text, mark)
		}
	}
}
