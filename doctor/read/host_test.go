package read

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const tcpTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1534 1 000000001f4b904d 100 0 0 10 0
   1: 0A00A8C0:C350 08080808:0035 01 00000000:00000000 00:00000000 00000000     0        0 1600 1 0000000000000000 100 0 0 10 0
`

const tcp6Table = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0000000000000000 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000200007F:01BB 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0000000000000000 100 0 0 10 0
`

const unixTable = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 22001 /run/systemd/resolve/io.systemd.Resolve
0000000000000000: 00000003 00000000 00000000 0001 03 22002 /run/dbus/system_bus_socket
0000000000000000: 00000002 00000000 00000000 0002 01 22003 /run/a socket with spaces
0000000000000000: 00000002 00000000 00010000 0001 01 22004 @/tmp/abstract
0000000000000000: 00000002 00000000 00000000 0001 03 22005
`

const routes6 = `00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00000201     eth1
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth2
`

const firefoxPolicies = `{
  "policies": {
    "Preferences": {"network.proxy.allow_bypass": {"Value": false, "Status": "locked"}, "network.proxy.failover_direct": false},
    "Proxy": {"Mode": "manual", "HTTPProxy": "127.0.0.1:8080", "UseProxyForDNS": true, "SOCKSVersion": 5},
    "DNSOverHTTPS": {"Enabled": true,
      "Fallback": false}
  }
}`

const manifests = `apiVersion: v1
kind: Pod
metadata: {name: job}
spec:
  dnsConfig:
    options:
      - {name: ndots, value: "1"}
  initContainers:
    - name: watertight
      image: example/watertight:1
      restartPolicy: Always
  containers:
    - name: app
      image: app
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: egress
spec:
  egress:
    - to:
        - ipBlock: {cidr: 0.0.0.0/0}
      ports:
        - protocol: UDP
          port: 53
        - port: 8000
          endPort: 8100
    - {}
