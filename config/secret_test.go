package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// proxyOf reads a proxy of a channel with a reference in it.
func proxyOf(t *testing.T, proxy string, host Host) (*Config, error) {
	t.Helper()
	return Parse("dir/watertight.yaml", []byte("channels: {a: {proxy: \""+proxy+"\", resolve: exit}}\nroutes: [{to: '*', channel: a}]"), host)
}

func TestReferences_AreFilledIn(t *testing.T) {
	host := testHost(
		map[string]string{"URL": "http://u:p@192.0.2.1:3128", "HOST": "gw.example", "REF": "${env:HOST}", "ODD": "@:/?#%$ \""},
		map[string]string{"dir/pw": "from file\n", "/abs/pw": "line\r\n", "dir/two": "a\n\n"})
	for _, c := range []struct{ written, user, password, host string }{
		{"${env:URL}", "u", "p", "192.0.2.1"},
		{"socks5://me:${file:pw}@${env:HOST}:1", "me", "from file", "gw.example"},
		{"socks5://me:${file:/abs/pw}@h.example:1", "me", "line", "h.example"},
		{"socks5://${env:ODD}:${env:ODD}@h.example:1", "@:/?#%$ \"", "@:/?#%$ \"", "h.example"},
		{"socks5://me:${env:REF}@h.example:1", "me", "${env:HOST}", "h.example"},
		{"socks5://me:a$${b@h.example:1", "me", "a${b", "h.example"},
		{"socks5://me:a$b}@h.example:1", "me", "a$b}", "h.example"},
	} {
		got, err := proxyOf(t, c.written, host)
		if err != nil {
			t.Errorf("%s: %v", c.written, err)
			continue
		}
		a, _ := got.Channel("a")
		if p := a.Proxies[0]; p.User != c.user || p.Password != c.password || p.Host.String() != c.host {
			t.Errorf("%s: %q %q %q", c.written, p.User, p.Password, p.Host)
		}
	}
	// A second newline at the end belongs to the secret, and no password has one.
	if _, err := proxyOf(t, "socks5://me:${file:two}@h.example:1", host); err == nil {
		t.Error("a password with a newline was taken")
	}
}

