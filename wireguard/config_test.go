package wireguard_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/name"
	"watertight/wireguard"
)

func TestNoVerbPrintsASecretKeyAndNoEncoderSeesOne(t *testing.T) {
	w := newWorld(t)
	c := w.config(peerAt.String())
	c.Peers[0].PresharedKey = wireguard.PresharedKey(newPair(t).private)
	secrets := [][]byte{c.PrivateKey[:], c.Peers[0].PresharedKey[:]}
	var said strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&said, verb+"\n", c)
		fmt.Fprintf(&said, verb+"\n", &c)
		fmt.Fprintf(&said, verb+" "+verb+"\n", c.PrivateKey, c.Peers[0].PresharedKey)
	}
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	said.Write(b)
	slog.New(slog.NewJSONHandler(&said, nil)).Info("a tunnel", "config", c, "key", c.PrivateKey, "shared", c.Peers[0].PresharedKey)
	slog.New(slog.NewTextHandler(&said, nil)).Info("a tunnel", "config", c, "key", c.PrivateKey, "shared", c.Peers[0].PresharedKey)
	for _, secret := range secrets {
		numbers := strings.Trim(fmt.Sprint(secret), "[]")
		for _, form := range []string{base64.StdEncoding.EncodeToString(secret), fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), numbers, strings.ReplaceAll(numbers, " ", ","), string(secret)} {
			if strings.Contains(said.String(), form) {
				t.Errorf("a key is printed as %q", form)
			}
		}
	}
	if !strings.Contains(said.String(), c.Peers[0].PublicKey.String()) {
		t.Error("the public key is not printed, so the search proves nothing")
	}
}

func TestWhatCouldNotBeATunnelIsRefused(t *testing.T) {
	w := newWorld(t)
	own, err := w.client.private.Public()
	if err != nil {
		t.Fatal(err)
	}
	good := w.config(peerAt.String())
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*wireguard.Config){
		"private key":       func(c *wireguard.Config) { c.PrivateKey = wireguard.PrivateKey{} },
		"1 to 16 addresses": func(c *wireguard.Config) { c.Addresses = nil },
		"cannot be the address": func(c *wireguard.Config) {
			c.Addresses = []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.1")}
		},
		"there twice":      func(c *wireguard.Config) { c.Addresses = append(c.Addresses, c.Addresses[0]) },
		"1280 to 9000":     func(c *wireguard.Config) { c.MTU = 1279 },
		"576 to 9000":      func(c *wireguard.Config) { c.MTU, c.Addresses = 575, c.Addresses[:1] },
		"1 to 32 peers":    func(c *wireguard.Config) { c.Peers = nil },
		"no public key":    func(c *wireguard.Config) { c.Peers[0].PublicKey = wireguard.PublicKey{} },
		"of this end":      func(c *wireguard.Config) { c.Peers[0].PublicKey = own },
		"no endpoint":      func(c *wireguard.Config) { c.Peers[0].Endpoint = name.Target{} },
		"the port 53":      func(c *wireguard.Config) { c.Peers[0].Endpoint = name.Must("192.0.2.1:53") },
		"has 0 networks":   func(c *wireguard.Config) { c.Peers[0].AllowedIPs = nil },
		"is not a network": func(c *wireguard.Config) { c.Peers[0].AllowedIPs = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")} },
		"its keepalive":    func(c *wireguard.Config) { c.Peers[0].Keepalive = time.Millisecond },
		"network 0.0.0.0/0": func(c *wireguard.Config) {
			c.Peers = append(c.Peers, c.Peers[0])
			c.Peers[1].PublicKey = newPair(t).public
		},
	} {
		c := good
		c.Addresses, c.Peers = slices.Clone(good.Addresses), slices.Clone(good.Peers)
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		if tunnel, err := wireguard.Open(c, w.way()); err == nil || tunnel != nil {
			t.Errorf("%s: it was opened", want)
		}
	}
}

func TestATunnelNeedsDatagramsAndRoomForThemAndALookUpForNames(t *testing.T) {
	w := newWorld(t)
	for want, change := range map[string]func(*wireguard.Config, *wireguard.Way){
		"connections only": func(_ *wireguard.Config, way *wireguard.Way) { way.DialPacket = nil },
		"`mtu` of 1328":    func(_ *wireguard.Config, way *wireguard.Way) { way.Room = 1360 },
		"nobody could look up": func(c *wireguard.Config, way *wireguard.Way) {
			way.Lookup = nil
			c.Peers[0].Endpoint = name.Must("vpn.example.com:51820")
		},
	} {
		c, way := w.config(peerAt.String()), w.way()
		change(&c, &way)
		if _, err := wireguard.Open(c, way); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestRivalsHaveAKeyAndAPeerInCommon(t *testing.T) {
	w := newWorld(t)
	a, b := w.config(peerAt.String()), w.config(movedAt.String())
	if !a.Rivals(&b) {
		t.Error("the same key and the same peer are no rivals")
	}
	b.Peers = slices.Clone(b.Peers)
	b.Peers[0].PublicKey = newPair(t).public
	if a.Rivals(&b) {
		t.Error("another peer is a rival")
	}
	b = w.config(peerAt.String())
	b.PrivateKey = newPair(t).private
	if a.Rivals(&b) {
		t.Error("another key is a rival")
	}
}

func FuzzKey(f *testing.F) {
	f.Add("yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	f.Add("yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBml=")
	f.Fuzz(func(t *testing.T, s string) {
		public, err := wireguard.ParsePublicKey(s)
		private, err2 := wireguard.ParsePrivateKey(s)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("%v, %v", err, err2)
		}
		if err != nil {
			if err.Error() != wireguard.ErrKey.Error() {
				t.Fatalf("the error may show its input: %v", err)
			}
			return
		}
		if public.String() != s || base64.StdEncoding.EncodeToString(private[:]) != s {
			t.Fatalf("%q became %q", s, public)
		}
	})
}
