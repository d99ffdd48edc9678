package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"watertight/config"
	"watertight/control"
	"watertight/guard"
)

// maxHomes is how many homes are looked at.
const maxHomes = 256

// Options say what host is looked at.
type Options struct {
	Root string // its directory: / for this host, C:\ on Windows; an absolute path
	OS   string // a value of GOOS; the one it was built for where it is empty
	Env  []string
	// Home is of who asks; empty where it is not known.
	Home string
	PID  int // of this process, which is left out; 0 for none
	// Config is our configuration.
	Config *config.Config
	// Status is what the running proxy told of itself; nil where none runs.
	Status *control.Status
	// Firewall is what the kernel says of nf_tables; nil where it was not asked, or refused, and FirewallUnseen says why then, if
	// there is something to be said.
	Firewall       *Firewall
	FirewallUnseen string
	// Guard is what the guard of the host was found to be; nil where that was not looked at, and GuardUnseen says why then, if there is
	// something to be said.
	Guard       *guard.State
	GuardUnseen string
	Build       Build
	Now         time.Time
}

// Build is what is known of this program.
type Build struct {
	Version string
	Time    time.Time // of its source; zero where it is not known
	Trapped uint64    // look-ups by the host's resolver that this process tried
}

// Home is the home of a user.
type Home struct {
	User string
	Path string // as on the host
}

// Host is all that a rule may look at. It is read once and does not change but for what [Files] reads when it is asked.
type Host struct {
	OS        string
	Files     Files
	Env       []string // NAME=VALUE of this process
	Homes     []Home
	Processes []Process
	// Unseen is how many processes have an environment that this user may not read.
	Unseen int
	Config *config.Config  // never nil
	Status *control.Status // nil where no proxy of ours runs, or none that this user may ask
	// Firewall is what the kernel has of nf_tables; nil where that is not known.
	Firewall *Firewall
	// Guard is what the guard of the host was found to be; nil where that is not known.
	Guard *guard.State
	Build Build
	Now   time.Time

	firewallUnseen, guardUnseen string
}

// Open looks at a host.
func Open(o Options) (*Host, error) {
	if o.Config == nil || o.Now.IsZero() || !filepath.IsAbs(o.Root) {
		return nil, errors.New("doctor: a host needs an absolute root, a configuration and the time")
	}
	o.OS = cmp.Or(o.OS, runtime.GOOS)
	shelf, err := openFiles(o.Root)
	if err != nil {
		return nil, fmt.Errorf("doctor: %w", err)
	}
	h := &Host{
		OS: o.OS, Files: Files{shelf, context.Background()}, Env: o.Env, Config: o.Config, Status: o.Status, Build: o.Build, Now: o.Now,
		Firewall: o.Firewall, firewallUnseen: o.FirewallUnseen,
		Guard: o.Guard, guardUnseen: o.GuardUnseen,
	}
	h.Homes = homes(h.Files, o.OS, o.Home)
	if o.OS == "linux" {
		h.Processes, h.Unseen = readProcesses(h.Files, o.PID)
	}
	return h, nil
}

// Close lets go of the root.
func (h *Host) Close() error { return h.Files.root.Close() }

// within is the host for a rule that has until ctx ends.
func (h *Host) within(ctx context.Context) *Host {
	view := *h
	view.Files.ctx = ctx
	return &view
}

// Getenv gives a variable of this process.
func (h *Host) Getenv(name string) string {
	v, _ := lookup(h.Env, name)
	return v
}

// Proxy is the address that clients of this host should be given: of the first listener that asks for neither TLS nor a
// user, as `watertight env` prints it. The default stands in where there is none, for a fix has to say something.
func (h *Host) Proxy() netip.AddrPort {
	at := netip.MustParseAddrPort(config.DefaultListen)
	if i := h.Config.Listen.Plain(); i >= 0 && h.Config.Listen.Proxy[i].Address.Port() != 0 {
		at = h.Config.Listen.Proxy[i].Address
	}
	if at.Addr().IsUnspecified() {
		at = netip.AddrPortFrom(map[bool]netip.Addr{true: netip.MustParseAddr("127.0.0.1"), false: netip.IPv6Loopback()}[at.Addr().Is4()], at.Port())
	}
	return at
}