func TestReferences_ThatGiveNothingAreErrorsWithTheirPlace(t *testing.T) {
	host := testHost(map[string]string{"EMPTY": ""}, map[string]string{"dir/empty": "\n", "dir/big": strings.Repeat("x", MaxSecret+1)})
	for _, ref := range []string{"${env:NONE}", "${env:EMPTY}", "${env:}", "${file:none}", "${file:empty}", "${file:big}", "${file:}", "${env}", "${", "${env:X", "${x:y}", "${}"} {
		_, err := proxyOf(t, "socks5://me:"+ref+"@h.example:1", host)
		var ps Problems
		if !errors.As(err, &ps) {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		wantOne(t, ps, 1, 23)
	}
}

func TestSecrets_StandInNoErrorAndNoWarning(t *testing.T) {
	const secret = "s3cr3t"
	host := testHost(map[string]string{"S": secret, "A": "192.0.2.77:1"}, nil)
	for _, text := range []string{
		`channels: {a: {proxy: "${env:S}", resolve: exit}}`,
		`channels: {a: {proxy: "ftp://u:${env:S}@h", resolve: exit}}`,
		`channels: {a: {proxy: "socks5://u:${env:S}@h:99999", resolve: exit}}`,
		`channels: {a: {proxy: "socks5://u:x@${env:S}:1:2", resolve: exit}}`,
		`channels: {a: {proxy: "socks5://u:s3cr3t@h:0", resolve: exit}}`,
		`channels: {a: {proxy: "s3cr3t:x@h:1", resolve: exit}}`,
		`channels: {a: {proxy: "http://u:s3cr3t@h", resolve: exit}}`,
		`channels: {a: {proxy: "http://u:s3cr3t/x@h:1", resolve: exit}}`,
		`channels: {a: {over: "${env:S}", resolve: "${env:S}"}}`,
		`channels: {direct: {resolver: {upstreams: ["https://${env:S}/x"]}}}`,
		`channels: {direct: {resolver: {upstreams: ["${env:S}", {url: tls://192.0.2.1, name: "${env:S}/", pins: ["${env:S}"], ca: "${env:S}"}]}}}`,
		`channels: {direct: {resolver: {upstreams: [{url: tls://h.example, addresses: ["${env:S}"]}], addresses: {x.example: "${env:S}"}, timeout: "${env:S}"}}}`,
		`channels: {direct: {resolver: {upstreams: ["tls://u:s3cr3t@192.0.2.1"]}}}`,
		`routes: [{to: ["${env:S}/8", "${env:S}", "${env:S}"], channel: "${env:S}"}]`,
		`listen: {proxy: ["${env:S}", "${env:A}", {address: "${env:A}", allow_insecure: true}, {address: "${env:A}", allow_insecure: true}]}`,
		`policy: {plain_http: "${env:S}", plain_dns: "${env:S}", private_targets: ["${env:S}"]}`,
		`limits: {connections: "${env:S}", drain: "${env:S}"}`,
	} {
		_, err := Parse("f", []byte(text), host)
		if err == nil {
			t.Errorf("no error in %s", text)
			continue
		}
		for _, s := range []string{secret, "192.0.2.77"} {
			if strings.Contains(err.Error(), s) {
				t.Errorf("%s\nshows the secret:\n%v", text, err)
			}
		}
	}
	c, err := Parse("f", []byte(`listen: {proxy: {address: "${env:A}", allow_insecure: true}}`), host)
	if err != nil || len(c.Warnings) != 1 || strings.Contains(c.Warnings[0].String(), "192.0.2.77") {
		t.Error(err, c)
	}
}

func TestUpstream_ShowsItsReferenceToLogs(t *testing.T) {
	c, err := Parse("f", []byte(`channels: {direct: {resolver: {upstreams: ["https://192.0.2.1/${env:ID}"]}}}`), testHost(map[string]string{"ID": "s3cr3t"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if u := c.Channels[0].Resolver.Upstreams[0]; u.Path != "/s3cr3t" || u.Text != "https://192.0.2.1/${env:ID}" {
		t.Errorf("%q %q", u.Path, u.Text)
	}
}

func TestASecretThatEveryUserMayRead_IsWarnedOf(t *testing.T) {
	files := map[string]string{"dir/pw.exposed": "hunter2", "dir/pw": "hunter2"}
	c, err := proxyOf(t, "socks5://me:${file:pw.exposed}@h.example:1", testHost(nil, files))
	if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].String(), "pw.exposed") || strings.Contains(c.Warnings[0].String(), "hunter2") {
		t.Errorf("%v %v", c, err)
	}
	if c, err := proxyOf(t, "socks5://me:${file:pw}@h.example:1", testHost(nil, files)); err != nil || len(c.Warnings) != 0 {
		t.Errorf("%v %v", c, err)
	}
}

func TestExposed_LooksAtTheFileAndAtItsDirectories(t *testing.T) {
	outer := t.TempDir()
	dir := filepath.Join(outer, "dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "secret")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file, dir os.FileMode
		want      bool
	}{{0o644, 0o755, true}, {0o602, 0o755, true}, {0o640, 0o755, false}, {0o644, 0o700, false}} {
		if err := errors.Join(os.Chmod(file, c.file), os.Chmod(dir, c.dir)); err != nil {
			t.Fatal(err)
		}
		for p := outer; p != filepath.Dir(p); p = filepath.Dir(p) {
			if info, err := os.Stat(p); err != nil || info.Mode().Perm()&0o001 == 0 {
				c.want = false // the tests' own directory is closed to others
			}
		}
		if got := exposed(file); got != c.want {
			t.Errorf("file %o in %o: %t", c.file, c.dir, got)
		}
	}
	if exposed(filepath.Join(dir, "none")) || exposed(dir) {
		t.Error("what is no file is exposed")
	}
}

// A pipe is read as a shell gives it for <(COMMAND); one that nobody writes to is not waited for.
func TestReadFile_OfAPipeEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, ThisHost()); err == nil || !strings.Contains(err.Error(), "nothing came out of it") {
		t.Errorf("%v", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("log: {level: debug}"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if c, err := Read(fmt.Sprintf("/proc/self/fd/%d", r.Fd()), ThisHost()); err != nil || c.Log.Level != "debug" {
		t.Errorf("%v %v", c, err)
	}
}
