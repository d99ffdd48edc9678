package read

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func show(all []Assignment) string {
	var out []string
	for _, a := range all {
		switch {
		case a.Unset:
			out = append(out, fmt.Sprintf("%d -%s", a.Line, a.Name))
		case !a.Known:
			out = append(out, fmt.Sprintf("%d %s?", a.Line, a.Name))
		default:
			out = append(out, fmt.Sprintf("%d %s=%s", a.Line, a.Name, a.Value))
		}
	}
	return strings.Join(out, "\n")
}

func TestShell_readsWhatTheShellsOfAHostSet(t *testing.T) {
	for text, want := range map[string]string{
		"A=1\nexport B=2 C='3 4'\n":                          "1 A=1\n2 B=2\n2 C=3 4",
		"# A=1\n  export A=\"x # y\" # z\n":                  "2 A=x # y",
		"A=1\nB=\"$A/${A}\"\nC='$A'\n":                       "1 A=1\n2 B=1/1\n3 C=$A",
		"A=$(cat x)\nB=`x`\nC=$UNKNOWN\nD=$A\n":              "1 A?\n2 B?\n3 C?\n4 D?",
		"A=1 curl x\nenv A=1 curl\n":                         "",
		"if true; then export A=1; fi\n[ -e x ] && A=2\n":    "1 A=1\n2 A=2",
		"set -gx A 1\nset -e A\nset B x\nset -x\nset -- a b": "1 A=1\n2 -A\n3 B=x",
		"setenv A 1\nunsetenv A\nunset B C\n":                "1 A=1\n2 -A\n3 -B\n3 -C",
		"A=1\\\n2\nB=3\n":                                    "1 A=12\n3 B=3",
		"on() {\n  A=1\n}\nB=2\n":                            "4 B=2",
		"function on\n  set -gx A 1\nend\nset B 2\n":         "4 B=2",
		"on() { A=1; }\nB=2\n":                               "2 B=2",
		"declare -x A=1\ntypeset B=2\n":                      "1 A=1\n2 B=2",
		"A=\\$x\nB=\"\\$x\"\n":                               "1 A=$x\n2 B=$x",
		"1A=2\nA-B=2\n=x\n":                                  "",
	} {
		if got := show(Shell([]byte(text))); got != want {
			t.Errorf("%q:\n%s", text, cmp.Diff(want, got))
		}
	}
}

func TestPamEnv_readsBothOfItsForms(t *testing.T) {
	got := show(PamEnv([]byte("# r\nA DEFAULT=1\nB\tDEFAULT=2 OVERRIDE=@{HOME}\nC=3\n")))
	if want := "2 A=1\n3 B=2\n3 B?\n4 C=3"; got != want {
		t.Error(cmp.Diff(want, got))
	}
}

func TestReaders_giveEachSettingWithItsLine(t *testing.T) {
	for _, c := range []struct {
		name string
		read func([]byte) []Entry
		text string
		want []Entry
	}{
		{"INI", INI, "[A]\n; r\nk = v\n[B]\nx=1 \\\n2\ny: z\n", []Entry{{"A", "k", "v", 3}, {"B", "x", "1  2", 5}, {"B", "y", "z", 7}}},
		{"Git", Git, "[http \"https://h\"]\n\tproxy = \"a b\" ; r\n[Core] x = y\\\nz\n[q]\nflag\n", []Entry{{"http.https://h", "proxy", "a b", 2}, {"core", "x", "yz", 3}, {"q", "flag", "", 6}}},
		{"SSH", SSH, "User a\nHost b c\n  ProxyCommand=nc %h\nMatch all\nX \"y\"\n", []Entry{{"", "user", "a", 1}, {"b c", "proxycommand", "nc %h", 3}, {"", "x", "y", 5}}},
		{"Apt", Apt, "A::B \"c\"; // r\n/* x\ny */ D { E \"f\"; G { H \"i\"; }; };\nL:: \"1\";\n", []Entry{{"", "a::b", "c", 1}, {"", "d::e", "f", 3}, {"", "d::g::h", "i", 3}, {"", "l", "1", 4}}},
		{"Curl", Curl, "# r\n-x http://a:1\nproxy = \"b c\"\n--doh-url: d e\n", []Entry{{"", "proxy", "http://a:1", 2}, {"", "proxy", "b c", 3}, {"", "doh-url", "d", 4}}},
		{"Properties", Properties, "! r\na.b = c\\:d\n", []Entry{{"", "a.b", "c:d", 2}}},
		{"TOML", TOML, "http.proxy = \"a\\tb\" # r\n[x.y]\n'k' = 'v' # r\nn = 1 # r\n", []Entry{{"", "http.proxy", "a\tb", 1}, {"x.y", "k", "v", 3}, {"x.y", "n", "1", 4}}},
		{"Maven", Maven, "<s><proxies>\n<proxy>\n<host>a</host></proxy><proxy><port> 1 </port></proxy></proxies></s>", []Entry{{"1", "host", "a", 3}, {"2", "port", "1", 3}}},
	} {
		if diff := cmp.Diff(c.want, c.read([]byte(c.text))); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}

func TestPAC_findsWhatAsksAndWhatGoesPast(t *testing.T) {
	var got []string
	for _, u := range PAC([]byte("// dnsResolve(h)\nif (isInNet(h, 'a')) { /* isResolvable(h)\nisResolvable(h) */ x = dnsResolve(h); }\nisInNet(\"10.0.0.1\", 'a')\nreturn 'PROXY a:1; DIRECT'\nreturn \"SOCKS a:1\"; return \"SOCKS5 a:1\"\n")) {
		got = append(got, fmt.Sprintf("%d %s", u.Line, u.What))
	}
	if diff := cmp.Diff([]string{"2 isInNet", "3 dnsResolve", "5 DIRECT", "6 SOCKS"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReaders_keepNoMoreThanTheirLimit(t *testing.T) {
	many := []byte(strings.Repeat("a=b\n", maxEntries+10))
	for name, n := range map[string]int{"Shell": len(Shell(many)), "INI": len(INI(many)), "Git": len(Git(many)), "SSH": len(SSH(many)), "Properties": len(Properties(many)), "TOML": len(TOML(many))} {
		if n != maxEntries {
			t.Errorf("%s keeps %d", name, n)
		}
	}
}
