package hop

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"watertight/fault"
	"watertight/name"
)

func TestTheRelayIsWhereTheReplySaysAndNowhereThatItMayNotBe(t *testing.T) {
	for _, tt := range []struct{ proxy, bound, relay, refusal string }{
		{"192.0.2.1:1080", "\x01\x00\x00\x00\x00", "192.0.2.1", ""},
		{"192.0.2.1:1080", "\x04" + strings.Repeat("\x00", 16), "192.0.2.1", ""},
		{"192.0.2.1:1080", "\x01\xc0\x00\x02\x01", "192.0.2.1", ""},
		{"192.0.2.1:1080", "\x01\xc0\x00\x02\x09", "192.0.2.9", ""},
		{"10.0.0.1:1080", "\x01\x0a\x00\x00\x09", "10.0.0.9", ""},
		{"127.0.0.1:1080", "\x01\x7f\x00\x00\x01", "127.0.0.1", ""},
		{"192.0.2.1:1080", "\x03\x0crelay.exampl", "", "does not answer as a SOCKS5 proxy should"},
		{"192.0.2.1:1080", "\x03\x00", "", "does not answer as a SOCKS5 proxy should"},
		{"192.0.2.1:1080", "\x01\x0a\x00\x00\x09", "", "its relay would be at 10.0.0.9"},
		{"192.0.2.1:1080", "\x01\x7f\x00\x00\x01", "", "its relay would be at 127.0.0.1"},
		{"192.0.2.1:1080", "\x01\xa9\xfe\x01\x01", "", "its relay would be at 169.254.1.1"},
		{"10.0.0.1:1080", "\x01\x7f\x00\x00\x01", "", "its relay would be at 127.0.0.1"},
		{"127.0.0.1:1080", "\x01\xe0\x00\x00\x01", "", "its relay would be at 224.0.0.1"},
		{"192.0.2.1:1080", "\x01\xff\xff\xff\xff", "", "its relay would be at 255.255.255.255"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &seas{}
			s.proxy(t, tt.proxy, tt.bound)
			flow, err := s.chain(t, "socks5://"+tt.proxy).DialPacket(t.Context(), name.Must("192.0.2.53:853"))
			if err == nil {
				flow.Close()
			}
			dials := s.Dials()
			if tt.refusal != "" {
				if f := fault.Of(err); f.Code != fault.HopRefused || !strings.Contains(f.Message, tt.refusal) || !strings.Contains(f.Message, "the proxy "+tt.proxy) {
					t.Errorf("%q: %v", tt.bound, err)
				}
				if len(dials) != 1 {
					t.Errorf("%q: dialled %v", tt.bound, dials)
				}
				return
			}
			if err != nil || len(dials) != 2 || dials[1] != netip.AddrPortFrom(netip.MustParseAddr(tt.relay), 1081) {
				t.Errorf("%q: dialled %v, %v", tt.bound, dials, err)
			}
		})
	}
}

func TestOnlyWhatTheTargetSaidThroughTheRelayIsHeard(t *testing.T) {
	const (
		there  = "\x00\x00\x00\x01\xc0\x00\x02\x35\x03\x55" // 192.0.2.53:853
		before = "\x00\x00\x00\x01\xc0\x00\x02\x36\x03\x55"
	)
	for _, tt := range []struct {
		target string
		heard  []string
	}{
		{"192.0.2.53:853", []string{"good"}},
		{"dns.example.net:853", []string{"of another address", "named"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &seas{}
			flow, relay, client := relayed(t, s, tt.target)
			stranger := s.ListenPacket(netip.MustParseAddrPort("192.0.2.1:4001"))
			defer stranger.Close()
			_, _ = stranger.WriteTo([]byte(there+"of a stranger"), client)
			for _, d := range []string{
				"", "\x00\x00", there[:8],
				"\x00\x00\x01\x01\xc0\x00\x02\x35\x03\x55a fragment",
				before[:8] + "\x03\x56of another port",
				there + strings.Repeat("too long ", 300),
				before + "of another address",
				"\x00\x00\x00\x03\x11other.example.net\x03\x55of another name",
				there + "good",
				"\x00\x00\x00\x03\x0fdns.example.net\x03\x55named",
			} {
				_, _ = relay.WriteTo([]byte(d), client)
			}
			var got []string
			b := make([]byte, 1500)
			_ = flow.SetReadDeadline(time.Now().Add(time.Second))
			for {
				n, err := flow.Read(b)
				if err != nil {
					if !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error(err)
					}
					break
				}
				got = append(got, string(b[:n]))
			}
			if !slices.Equal(got, tt.heard) {
				t.Errorf("%s: heard %q, want %q", tt.target, got, tt.heard)
			}
		})
	}
}

func TestARelayBesideAProxyWithANameIsAtTheAddressThatWasConnectedTo(t *testing.T) {
	for title, tt := range map[string]struct {
		lookup func(context.Context, string) ([]netip.Addr, error)
		want   []string
	}{
		"resolved underneath": {
			func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("192.0.2.8"), netip.MustParseAddr("192.0.2.1")}, nil
			},
			[]string{"192.0.2.8:1080", "192.0.2.1:1080", "datagrams to 192.0.2.1:1081"},
		},
		"resolved by the exit underneath": {
			func(context.Context, string) ([]netip.Addr, error) {
				return nil, fault.New(fault.DNSServFail, "no resolver", ErrExitResolves)
			},
			[]string{"gw.example:1080", "datagrams to gw.example:1081"},
		},
	} {
		t.Run(title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &seas{}
				s.proxy(t, "192.0.2.1:1080", "")
				s.echo(t, "192.0.2.53:853")
				var asked []string
				flow, err := packetChainOver(t, named{s, &asked}, tt.lookup, "socks5://gw.example").DialPacket(t.Context(), name.Must("192.0.2.53:853"))
				if err != nil {
					t.Fatal(err)
				}
				defer flow.Close()
				heard(t, flow, "hello")
				if !slices.Equal(asked, tt.want) {
					t.Errorf("underneath was asked for %q, want %q", asked, tt.want)
				}
			})
		})
	}
}
