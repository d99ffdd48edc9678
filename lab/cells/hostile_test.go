package cells

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"watertight/capture"
	"watertight/lab"
	"watertight/lab/internet"
)

// What holds hostile programs, in the order in which they are tried. All but the last are seen to leak.
const (
	nothing      = "nothing"
	emptyNetwork = "unshare -rn"
	bubblewrap   = "bwrap --unshare-all"
	proxychains  = "proxychains4"
	torsocks     = "torsocks"
	masksAlone   = "masks over /run"
	filterAlone  = "a filter of system calls"
	ours         = "watertight exec"
)

// hostile is a program of testdata/hostile.py.
type hostile struct {
	row    string   // of the catalogue
	attack string   // its name there
	leaks  []string // what does not hold it, whoever runs it
	root   []string // what does not hold it when root runs it
}

var (
	namespaces = []string{emptyNetwork, bubblewrap}
	preloads   = []string{proxychains, torsocks}
	everything = []string{emptyNetwork, bubblewrap, proxychains, torsocks}
)

// hostiles are the programs, each with what is seen to let it through.
var hostiles = []hostile{
	{row: "G1", attack: "resolved by varlink", leaks: everything},
	{row: "G1", attack: "resolved by D-Bus", leaks: everything},
	{row: "G1", attack: "nscd by its protocol", leaks: everything},
	{row: "G1", attack: "nscd by the C library", leaks: namespaces},
	{row: "G1", attack: "avahi", leaks: everything},
	{row: "G2", attack: "umount", leaks: []string{masksAlone}},
	{row: "G3", attack: "an inherited socket", leaks: everything},
	{row: "G3", attack: "an inherited directory", leaks: []string{emptyNetwork, proxychains, torsocks, masksAlone}},
	{row: "G4", attack: "another's root in proc", root: []string{masksAlone}},
	{row: "G4", attack: "setns", root: []string{masksAlone}},
	{row: "G5", attack: "a raw socket", root: []string{proxychains}},
	{row: "G5", attack: "a packet socket", root: preloads},
	{row: "G7", attack: "io_uring", leaks: []string{filterAlone}},
	{row: "G8", attack: "static Go", leaks: preloads},
	{row: "G8", attack: "c-ares", leaks: []string{proxychains}},
	{row: "G8", attack: "DNS over UDP", leaks: []string{proxychains}},
	{row: "G8", attack: "DNS over UDP and IPv6", leaks: []string{proxychains}},
	{row: "G8", attack: "UDP-Lite", leaks: []string{proxychains}},
	{row: "G8", attack: "TCP fast open", leaks: []string{nothing}},
	{row: "G8", attack: "DNS over TCP", leaks: []string{nothing}},
	{row: "G8", attack: "a bound device", leaks: []string{proxychains}},
	{row: "G8", attack: "a marked datagram", root: []string{proxychains}},
	{row: "G8", attack: "a ping", root: []string{nothing}},
	{row: "G9", attack: "a socket in /run", leaks: everything},
	{row: "G9", attack: "docker's socket", leaks: everything},
	{row: "G9", attack: "systemd's socket", leaks: everything},
	{row: "G9", attack: "a socket in the home directory", leaks: everything},
	{row: "G9", attack: "a socket in /tmp", leaks: everything},
	{row: "G9", attack: "an abstract socket", leaks: preloads},
	{row: "G9", attack: "a port on loopback", leaks: []string{nothing}},
	{row: "G9", attack: "a System V queue", leaks: []string{emptyNetwork, proxychains, torsocks}},
	{row: "G9", attack: "a POSIX queue", leaks: []string{emptyNetwork, proxychains, torsocks}},
	{row: "G9", attack: "shared memory", leaks: []string{emptyNetwork, proxychains, torsocks}},
	{row: "G11", attack: "mDNS", leaks: []string{proxychains}},
	{row: "G11", attack: "mDNS over IPv6", leaks: []string{proxychains}},
	{row: "G11", attack: "LLMNR", leaks: []string{proxychains}},
	{row: "G11", attack: "NetBIOS", leaks: []string{proxychains}},
	{row: "G11", attack: "SSDP", leaks: []string{proxychains}},
	{row: "G11", attack: "WPAD by DHCP", leaks: []string{proxychains}},
	{row: "G11", attack: "STUN", leaks: []string{proxychains}},
	{row: "G11", attack: "QUIC", leaks: []string{proxychains}},
	{row: "G11", attack: "DNS over QUIC", leaks: []string{proxychains}},
	{row: "G11", attack: "DNS over TLS", leaks: []string{nothing}},
	{row: "G11", attack: "DNS over HTTPS", leaks: []string{nothing}},
}

