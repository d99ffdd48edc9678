//go:build wine

package cells

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"watertight/doctor"
	"watertight/lab"
	"watertight/lab/internet"
)

// TestWindowsBuild_UnderWine runs the program that was built for Windows, $WATERTIGHT_EXE, and lets clients call through
// it: with every packet captured, as elsewhere. Wine is not Windows, but it has the sockets of Windows, and no other system's.
func TestWindowsBuild_UnderWine(t *testing.T) {
	const wine = "/usr/lib/wine/wine64"
	exe := os.Getenv("WATERTIGHT_EXE")
	if exe == "" {
		t.Fatal("$WATERTIGHT_EXE does not name the program")
	}
	prefix, home, own := t.TempDir(), t.TempDir(), lab.Must(os.Hostname())(t)
	program := func(s *lab.Scene, args ...string) *internet.Program {
		p := s.Client.Program(wine, args...)
		p.Env = append(p.Env, "WINEPREFIX="+prefix, "HOME="+home, "WINEDEBUG=-all") // Wine has the home's folders in its own
		p.Hosts = "127.0.0.1 localhost " + own + "\n"                               // Wine looks its own host up, once for each start
		return p
	}
	ends := func(t testing.TB, s *lab.Scene, code int, want string, args ...string) {
		t.Helper()
		if r := lab.Run(t, program(s, append([]string{exe}, args...)...)); r.Err != nil || r.Code != code || !strings.Contains(r.Text(), want) {
			t.Errorf("%v: %v, exit code %d, not %q: %s", args, r.Err, r.Code, want, r.Text())
		}
	}
	says := func(t testing.TB, s *lab.Scene, want string, args ...string) {
		t.Helper()
		ends(t, s, 0, want, args...)
	}
	run(t, lab.Cell{
		Start: func(t testing.TB, s *lab.Scene) string {
			if r := lab.Run(t, program(s, "cmd", "/c", "ver")); r.Code != 0 {
				t.Fatalf("wine does not run: %s", r.Text())
			}
			random := filepath.Join(prefix, "drive_c", "windows", "system32", "bcryptprimitives.dll")
			if _, err := os.Stat(random); errors.Is(err, fs.ErrNotExist) {
				lab.Must(0, os.WriteFile(random, forwarder("bcryptprimitives.dll", "ProcessPrng", "advapi32.SystemFunction036"), 0o600))(t)
			}
			config := write(t, s, strings.ReplaceAll(dot(s), s.Dir, "Z:"+s.Dir)) // a path without a drive is not absolute there
			says(t, s, "windows/amd64", "version")
			says(t, s, "", "config", "check", "-c", config)
			p := lab.Must(program(s, exe, "run", "-c", config).Start(t.Context()))(t)
			if _, err := p.AwaitOutput(t.Context(), "ready: "); err != nil {
				t.Fatalf("%v: %s", err, p.Sofar().Text())
			}
			return lab.ProxyAddress
		},
		After: func(t testing.TB, s *lab.Scene) {
			for i, scheme := range []string{"http", "socks4a", "socks5h"} {
				host := other(s, fmt.Sprint("call", i))
				greeted(t, host, lab.Run(t, through(s, scheme+"://"+lab.ProxyAddress, host)))
			}
			says(t, s, s.Origin.Addr4.String(), "resolve", other(s, "resolve"), "-c", filepath.Join(s.Dir, "watertight.yaml"))
			refused(t, s, "missing-"+s.Label+".example.net", "DNS_NXDOMAIN")
			config := filepath.Join(s.Dir, "watertight.yaml")
			ends(t, s, 1, `"verdict": "inconclusive"`, "test", "-c", config, "--json") // there is no canary
			audited(t, prefix, func() internet.Result { return lab.Run(t, program(s, exe, "doctor", "-c", config, "--json")) })
			gone(t, s)
			refused(t, s, other(s, "gone"), "RESOLVER_UNREACHABLE")
		},
	})
}

