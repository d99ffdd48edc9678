package probe

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"watertight/dnswire"
)

func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFiles_AreReadAsTheLibraryOfCDoes(t *testing.T) {
	servers, odd, err := nameservers(written(t, "# one\nnameserver 192.0.0.1\nnameserver fd77::1\nnameserver nonsense\noptions edns0\n"))
	if err != nil || odd != "" || !slices.Equal(servers, []netip.Addr{netip.MustParseAddr("192.0.0.1"), netip.MustParseAddr("fd77::1")}) {
		t.Errorf("%v, odd %q: %v", servers, odd, err)
	}
	if _, odd, _ := nameservers(written(t, "search corp.example\nnameserver 192.0.0.1\n")); odd != "search corp.example" {
		t.Errorf("a suffix is not told: %q", odd)
	}
	services, err := hostServices(written(t, "passwd: files\nhosts: files resolve [!UNAVAIL=return] dns\n"))
	if err != nil || !slices.Equal(services, []string{"files", "resolve", "[!UNAVAIL=return]", "dns"}) {
		t.Errorf("%v: %v", services, err)
	}
}

func TestByWhom_OnlyAnAddressThatStandsForTheNameIsOurs(t *testing.T) {
	q := dnswire.Question{Name: "x.example.com", Type: dnswire.A}
	for _, c := range []struct {
		addrs string
		rcode int
		want  Result
	}{
		{"198.18.0.1", 0, Answered},
		{"203.0.113.1", 0, Elsewhere},
		{"198.18.0.1 203.0.113.1", 0, Elsewhere},
		{"127.0.0.1", 0, Elsewhere},
		{"", 0, Elsewhere},
		{"", dnswire.NXDomain, Elsewhere},
		{"", dnswire.ServFail, Refused},
		{"", dnswire.Refused, Refused},
	} {
		r := dnswire.Reply{RCode: c.rcode}
		for a := range strings.FieldsSeq(c.addrs) {
			r.Answer = append(r.Answer, dnswire.AddrRecord(q.Name, 1, netip.MustParseAddr(a)))
		}
		a, err := dnswire.Local(q, r)
		if err != nil {
			t.Fatal(err)
		}
		if got, said := byWhom(a); got != c.want {
			t.Errorf("%q, code %d: %s, %s", c.addrs, c.rcode, got, said)
		}
	}
}

func TestParse_AReportThatSaysNothingIsNone(t *testing.T) {
	for _, text := range []string{"", "[]", "{}", "null", "x", strings.Repeat(" ", MaxReport) + "[{}]"} {
		if all, err := Parse([]byte(text)); err == nil {
			t.Errorf("%.10q is taken for %v", text, all)
		}
	}
	if _, err := (Spec{Devices: make([]string, maxList+1)}).Input(); err == nil {
		t.Error("any number of devices is tried")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`[{"id":"EXEC-DNS","what":"a question","result":"answered","held":true,"took_ms":1}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Parse(b)
		if err == nil && len(all) == 0 {
			t.Error("nothing is taken for a report")
		}
	})
}