// run is one containment, used by one user, with what is tried in it.
type hostileRun struct {
	Name      string            `json:"name"`
	Command   []string          `json:"command"`
	Env       map[string]string `json:"env"`
	Attacks   []string          `json:"attacks"` // each with its token
	Everybody bool              `json:"everybody"`

	holds, user string
}

// token is a label that one attempt alone says, so that it tells who leaked: every one is as long as every other.
func token(s *lab.Scene, attack, run int) string {
	return fmt.Sprintf("%s%c%c%c", s.Label, 'a'+attack/26, 'a'+attack%26, 'a'+run)
}

// hostileRuns gives every containment twice, as root has it and as an ordinary user: one with another number than root's, and
// without capabilities.
func hostileRuns(t testing.TB, s *lab.Scene, self, program string) (runs []hostileRun) {
	t.Helper()
	configFile := filepath.Join(s.Dir, "exec.yaml")
	lab.Must(0, os.WriteFile(configFile, []byte(dot(s)), 0o644))(t)
	chains := filepath.Join(s.Dir, "proxychains.conf")
	host, port, _ := strings.Cut(lab.ProxyAddress, ":")
	lab.Must(0, os.WriteFile(chains, []byte("strict_chain\nproxy_dns\nquiet_mode\n[ProxyList]\nsocks5 "+host+" "+port+"\n"), 0o644))(t)
	filter := lab.Must(filepath.Abs("testdata/filter.py"))(t)
	masks := []string{"sh", "-c", `mount -t tmpfs none /run && exec "$@"`, "sh"}
	for _, user := range []string{"root", "user"} {
		var become []string
		unshare := []string{"unshare", "-nm"}
		if user == "user" {
			become = []string{"unshare", "-U", "--map-user=12345", "--map-group=12345"}
			unshare = []string{"unshare", "-rnm"}
		}
		for _, c := range []struct {
			holds   string
			command []string
			env     map[string]string
		}{
			{nothing, nil, nil},
			{emptyNetwork, []string{"unshare", "-rn"}, nil},
			{bubblewrap, []string{"bwrap", "--unshare-all", "--ro-bind", "/", "/"}, nil},
			{proxychains, []string{"proxychains4", "-q", "-f", chains}, nil},
			{torsocks, []string{"torsocks"}, map[string]string{"TORSOCKS_TOR_ADDRESS": host, "TORSOCKS_TOR_PORT": port}},
			{masksAlone, slices.Concat(unshare, masks), nil},
			{filterAlone, []string{"python3", "-I", filter}, nil},
			{ours, []string{self, "exec", "-c", configFile, "--"}, map[string]string{"WATERTIGHT_LAB_ROLE": lab.WatertightRole}},
		} {
			r := hostileRun{
				Name: c.holds + " as " + user, Env: c.env, Everybody: c.holds == ours, holds: c.holds, user: user,
				Command: slices.Concat(become, c.command, []string{"python3", "-I", program}),
			}
			for i, h := range hostiles {
				if r.holds == ours || slices.Contains(h.let(user), r.holds) {
					r.Attacks = append(r.Attacks, h.attack+"="+token(s, i, len(runs)))
				}
			}
			if r.holds == filterAlone { // what shows that there is a filter
				r.Attacks = append(r.Attacks, "the usual calls="+token(s, len(hostiles), len(runs)))
			}
			if r.holds == proxychains { // what shows that names do go by the proxy
				r.Attacks = append(r.Attacks, "nscd by the C library="+token(s, len(hostiles)+1, len(runs)))
			}
			runs = append(runs, r)
		}
	}
	return runs
}

// let gives what does not hold the program when a user runs it.
func (h hostile) let(user string) []string {
	if user == "root" {
		return slices.Concat(h.leaks, h.root)
	}
	return h.leaks
}