// audited looks with every rule at a host whose user has three leaks in his home. Each is found, and nothing else.
func audited(t testing.TB, prefix string, look func() internet.Result) {
	t.Helper()
	users := filepath.Join(prefix, "drive_c", "users")
	var home string
	for _, e := range lab.Must(os.ReadDir(users))(t) {
		if e.Name() != "Public" {
			home = filepath.Join(users, e.Name())
		}
	}
	leaks := map[string]string{"CURLRC": "/.curlrc:1: ", "NPMRC": "/.npmrc:1: ", "GIT-SSH": "/src/api/.git/config:2: url = git@github.com:ann/api.git"}
	for name, text := range map[string]string{
		".curlrc":             "proxy = socks5://" + lab.ProxyAddress + "\n",
		".npmrc":              "proxy=socks5://" + lab.ProxyAddress + "\r\n",
		"src/api/.git/config": "[remote \"origin\"]\r\n\turl = git@github.com:ann/api.git\r\n",
	} {
		file := filepath.Join(home, filepath.FromSlash(name))
		lab.Must(0, os.MkdirAll(filepath.Dir(file), 0o755))(t)
		lab.Must(0, os.WriteFile(file, []byte(text), 0o600))(t)
	}
	r := look()
	var report doctor.Report
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil || r.Code != 3 {
		t.Fatalf("doctor: exit code %d: %v: %s", r.Code, err, r.Text())
	}
	if len(report.Unfinished) > 0 || len(report.Rules) < 30 {
		t.Errorf("doctor: of %d rules these did not finish: %v", len(report.Rules), report.Unfinished)
	}
	for _, f := range report.Findings {
		if evidence := leaks[f.ID]; evidence == "" || !strings.Contains(strings.Join(f.Evidence, "\n"), evidence) {
			t.Errorf("doctor: it should not find %+v", f)
		}
		delete(leaks, f.ID)
	}
	if len(leaks) > 0 {
		t.Errorf("doctor: not found: %v", leaks)
	}
}

// forwarder is a library with one function, which is another library's: that of Wine 8 has no source of random numbers
// under the name by which Go's runtime asks for it since Windows 10. It has no code, only a table of exports (Microsoft,
// PE Format, section "The .edata Section").
func forwarder(library, function, to string) []byte {
	const base, header = 0x1000, 0x200
	le := binary.LittleEndian
	put := func(b []byte, values ...any) []byte {
		for _, v := range values {
			b, _ = binary.Append(b, le, v)
		}
		return b
	}
	const names = 40 + 4 + 4 + 2 // behind the directory, and one entry in each of its tables
	at := func(texts ...string) uint32 {
		n := uint32(base + names)
		for _, s := range texts {
			n += uint32(len(s)) + 1
		}
		return n
	}
	table := put(nil, uint32(0), uint32(0), uint32(0), at(), uint32(1), uint32(1), uint32(1), uint32(base+40), uint32(base+44), uint32(base+48),
		at(library), at(library, to), uint16(0))
	table = append(table, library+"\x00"+to+"\x00"+function+"\x00"...)
	size := uint32(len(table))
	b := put(append([]byte("MZ"), make([]byte, 58)...), uint32(64))
	b = put(append(b, "PE\x00\x00"...), uint16(0x8664), uint16(1), uint32(0), uint32(0), uint32(0), uint16(240), uint16(0x2022))
	b = put(b, uint16(0x20b), uint16(0), uint32(0), uint32(header), uint32(0), uint32(0), uint32(base), uint64(0x180000000), uint32(base), uint32(header),
		uint16(6), uint16(0), uint16(0), uint16(0), uint16(6), uint16(0), uint32(0), uint32(2*base), uint32(header), uint32(0), uint16(3), uint16(0x160),
		uint64(0x100000), uint64(base), uint64(0x100000), uint64(base), uint32(0), uint32(16), uint32(base), size)
	b = append(b, make([]byte, 15*8)...)
	b = put(append(b, ".rdata\x00\x00"...), size, uint32(base), uint32(header), uint32(header), uint64(0), uint32(0), uint32(0x40000040))
	b = append(b, make([]byte, header-len(b))...)
	return append(b, append(table, make([]byte, header-len(table))...)...)
}
