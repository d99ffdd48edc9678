package control

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// maxPath is the longest path that the address of a UNIX socket holds on every system (104 octets with its end).
const maxPath = 103

// SocketPath is where the control socket of a program belongs that has its first proxy port at proxyListen
// (`127.0.0.1:8080`; not port 0, but the one that the kernel chose). The directory is $RUNTIME_DIRECTORY, which
// systemd sets; /run/watertight for root; $XDG_RUNTIME_DIR/watertight; or watertight-UID among the temporary files.
func SocketPath(proxyListen string) (string, error) {
	file, err := fileName(proxyListen)
	if err != nil {
		return "", err
	}
	return filepath.Join(thisHost().dirs()[0], file), nil
}

// fileName makes a file's name of an address: 127.0.0.1_8080.sock, __1_8080.sock. No two addresses share one: the
// last underscore is before the port.
func fileName(proxyListen string) (string, error) {
	at, err := netip.ParseAddrPort(proxyListen)
	if err != nil || at.Port() == 0 {
		return "", fmt.Errorf("control: %q is not the address and port of a listener", proxyListen)
	}
	text := at.Addr().Unmap().String() + ":" + strconv.Itoa(int(at.Port()))
	return strings.NewReplacer(":", "_", "/", "_").Replace(text) + ".sock", nil
}

// host is what the choice of a directory depends on.
type host struct {
	uid    int
	env    func(string) string
	temp   string
	system string // the directory of a service of this host
}

func thisHost() host {
	system := "/run/watertight"
	if runtime.GOOS != "linux" {
		system = "/var/run/watertight"
	}
	return host{uid: os.Geteuid(), env: os.Getenv, temp: os.TempDir(), system: system}
}

// dirs are the directories in which a client looks, in this order; the first is the one that a server takes.
func (h host) dirs() []string {
	var dirs []string
	given, _, _ := strings.Cut(h.env("RUNTIME_DIRECTORY"), ":") // a unit may have several (systemd.exec(5))
	if filepath.IsAbs(given) {
		dirs = append(dirs, given)
	}
	if h.uid == 0 {
		return compact(append(dirs, h.system))
	}
	if own := h.env("XDG_RUNTIME_DIR"); filepath.IsAbs(own) {
		dirs = append(dirs, filepath.Join(own, "watertight"))
	}
	return compact(append(dirs, filepath.Join(h.temp, "watertight-"+strconv.Itoa(h.uid)), h.system))
}

// compact cleans the paths, and keeps the first of those that are the same.
func compact(dirs []string) []string {
	var kept []string
	for _, d := range dirs {
		if d = filepath.Clean(d); !slices.Contains(kept, d) {
			kept = append(kept, d)
		}
	}
	return kept
}