`

func TestAResolvConfIsReadAsGlibcReadsIt(t *testing.T) {
	r := ParseResolv([]byte("# nameserver 9.9.9.9\n nameserver 8.8.8.8\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver example.net\n" +
		"domain first.example\nsearch a.example b.example.\noptions edns0 ndots:5\noptions ndots:99\n"))
	want := Resolv{
		Servers: []Server{{netip.MustParseAddr("127.0.0.53"), 3}, {netip.MustParseAddr("fe80::1%eth0"), 4}},
		Search:  []Word{{"a.example", 7}, {"b.example", 7}}, Ndots: 15, NdotsAt: 9,
		Options: []Word{{"edns0", 8}, {"ndots:5", 8}, {"ndots:99", 9}},
	}
	if diff := cmp.Diff(want, r, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}

func TestSourcesOfNamesKeepTheirOrderAndActions(t *testing.T) {
	l := ParseNSSwitch([]byte("passwd: files\nhosts:\tfiles mdns4_minimal [NOTFOUND=return] resolve[!UNAVAIL=return] dns # resolve\nhosts: dns\n"))
	want := Lookup{Line: 2, Sources: []Source{{"files", ""}, {"mdns4_minimal", "NOTFOUND=return"}, {"resolve", "!UNAVAIL=return"}, {"dns", ""}}}
	if diff := cmp.Diff(want, l); diff != "" {
		t.Error(diff)
	}
	if !l.Asks("resolve") || l.Asks("mdns4") {
		t.Error("Asks does not go by whole names")
	}
}

func every(Socket) bool { return true }

func TestTheKernelsTablesGiveAddressesAndOwners(t *testing.T) {
	four, _ := ParseSockets("tcp", []byte(tcpTable), every)
	want := []Socket{
		{"tcp", netip.MustParseAddrPort("127.0.0.1:8080"), netip.MustParseAddrPort("0.0.0.0:0"), Listening, 1000, 1534},
		{"tcp", netip.MustParseAddrPort("192.168.0.10:50000"), netip.MustParseAddrPort("8.8.8.8:53"), Established, 0, 1600},
	}
	if diff := cmp.Diff(want, four, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
	six, _ := ParseSockets("udp", []byte(tcp6Table), every)
	if len(six) != 2 {
		t.Fatal(six)
	}
	if six[0].Local != netip.MustParseAddrPort("[::1]:53") || six[1].Remote != netip.MustParseAddrPort("127.0.0.2:443") {
		t.Errorf("%+v", six)
	}
}

func TestATableBeyondTheLimitIsCutAndSaysSo(t *testing.T) {
	head, row, _ := strings.Cut(tcpTable, "\n")
	row, _, _ = strings.Cut(row, "\n")
	short := strings.Join(strings.Fields(row)[:10], " ")
	all, cut := ParseSockets("tcp", []byte(head+"\n"+strings.Repeat(short+"\n", maxTable+1)), every)
	if !cut || len(all) != maxTable {
		t.Errorf("%d, %v", len(all), cut)
	}
	table := head + "\n" + strings.Repeat(short+"\n", maxTable+1) + strings.Replace(short, "0A 0", "01 0", 1) + "\n"
	if all, cut := ParseSockets("tcp", []byte(table), func(s Socket) bool { return s.State == Established }); cut || len(all) != 1 {
		t.Errorf("behind what nobody wants: %d, %v", len(all), cut)
	}
}

func TestListenersHaveAPathInTheFileSystem(t *testing.T) {
	if diff := cmp.Diff([]string{"/run/systemd/resolve/io.systemd.Resolve", "/run/a socket with spaces"}, ParseUnixListeners([]byte(unixTable))); diff != "" {
		t.Error(diff)
	}
}

func TestADefaultRouteIsOneThatLeadsSomewhere(t *testing.T) {
	if got := DefaultRoutes6([]byte(routes6)); !slices.Equal(got, []string{"eth0"}) {
		t.Errorf("%q", got)
	}
}

func TestJSONKeepsTheLines(t *testing.T) {
	n, err := ParseJSON([]byte("{\n\"a\": {\n \"b\": [true,\n 7]},\n\"c\": null}"))
	if err != nil {
		t.Fatal(err)
	}
	items := n.Get("a", "b")
	if items.Line != 3 || items.Items[1].Line != 4 || n.Get("c").Line != 5 || !n.Get("c").There() || n.Get("d", "e").There() {
		t.Errorf("%+v", n)
	}
	if v, ok := items.Items[1].Int(); v != 7 || !ok {
		t.Error(v, ok)
	}
}

func TestWhatIsNoJSONIsAnErrorAndNoPanic(t *testing.T) {
	for _, text := range []string{"", "{", "{}{}", `{"a":}`, strings.Repeat("[", maxDepth+2), "nul"} {
		if n, err := ParseJSON([]byte(text)); err == nil {
			t.Errorf("%.20q was read as %+v", text, n)
		}
	}
}

func TestDockersSettingsHaveTheirLines(t *testing.T) {
	d, err := ParseDockerDaemon([]byte("{\n\"dns\": [\"172.17.0.1\"],\n\"proxies\": {\"https-proxy\": \"http://127.0.0.1:8080\"},\n\"bridge\": \"none\"}"))
	if err != nil {
		t.Fatal(err)
	}
	want := DockerDaemon{DNS: []Word{{"172.17.0.1", 2}}, HTTPSProxy: Word{"http://127.0.0.1:8080", 3}, NoBridge: true}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
	if d, err := ParseDockerDaemon(nil); err != nil || d.DNS != nil {
		t.Error("an empty file says nothing", d, err)
	}
	c, err := ParseDockerConfig([]byte("{\"proxies\": {\n\"default\": {\"httpProxy\": \"http://172.17.0.1:8080\"}}}"))
	if err != nil || len(c) != 1 || c[0].Daemon != "default" || c[0].HTTP != (Word{"http://172.17.0.1:8080", 2}) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestContainersConfIsReadAcrossLinesAndComments(t *testing.T) {
	c := ParseContainers([]byte("[network]\ndns_servers=['9.9.9.9']\n[containers]\n#dns_servers = [\"8.8.8.8\"]\ndns_servers = [\n  \"10.88.0.1\", # ours\n  'fd00::1',\n]\nhttp_proxy = false\n"))
	if diff := cmp.Diff(Containers{DNSServers: []Word{{"10.88.0.1", 6}, {"fd00::1", 7}}}, c); diff != "" {
		t.Error(diff)
	}
}

func TestPreferencesOfFirefoxAreReadFromEveryKindOfFile(t *testing.T) {
	p := ParsePrefs([]byte("// user_pref(\"x\", 1);\nuser_pref(\"network.trr.mode\", 2);\nuser_pref(\"network.proxy.http\", \"127.0.0.1\");\nlockPref('network.proxy.type', 1);\nuser_pref(\"network.trr.mode\", 3);\n"))
	want := Prefs{
		"network.trr.mode":   {"network.trr.mode", "3", 5},
		"network.proxy.http": {"network.proxy.http", "127.0.0.1", 3},
		"network.proxy.type": {"network.proxy.type", "1", 4},
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
	p, err := FirefoxPolicies([]byte(firefoxPolicies))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"network.proxy.allow_bypass": "false", "network.proxy.failover_direct": "false", "network.proxy.type": "1", "network.proxy.http": "127.0.0.1",
		"network.proxy.http_port": "8080", "network.proxy.socks_remote_dns": "true", "network.trr.mode": "3",
	} {
		if p[name].Value != value {
			t.Errorf("%s is %q", name, p[name].Value)
		}
	}
	if dirs := ProfilesOf([]byte("[Install1]\nDefault=x\n[Profile0]\nPath=abc.default\n")); !slices.Equal(dirs, []string{"abc.default"}) {
		t.Errorf("%q", dirs)
	}
}

func TestPoliciesOfChromiumStandOverPreferences(t *testing.T) {
	pref, err := ParseChromiumPreferences([]byte("{\"proxy\": {\"mode\": \"auto_detect\"},\n\"dns_over_https\": {\"mode\": \"automatic\"}}"))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := ParseChromiumPolicy([]byte(`{"ProxySettings": {"ProxyMode": "fixed_servers", "ProxyServer": "http://127.0.0.1:8080"}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Chromium{ProxyMode: Word{"fixed_servers", 1}, ProxyServer: Word{"http://127.0.0.1:8080", 1}, DoH: Word{"automatic", 2}}
	if diff := cmp.Diff(want, policy.Over(pref)); diff != "" {
		t.Error(diff)
	}
}

