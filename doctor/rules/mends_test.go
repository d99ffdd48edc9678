package rules

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"watertight/config"
	"watertight/doctor"
	"watertight/doctor/doctortest"
)

// mends makes the changes that reports on a host offer, one after the other, until none is offered: what is left was there from
// the beginning, and is less.
func mends(t *testing.T, c doctortest.Case, before doctor.Report) {
	t.Helper()
	offered := func(r doctor.Report) int {
		return slices.IndexFunc(r.Findings, func(f doctor.Finding) bool { return f.Change != nil })
	}
	if offered(before) < 0 {
		return
	}
	o := c.Options(t)
	after := before
	for range 20 {
		i := offered(after)
		if i < 0 {
			break
		}
		f := after.Findings[i]
		if _, err := doctortest.Open(t, o).Apply(f.Change); err != nil {
			t.Fatalf("the change of %s: %v", f.ID, err)
		}
		after = doctor.Run(t.Context(), doctortest.Open(t, o), All())
	}
	if i := offered(after); i >= 0 {
		t.Errorf("%s is offered without end:\n%s", after.Findings[i].ID, after.Findings[i].Change.Diff)
	}
	was, is := evidence(before), evidence(after)
	if len(is) >= len(was) {
		t.Errorf("the changes take nothing away: %q", is)
	}
	for _, e := range is {
		if !slices.Contains(was, e) {
			t.Errorf("the changes bring what was not there: %s", e)
		}
	}
}

// ofOurs is what a fix says of our configuration.
var ofOurs = regexp.MustCompile(`listen: \{.*\}`)

// loads wants of what fixes say of our configuration that it is one.
func loads(t *testing.T, r doctor.Report) {
	t.Helper()
	for _, f := range r.Findings {
		for _, text := range ofOurs.FindAllString(f.Fix, -1) {
			if _, err := config.Parse("fix", []byte(text+"\n"), config.Host{
				Getenv:   func(string) (string, bool) { return "", false },
				ReadFile: func(string, int64) ([]byte, error) { return nil, fs.ErrNotExist },
				Exposed:  func(string) bool { return false },
			}); err != nil {
				t.Errorf("%s: %s: %v", f.ID, text, err)
			}
		}
	}
}

var lineNumber = regexp.MustCompile(`:\d+:`)

// evidence is that of all findings, without the numbers of lines, which a change moves.
func evidence(r doctor.Report) []string {
	var all []string
	for _, f := range r.Findings {
		for _, e := range f.Evidence {
			all = append(all, f.ID+" "+lineNumber.ReplaceAllString(e, ": "))
		}
	}
	return all
}

// What a file says in its own way is changed in its own way: nothing but the proxy's scheme.
func TestTheChangesOfFiles_leaveAllElseAsItIs(t *testing.T) {
	const host = "A host with proxies that resolve here.\n-- etc/passwd --\nann:x:1000:1000::/srv/ann:/bin/bash\n"
	for name, line := range map[string]string{
		".curlrc": `proxy = "socks5://127.0.0.1:8080"`, ".npmrc": "https-proxy=socks5://127.0.0.1:8080/", ".gitconfig": "[http] proxy = socks5://127.0.0.1:8080 # ours",
		".config/pip/pip.conf": "[global]\nproxy: socks5://localhost:8080", ".cargo/config.toml": "[http]\nproxy='socks5://127.0.0.1:8080'", ".wgetrc": "  https_proxy = socks5://127.0.0.1:8080",
	} {
		r := doctor.Run(t.Context(), doctortest.Read(t, name, []byte(host+"-- srv/ann/"+name+" --\n"+line+"\n")).Host(t), All())
		if len(r.Findings) != 1 || r.Findings[0].Change == nil {
			t.Errorf("%s: %+v", name, r.Findings)
			continue
		}
		want := strings.Replace(strings.Replace(line[strings.LastIndex(line, "\n")+1:], "socks5://", "http://", 1), "8080/", "8080", 1)
		if diff := r.Findings[0].Change.Diff; !strings.Contains(diff, "\n+"+strings.ReplaceAll(want, "\t", " ")+"\n") {
			t.Errorf("%s: not %q:\n%s", name, want, diff)
		}
	}
	for name, line := range map[string]string{"srv/ann/.wgetrc": "https_proxy = socks5://127.0.0.1:8080", "etc/apt/apt.conf": `Acquire::http::Proxy "socks5://127.0.0.1:8080";`} {
		r := doctor.Run(t.Context(), doctortest.Read(t, name, []byte(host+"-- "+name+" --\n"+line+"\n")).Host(t), All())
		if len(r.Findings) != 1 || r.Findings[0].Severity != doctor.Medium {
			t.Errorf("%s fails, and asks nobody: %+v", name, r.Findings)
		}
	}
	for _, line := range []string{"proxy = socks5://ann:secret@127.0.0.1:8080", "proxy = socks5://192.0.2.1:1080", "socks5 = 127.0.0.1:8080"} {
		r := doctor.Run(t.Context(), doctortest.Read(t, line, []byte(host+"-- srv/ann/.curlrc --\n"+line+"\n")).Host(t), All())
		if len(r.Findings) == 0 || r.Findings[0].Change != nil {
			t.Errorf("%s: %+v", line, r.Findings)
		}
	}
}