// ProxyURL is that address as the URL that every client reads alike.
func (h *Host) ProxyURL() string { return "http://" + h.Proxy().String() }

// ProxyCommand is what ssh reaches a host with, by its name, through that address. OpenBSD's nc, ncat and others have the same name and
// other flags: that of OpenBSD is meant where nothing says which is there, and need says so then.
func (h *Host) ProxyCommand() (command, need string) {
	nc, ok := h.Files.Real("/usr/bin/nc")
	switch base := path.Base(nc); {
	case ok && base == "nc.openbsd", ok && h.OS != "linux":
	case ok && base == "ncat" || h.Files.Has("/usr/bin/ncat"):
		return "ncat --proxy-type http --proxy " + h.Proxy().String() + " %h %p", ""
	default:
		need = "   # nc is OpenBSD's: the package netcat-openbsd, or openbsd-netcat"
	}
	return "nc -X connect -x " + h.Proxy().String() + " %h %p", need
}

// Ours gives every address that our program listens on, as configured and as the running one says.
func (h *Host) Ours() []netip.AddrPort {
	var all []netip.AddrPort
	for _, l := range h.Config.Listen.Proxy {
		all = append(all, l.Address)
	}
	for _, l := range h.Config.Listen.DNS {
		all = append(all, l.Address)
	}
	for _, l := range h.Config.Listen.Gateway {
		all = append(all, l.Address)
	}
	if h.Status != nil {
		for _, l := range h.Status.Listeners {
			text := l.Address
			if _, rest, ok := strings.Cut(text, "://"); ok {
				text, _, _ = strings.Cut(rest, "/")
			}
			if at, err := netip.ParseAddrPort(text); err == nil && !slices.Contains(all, at) {
				all = append(all, at)
			}
		}
	}
	return all
}

// Readable gives the files of every home, and of the whole host, by their paths within a home and on the host.
func (h *Host) Readable(inHomes []string, onHost ...string) []File {
	var files []File
	add := func(pattern string) {
		for _, name := range h.Files.Glob(pattern) {
			if f, ok := h.Files.Read(name); ok {
				files = append(files, f)
			}
		}
	}
	for _, pattern := range onHost {
		add(pattern)
	}
	for _, home := range h.Homes {
		for _, pattern := range inHomes {
			add(path.Join(home.Path, pattern))
		}
	}
	return files
}

// homes gives the homes of people, and of root.
func homes(f Files, system, own string) []Home {
	var found []Home
	add := func(user, dir string) {
		dir = path.Clean(filepath.ToSlash(dir))
		if vol := filepath.VolumeName(dir); vol != "" {
			dir = dir[len(vol):]
		}
		same := func(h Home) bool { return h.Path == dir || system != "linux" && strings.EqualFold(h.Path, dir) }
		if !path.IsAbs(dir) || dir == "/" || !f.Has(dir) || slices.ContainsFunc(found, same) {
			return
		}
		if len(found) == maxHomes {
			f.blindTo(fmt.Sprintf("homes: there are more than the %d that are looked at", maxHomes))
			return
		}
		found = append(found, Home{user, dir})
	}
	if system == "linux" {
		if file, ok := f.Read("/etc/passwd"); ok {
			for _, line := range file.Lines() {
				part := strings.Split(line, ":")
				if len(part) != 7 {
					continue
				}
				if uid, err := strconv.Atoi(part[2]); err == nil && (uid == 0 || uid >= 1000 && uid != 65534) {
					add(part[0], part[5])
				}
			}
		}
	} else {
		for _, name := range f.Dir("/Users") {
			if name != "Shared" && name != "Public" && name != "All Users" && name != "Default" && name != "Default User" {
				add(name, path.Join("/Users", name))
			}
		}
	}
	if own != "" {
		add(path.Base(filepath.ToSlash(own)), own)
	}
	return found
}