func TestManifestsGiveTheirPodsAndWhatTheyMaySend(t *testing.T) {
	m, err := ParseManifests([]byte(manifests))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Pods) != 1 || len(m.Egress) != 2 {
		t.Fatalf("%+v", m)
	}
	p := m.Pods[0]
	if p.Name != "job" || p.Ndots != 1 || len(p.Containers) != 2 || !p.Containers[0].Init || !p.Containers[0].Always || p.Containers[1].Init || p.Containers[1].Line != 13 {
		t.Errorf("%+v", p)
	}
	first, all := m.Egress[0], m.Egress[1]
	if !first.Allows(53) || !first.Allows(8050) || first.Allows(443) || !all.Allows(443) || first.To[0].CIDR != "0.0.0.0/0" || first.Ports[0].Line != 26 || first.Ports[0].Protocol != "UDP" {
		t.Errorf("%+v", m.Egress)
	}
}

func TestAManifestThatCostsTooMuchIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"deep":   strings.Repeat("[", maxYAMLDepth+1),
		"keys":   "a:\n" + strings.Repeat(" - x\n", maxYAMLKeys+1),
		"marks":  strings.Repeat("- &a b\n", maxYAMLMarks+1),
		"indent": strings.Repeat(" ", maxYAMLIndent+1) + "- a: b\n",
		"size":   strings.Repeat("#", maxYAML+1),
		"no end": "{",
	} {
		if _, err := ParseManifests([]byte(text)); err == nil {
			t.Errorf("%s: it was read", name)
		}
	}
}
