package control

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// maxPath is the longest path that the address of a UNIX socket holds on every system (104 octets with its end).
const maxPath = 103

// suffix ends the name of every control socket.
const suffix = ".sock"

// SocketPath is where the control socket of this process belongs: a file called after its number, so that it stays the
// same wherever a reload lets the program listen. The directory is $RUNTIME_DIRECTORY, which systemd sets;
// /run/watertight for root; $XDG_RUNTIME_DIR/watertight; or watertight-UID among the temporary files.
func SocketPath() string {
	return filepath.Join(thisHost().places()[0].dir, strconv.Itoa(os.Getpid())+suffix)
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

// place is a directory for control sockets.
type place struct {
	dir string
	// service says that the service manager or root made it, perhaps for another user.
	service bool
}

// places are where a client looks, in this order; the first is the one that a server takes.
func (h host) places() []place {
	var all []place
	add := func(dir string, service bool) {
		dir = filepath.Clean(dir)
		if filepath.IsAbs(dir) && !slices.ContainsFunc(all, func(p place) bool { return p.dir == dir }) {
			all = append(all, place{dir, service})
		}
	}
	given, _, _ := strings.Cut(h.env("RUNTIME_DIRECTORY"), ":") // a unit may have several (systemd.exec(5))
	add(given, true)
	if h.uid != 0 {
		if own := h.env("XDG_RUNTIME_DIR"); filepath.IsAbs(own) {
			add(filepath.Join(own, "watertight"), false)
		}
		add(filepath.Join(h.temp, "watertight-"+strconv.Itoa(h.uid)), false)
	}
	add(h.system, true)
	return all
}
