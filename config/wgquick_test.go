package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const wgConf = `# of a provider
[Interface]
PrivateKey = ` + keyA + `
Address = 10.2.0.2/32, fd00:2::2/128
DNS = 10.2.0.1, fd00:2::1, corp.example
MTU = 1380
PostUp = iptables -A OUTPUT -j REJECT
ListenPort = 51820

[peer]
publickey=` + keyB + ` # frankfurt
PresharedKey = ` + keyA + `
Endpoint = vpn.example:51820
AllowedIPs = 0.0.0.0/0
AllowedIPs = ::/0, 10.2.0.7/24
PersistentKeepalive = 25
`

func TestImport_MakesAChannelOfAFileOfWGQuick(t *testing.T) {
	in, err := ImportWGQuick("wg0.conf", []byte(wgConf), "wg0", "keys")
	if err != nil {
		t.Fatal(err)
	}
	if text := string(in.YAML) + fmt.Sprintf("%v %+v %#v %s", in.Files, in.Files, in.Files, in.Notes); strings.Contains(text, keyA) {
		t.Errorf("a key is told: %s", text)
	}
	files := map[string]string{}
	for _, f := range in.Files {
		files[f.Name] = string(f.Content())
	}
	if len(files) != 2 || strings.TrimSpace(files["keys/wg0.key"]) != keyA || strings.TrimSpace(files["keys/wg0-1.psk"]) != keyA {
		t.Errorf("%v", in.Files)
	}
	c, err := Parse("watertight.yaml", in.YAML, testHost(nil, files))
	if err != nil {
		t.Fatalf("%v:\n%s", err, in.YAML)
	}
	ch, _ := c.Channel("wg0")
	w := ch.WireGuard.Tunnel
	if p := w.Peers[0]; len(w.Addresses) != 2 || w.MTU != 1380 || w.DNSOverTunnel || p.Endpoint.String() != "vpn.example:51820" || fmt.Sprint(p.AllowedIPs) != "[0.0.0.0/0 ::/0 10.2.0.0/24]" || p.Keepalive != 25*time.Second {
		t.Errorf("%+v", w)
	}
	for _, want := range []string{"# DNS = 10.2.0.1, fd00:2::1:", `upstreams: ["udp://10.2.0.1", "udp://[fd00:2::1]"]`} {
		if !strings.Contains(string(in.YAML), want) {
			t.Errorf("%q is missing:\n%s", want, in.YAML)
		}
	}
	var notes []string
	for _, n := range in.Notes {
		notes = append(notes, n.Error())
	}
	if text := strings.Join(notes, "\n"); len(notes) != 3 || !strings.Contains(text, "wg0.conf:5:1: `corp.example` is a search domain") || !strings.Contains(text, "wg0.conf:7:1: `PostUp` is a command, and no command is run") ||
		!strings.Contains(text, "`ListenPort`") || strings.Contains(text, "iptables") {
		t.Errorf("%s", text)
	}
	// What is proposed for the tunnel's own resolver is right too.
	own := strings.Replace(string(in.YAML), "    resolver: {upstreams: [quad9]}", "    #", 1)
	own = strings.Replace(strings.Replace(own, "    # resolver:", "    resolver:", 1), "      mtu:", "      dns_over_tunnel: true\n      mtu:", 1)
	if _, err := Parse("watertight.yaml", []byte(own), testHost(nil, files)); err != nil {
		t.Errorf("%v:\n%s", err, own)
	}
}