// A host with nscd, systemd-resolved, avahi, D-Bus and programs that do what they are told: what others do not hold, as
// root and as an ordinary user, is seen in its packets; and of what was tried in us, nothing is.
func TestHostile_WhatOthersDoNotHoldIsHeld(t *testing.T) {
	lab.Need(t, "python3", "dbus-daemon", "dbus-send", "avahi-daemon", "bwrap", "proxychains4", "torsocks", "unshare")
	lab.NeedPython(t, python3, "pycares")
	d := needDaemons(t)
	s := lab.NewScene(t, internet.Dual)
	lab.StartWatertight(t, s, dot(s)) // what proxychains and torsocks lead to
	self, program := copied(t, s.Internet), filepath.Join(s.Dir, "hostile.py")
	lab.Must(0, os.WriteFile(program, lab.Must(os.ReadFile("testdata/hostile.py"))(t), 0o644))(t)
	runs := hostileRuns(t, s, self, program)
	spec := filepath.Join(s.Dir, "machine.json")
	lab.Must(0, os.WriteFile(spec, lab.Must(json.Marshal(map[string]any{
		"isp": s.Client.Nameservers()[0].String(), "nscd": d.nscd, "resolved": d.resolved, "libraries": d.libraries, "runs": runs,
		"program": map[string]any{
			"home": s.Dir, "tmp": t.TempDir(), "self": self, "ca": s.CAFile, "resolver": s.Resolver.Addr4.String(), "key": os.Getpid(),
		},
	}))(t), 0o644))(t)
	machine := lab.Must(filepath.Abs("testdata/machine.py"))(t)
	e := s.Gather(t, lab.Run(t, s.Client.Program("python3", "-I", machine, spec)))
	if e.Client.Code != 0 {
		t.Fatalf("the host failed: %s", e.Client.Text())
	}
	said := heard(t, e.Client.Stdout)
	for i, r := range runs {
		t.Run(r.Name, func(t *testing.T) {
			for j, h := range hostiles {
				how := leaked(s, e, token(s, j, i))
				switch {
				case r.holds == ours && len(how) > 0:
					t.Errorf("LEAK: %s, %s: %s", h.row, h.attack, strings.Join(how, "\n"))
				case slices.Contains(h.let(r.user), r.holds) && len(how) == 0:
					t.Errorf("INVALID: %s, %s was not seen to leak", h.row, h.attack)
				}
			}
			for j := range 2 {
				if how := leaked(s, e, token(s, len(hostiles)+j, i)); len(how) > 0 {
					t.Errorf("INVALID: it holds nothing at all: %s", strings.Join(how, "\n"))
				}
			}
			if r.holds == ours {
				inside(t, s, said[r.Name], token(s, slices.IndexFunc(hostiles, func(h hostile) bool { return h.attack == "static Go" }), i))
			}
			if t.Failed() || testing.Verbose() {
				t.Log(said[r.Name])
			}
		})
	}
	for _, h := range hostiles {
		if len(h.let("root")) == 0 {
			t.Errorf("INVALID: %s, %s is not seen to leak anywhere", h.row, h.attack)
		}
	}
}

// inside fails the test unless all programs ran, and one of them, which does nothing forbidden, was served: what is dead
// leaks nothing.
func inside(t *testing.T, s *lab.Scene, said, served string) {
	t.Helper()
	for _, h := range hostiles {
		if !strings.Contains("\n"+said, "\n"+h.attack+": ") {
			t.Errorf("%s did not run", h.attack)
		}
	}
	if !slices.ContainsFunc(s.Origin.Visits(), func(v internet.Visit) bool { return strings.HasPrefix(v.Host, served+".") }) {
		t.Error("what static Go called was not reached")
	}
}

// heard gives what the programs of each run said.
func heard(t testing.TB, text string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(text) {
		var r struct{ Run, Said string }
		lab.Must(0, json.Unmarshal([]byte(line), &r))(t)
		all[r.Run] = r.Said
	}
	return all
}

// leaked says where a token was seen that was to stay inside.
func leaked(s *lab.Scene, e *lab.Evidence, token string) (how []string) {
	for _, q := range e.ISP {
		if strings.Contains(q.Name, token) {
			how = append(how, "the provider was asked: "+q.String())
		}
	}
	for _, p := range e.Packets {
		if bytes.Contains(bytes.ToLower(p.Payload), []byte(token)) && !slices.ContainsFunc(s.Readers, func(r capture.Peer) bool { return r.Between(p) }) {
			how = append(how, "the name, in "+p.String())
		}
	}
	return how
}
