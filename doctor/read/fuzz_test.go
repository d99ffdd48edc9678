package read

import (
	"bytes"
	"testing"
)

// within makes sure that what a reader found stands on lines that are there, and is bounded.
func within(t *testing.T, what string, data []byte, entries []Entry) {
	t.Helper()
	if len(entries) > maxEntries {
		t.Errorf("%s: %d entries", what, len(entries))
	}
	n := bytes.Count(data, []byte("\n")) + 1
	for _, e := range entries {
		if e.Line < 1 || e.Line > n || len(e.Value) > len(data) {
			t.Errorf("%s: %+v in a file of %d lines", what, e, n)
		}
	}
}

func FuzzShell(f *testing.F) {
	for _, s := range []string{
		"export A=1 B=\"$A/x\"\nset -gx C 'd e'\nsetenv D 1; unset A\n", "f() {\n export A=1\n}\nA=1 \\\nB=2\n", "NAME DEFAULT=x OVERRIDE=@{HOME}\n",
		"if [ x ]; then export http_proxy=http://a:1; fi # r", "A='it''s' B=\\\" C=`x`", "\"", "function x\nend", "A=$A$A$A\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n := bytes.Count(data, []byte("\n")) + 1
		for _, all := range [][]Assignment{Shell(data), PamEnv(data)} {
			if len(all) > maxEntries {
				t.Errorf("%d assignments", len(all))
			}
			for _, a := range all {
				if a.Line < 1 || a.Line > n || !variable.MatchString(a.Name) || len(a.Value) > 1<<16+len(data) {
					t.Errorf("%+v in a file of %d lines", a, n)
				}
			}
		}
		for _, a := range Unit(string(data)) {
			if !variable.MatchString(a.Name) {
				t.Errorf("%+v", a)
			}
		}
	})
}

func FuzzSettings(f *testing.F) {
	for _, s := range []string{
		"[Service]\nEnvironment=A=1 \\\n B=2\n; r\n# r\n", "[global]\nproxy = http://a:1\n", "[http]\nproxy = \"socks5://\\u0041\" # x\n", "a\\:b=c\\=d\n!r\n", "key: value\n", "a = 'x", "x=\\",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		within(t, "INI", data, INI(data))
		within(t, "Properties", data, Properties(data))
		for _, e := range TOML(data) { // escapes may make a value longer
			if e.Line < 1 || e.Line > bytes.Count(data, []byte("\n"))+1 {
				t.Errorf("TOML: %+v", e)
			}
		}
	})
}

func FuzzBlocks(f *testing.F) {
	for _, s := range []string{
		"[remote \"origin\"] url = git@h:p\n\tpushurl = \"a;b\" ; r\n[core]\n\tx = a\\\nb\n", "Host a b\n  ProxyCommand nc %h\nMatch all\nVerifyHostKeyDNS=yes\n",
		"Acquire { http { Proxy \"x\"; }; };\nAPT::Get \"1\"; // r\n/* a\nb */ A::B c;\n", "{{{{{{{{{{{{{{{{{{{{{{{{\n}", "A \"", "-x http://a:1\nproxy = \"b\n--doh-url: c d\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		within(t, "Git", data, Git(data))
		within(t, "SSH", data, SSH(data))
		within(t, "Apt", data, Apt(data))
		within(t, "Curl", data, Curl(data))
	})
}

func FuzzDocuments(f *testing.F) {
	for _, s := range []string{
		"<settings><proxies><proxy><host>a</host>\n<port>1</port></proxy></proxies></settings>", "<proxy><a>", "</a>", "<a b=c>&x;",
		"function FindProxyForURL(u, h) { // isInNet(\n/* dnsResolve(h)\n*/ if (isInNet(dnsResolve(h), '1')) return \"PROXY a:1; DIRECT\"; }", "isInNet('1.2.3.4')",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, e := range Maven(data) {
			if e.Line < 1 || e.Line > bytes.Count(data, []byte("\n"))+1 {
				t.Errorf("Maven: %+v", e)
			}
		}
		for _, u := range PAC(data) {
			if u.Line < 1 || u.Line > bytes.Count(data, []byte("\n"))+1 {
				t.Errorf("PAC: %+v", u)
			}
		}
	})
}