func TestImport_SaysWhatIsWrongByLineAndTellsNoKey(t *testing.T) {
	for change, want := range map[[2]string]string{
		{"[Interface]\n", "[Interfaces]\n"}:                           "wg0.conf:2:1: a section",
		{"[Interface]\n", ""}:                                         "wg0.conf:2:1: a key before any section",
		{"PrivateKey = " + keyA, "PrivateKey = " + keyA[:40]}:         "wg0.conf:3:1: `PrivateKey` is not a key",
		{"PrivateKey = " + keyA, keyA}:                                "wg0.conf:3:1: `***`",
		{"PrivateKey = ", "PrivatKey = "}:                             "wg0.conf:3:1: `PrivatKey` is no key of [Interface]",
		{"MTU = 1380", "MTU = 90000"}:                                 "wg0.conf:6:1: `90000` is no MTU",
		{"MTU = 1380", "MTU = 1380\nMTU = 1400"}:                      "wg0.conf:7:1: `MTU` is written twice",
		{"MTU = 1380", "MTU = " + keyA}:                               "wg0.conf:6:1: `***` is no MTU",
		{"Address = 10.2.0.2/32", "Address = 10.2.0.999"}:             "wg0.conf:4:1: `10.2.0.999` cannot be the address",
		{"Endpoint = vpn.example:51820", "Endpoint = vpn.example"}:    "wg0.conf:13:1: `vpn.example` is no endpoint",
		{"Endpoint = vpn.example:51820", "Endpoint = vpn.example:53"}: "wg0.conf:13:1: the endpoint has the port 53",
		{"Endpoint = vpn.example:51820\n", ""}:                        "wg0.conf:10:1: `Endpoint` is missing",
		{"PersistentKeepalive = 25", "PersistentKeepalive = 25s"}:     "wg0.conf:16:1: `25s` is no number of seconds",
		{"AllowedIPs = 0.0.0.0/0", "AllowedIPs = everything"}:         "wg0.conf:14:1: `everything` is no network",
		{"publickey=" + keyB + " # frankfurt", "PublicKey ="}:         "wg0.conf:11:1: `PublicKey` has no value",
	} {
		in, err := ImportWGQuick("wg0.conf", []byte(strings.Replace(wgConf, change[0], change[1], 1)), "wg0", "")
		var problems Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), keyA[:30]) || in != nil {
			t.Errorf("%q for %q: %v", change[1], change[0], err)
		}
	}
	_, err := ImportWGQuick("wg0.conf", []byte(strings.NewReplacer("0.0.0.0/0", "10.0.0.0/8", "::/0, ", "").Replace(wgConf)), "wg0", "")
	if err == nil || !strings.Contains(err.Error(), "wg0.conf: the resolver quad9 cannot be reached") {
		t.Errorf("a tunnel to a part of the internet: %v", err)
	}
	for _, channel := range []string{"", "direct", "refuse", "a b", "-x"} {
		if _, err := ImportWGQuick("wg0.conf", []byte(wgConf), channel, ""); err == nil {
			t.Errorf("a channel called %q", channel)
		}
	}
}

func FuzzImportWGQuick(f *testing.F) {
	f.Add([]byte(wgConf))
	f.Add([]byte("[Interface]\nPrivateKey=" + keyA + "\nAddress=1.2.3.4\n[Peer]\nPublicKey=" + keyB + "\nEndpoint=[2001:db8::1]:1\nAllowedIPs=0.0.0.0/0\n"))
	f.Add([]byte("[Interface]\n=\n[Peer]\nEndpoint=a:b:c\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		in, err := ImportWGQuick("wg0.conf", text, "wg0", "keys")
		if (in == nil) == (err == nil) {
			t.Fatalf("%v, %v", in, err)
		}
		if err != nil {
			if strings.Contains(err.Error(), keyA) {
				t.Errorf("a key is told: %v", err)
			}
			return
		}
		files := map[string]string{}
		for _, s := range in.Files {
			files[s.Name] = string(s.Content())
			if strings.Contains(string(in.YAML), strings.TrimSpace(files[s.Name])) && !strings.Contains(string(text), "ublic") {
				t.Errorf("a key is told:\n%s", in.YAML)
			}
		}
		if _, err := Parse("watertight.yaml", in.YAML, testHost(nil, files)); err != nil {
			t.Errorf("%v:\n%s", err, in.YAML)
		}
	})
}
