package read

import (
	"slices"
	"strings"
	"testing"
)

// big is beside every fuzz target: inputs are kept small, as the limits have tests of their own.
const big = 64 << 10

func checkLine(t *testing.T, b []byte, line int) {
	t.Helper()
	if line < 0 || line > 1+strings.Count(string(b), "\n") {
		t.Errorf("line %d is beyond the text", line)
	}
}

func FuzzParseResolv(f *testing.F) {
	f.Add([]byte("nameserver 127.0.0.1\nsearch a b.\noptions ndots:5 edns0\n"))
	f.Add([]byte("nameserver fe80::1%eth0\r\n;x\n#\ndomain x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := ParseResolv(b)
		for _, s := range r.Servers {
			checkLine(t, b, s.Line)
			if !s.Addr.IsValid() {
				t.Error("a server without an address")
			}
		}
		if r.Ndots < 0 || r.Ndots > 15 || len(r.Servers) > maxServers || len(r.Search) > maxServers {
			t.Errorf("%+v", r)
		}
	})
}

func FuzzParseNSSwitch(f *testing.F) {
	f.Add([]byte("hosts: files mdns4_minimal [NOTFOUND=return] resolve[!UNAVAIL=return] dns # x\n"))
	f.Add([]byte("hosts:[[]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := ParseNSSwitch(b)
		checkLine(t, b, l.Line)
		for _, s := range l.Sources {
			if s.Name == "" || strings.ContainsAny(s.Name, " \t[") {
				t.Errorf("%q", s)
			}
		}
	})
}

func FuzzProcNet(f *testing.F) {
	for _, seed := range []string{tcpTable, tcp6Table, unixTable, routes6} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, _ := ParseSockets("tcp", b, every)
		for _, s := range all {
			if !s.Local.IsValid() || !s.Remote.IsValid() || s.Local.Addr().Is4In6() {
				t.Errorf("%+v", s)
			}
		}
		for _, p := range ParseUnixListeners(b) {
			if !strings.HasPrefix(p, "/") || strings.Contains(p, "\n") {
				t.Errorf("%q", p)
			}
		}
		if found := DefaultRoutes6(b); slices.Contains(found, "lo") {
			t.Errorf("%q", found)
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte("{\"a\":\n[1,\"x\",null,true,{\"b\":{}}]}"))
	f.Add([]byte("[[[["))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseJSON(b)
		if err != nil {
			return // it is refused, which is all there is to hold
		}
		var walk func(Node)
		walk = func(n Node) {
			if n.Line < 1 {
				t.Error("a value without a line")
			}
			checkLine(t, b, n.Line)
			for _, one := range n.Fields {
				walk(one)
			}
			for _, one := range n.Items {
				walk(one)
			}
		}
		walk(n)
	})
}

func FuzzParseDocker(f *testing.F) {
	f.Add([]byte(`{"dns":["172.17.0.1"],"proxies":{"http-proxy":"http://127.0.0.1:8080"},"bridge":"none"}`))
	f.Add([]byte(`{"proxies":{"default":{"httpProxy":"a","httpsProxy":"b","noProxy":"c"},"x":1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDockerDaemon(b)
		if err != nil {
			return // it is refused, which is all there is to hold
		}
		for _, w := range d.DNS {
			checkLine(t, b, w.Line)
		}
		if all, err := ParseDockerConfig(b); err == nil && len(all) > maxDaemons {
			t.Error("more than the limit")
		}
	})
}

func FuzzParseContainers(f *testing.F) {
	f.Add([]byte("[containers]\ndns_servers = [\n \"10.0.0.1\", # x\n '::1']\nhttp_proxy=false\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := ParseContainers(b)
		for _, w := range c.DNSServers {
			checkLine(t, b, w.Line)
			if w.Text == "" {
				t.Error("an empty server")
			}
		}
	})
}

func FuzzParsePrefs(f *testing.F) {
	f.Add([]byte("user_pref(\"network.trr.mode\", 2);\nlockPref('a', \"b\");\npref("))
	f.Fuzz(func(t *testing.T, b []byte) {
		all := ParsePrefs(b)
		for name, p := range all {
			checkLine(t, b, p.Line)
			if name != p.Name {
				t.Errorf("%q is kept as %q", p.Name, name)
			}
		}
	})
}

func FuzzProfilesOf(f *testing.F) {
	f.Add([]byte("[Profile0]\nName=default\nIsRelative=1\nPath=abc.default\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if dirs := ProfilesOf(b); slices.Contains(dirs, "") {
			t.Error("an empty directory")
		}
	})
}

func FuzzFirefoxPolicies(f *testing.F) {
	f.Add([]byte(firefoxPolicies))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := FirefoxPolicies(b)
		if err != nil {
			return // it is refused, which is all there is to hold
		}
		for _, p := range all {
			checkLine(t, b, p.Line)
		}
	})
}

func FuzzParseChromium(f *testing.F) {
	f.Add([]byte(`{"proxy":{"mode":"auto_detect"},"dns_over_https":{"mode":"automatic"},"ProxySettings":{"ProxyMode":"direct"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		pref, err := ParseChromiumPreferences(b)
		policy, err2 := ParseChromiumPolicy(b)
		if (err == nil) != (err2 == nil) {
			t.Errorf("%v, %v", err, err2)
		}
		over := policy.Over(pref)
		checkLine(t, b, over.DoH.Line)
	})
}

func FuzzParseManifests(f *testing.F) {
	f.Add([]byte(manifests))
	f.Add([]byte("a: &x [*x]\n---\n{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > big {
			return // files are read no further
		}
		m, err := ParseManifests(b)
		if err != nil {
			return // it is refused, which is all there is to hold
		}
		if len(m.Pods)+len(m.Egress) > 2*maxObjects {
			t.Error("more than the limit")
		}
		for _, r := range m.Egress {
			checkLine(t, b, r.Line)
		}
	})
}
