//go:build elsewhere

package cells

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"watertight/lab"
	"watertight/lab/internet"
)

// TestWindowsBuild_UnderWine plays what was built for Windows, $WATERTIGHT_EXE. Wine is not Windows, but it has the sockets of
// Windows, and no other system's.
func TestWindowsBuild_UnderWine(t *testing.T) {
	const wine = "/usr/lib/wine/wine64"
	prefix, home, own := lab.Must(os.MkdirTemp("", "watertight-wine-"))(t), t.TempDir(), lab.Must(os.Hostname())(t)
	t.Cleanup(func() { // Wine's server outlives its programs by a few seconds, and writes when it ends
		for range 300 {
			if os.RemoveAll(prefix) == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("%s cannot be removed", prefix)
	})
	exe := built(t, "WATERTIGHT_EXE")
	program := func(s *lab.Scene, args ...string) *internet.Program {
		p := s.Client.Program(wine, args...)
		p.Env = append(p.Env, "WINEPREFIX="+prefix, "HOME="+home, "WINEDEBUG=-all") // Wine has the home's folders in its own
		p.Hosts = "127.0.0.1 localhost " + own + "\n"                               // Wine looks its own host up, once for each start
		return p
	}
	plays(t, elsewhere{
		system: "windows/amd64", drive: "Z:", // a path without a drive is not absolute there
		program: func(s *lab.Scene, args ...string) *internet.Program {
			return program(s, append([]string{exe}, args...)...)
		},
		begin: func(t testing.TB, s *lab.Scene) {
			if r := lab.Run(t, program(s, "cmd", "/c", "ver")); r.Code != 0 {
				t.Fatalf("wine does not run: %s", r.Text())
			}
			random := filepath.Join(prefix, "drive_c", "windows", "system32", "bcryptprimitives.dll")
			if _, err := os.Stat(random); errors.Is(err, fs.ErrNotExist) {
				lab.Must(0, os.WriteFile(random, forwarder("bcryptprimitives.dll", "ProcessPrng", "advapi32.SystemFunction036"), 0o600))(t)
			}
		},
		home: func(t testing.TB) string {
			users := filepath.Join(prefix, "drive_c", "users")
			for _, e := range lab.Must(os.ReadDir(users))(t) {
				if e.Name() != "Public" {
					return filepath.Join(users, e.Name())
				}
			}
			t.Fatal("Wine has made no home")
			return ""
		},
	})
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
