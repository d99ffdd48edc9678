package doctor

import (
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"watertight/doctor/read"
)

// Lookups is how programs of the host that use no proxy of ours have names looked up: by glibc's files, and by
// systemd-resolved where these lead to it.
type Lookups struct {
	Resolv     read.Resolv
	ResolvConf File // of no path where there is none
	Sources    read.Lookup
	NSSwitch   File
	Resolved   Resolved
}

// Resolved is systemd-resolved, as its files tell of it.
type Resolved struct {
	Asked []string // the evidence that it is asked for names; none: nobody asks it
	// Servers are those that it asks: of its settings, and of its own list of those that links brought.
	Servers []Upstream
	// Everything says that the servers of its settings are asked for every name: Domains=~.
	Everything bool
	Settings   []Setting
}

// Upstream is a server that a resolver of the host asks.
type Upstream struct {
	At      netip.AddrPort
	Global  bool // of the settings, not of a link
	Written string
}

// Setting is a line of the settings that are in force, with the file.
type Setting struct {
	read.Entry
	File File
}

// At is the setting as evidence.
func (s Setting) At() string { return s.File.At(s.Line, s.Key+"="+s.Value) }

// stub is where systemd-resolved listens for programs that know of nothing else.
var stubs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 53}), netip.AddrFrom4([4]byte{127, 0, 0, 54})}

// Lookups reads how names are looked up.
func (h *Host) Lookups() Lookups {
	var l Lookups
	if f, ok := h.Files.Read("/etc/resolv.conf"); ok {
		l.Resolv, l.ResolvConf = read.ParseResolv(f.Data), f
	}
	if f, ok := h.Files.Read("/etc/nsswitch.conf"); ok {
		l.Sources, l.NSSwitch = read.ParseNSSwitch(f.Data), f
	}
	l.Resolved = h.resolved(l)
	return l
}

func (h *Host) resolved(l Lookups) Resolved {
	var r Resolved
	if l.Sources.Asks("resolve") {
		r.Asked = append(r.Asked, l.NSSwitch.At(l.Sources.Line, l.NSSwitch.line(l.Sources.Line)))
	}
	for _, s := range l.Resolv.Servers {
		if slices.Contains(stubs, s.Addr) {
			r.Asked = append(r.Asked, l.ResolvConf.At(s.Line, "nameserver "+s.Addr.String()))
		}
	}
	if len(r.Asked) == 0 {
		return r
	}
	r.Settings = h.Settings("resolved.conf")
	for _, s := range r.Settings {
		if s.Section != "Resolve" {
			continue
		}
		switch s.Key {
		case "DNS":
			if s.Value == "" { // as systemd has it: what was written before is taken back
				r.Servers = nil
			}
			for _, word := range strings.Fields(s.Value) {
				if at, ok := server(word); ok {
					r.Servers = append(r.Servers, Upstream{at, true, s.At()})
				}
			}
		case "Domains":
			r.Everything = slices.Contains(strings.Fields(s.Value), "~.")
		}
	}
	if f, ok := h.Files.Read("/run/systemd/resolve/resolv.conf"); ok {
		for _, s := range read.ParseResolv(f.Data).Servers {
			if !slices.ContainsFunc(r.Servers, func(u Upstream) bool { return u.At.Addr() == s.Addr }) {
				r.Servers = append(r.Servers, Upstream{netip.AddrPortFrom(s.Addr, 53), false, f.At(s.Line, "nameserver "+s.Addr.String())})
			}
		}
	}
	return r
}

// server reads ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT, with %INTERFACE and #NAME behind it: resolved.conf(5).
func server(word string) (netip.AddrPort, bool) {
	word, _, _ = strings.Cut(word, "#")
	word, _, _ = strings.Cut(word, "%")
	if at, err := netip.ParseAddrPort(word); err == nil {
		return at, true
	}
	addr, err := netip.ParseAddr(word)
	return netip.AddrPortFrom(addr, 53), err == nil
}

// Settings gives the lines of a file of systemd's settings and of its drop-ins, in the order in which they count: systemd.syntax(7), "Drop-in
// files". Name is such as resolved.conf.
func (h *Host) Settings(name string) []Setting {
	var all []Setting
	dirs := []string{"/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"}
	for _, dir := range dirs {
		if f, ok := h.Files.Read(path.Join(dir, name)); ok {
			all = settings(f)
			break
		}
	}
	dropIns := map[string]string{} // the first directory wins
	for _, dir := range dirs {
		for _, file := range h.Files.Glob(path.Join(dir, name+".d", "*.conf")) {
			if base := path.Base(file); dropIns[base] == "" {
				dropIns[base] = file
			}
		}
	}
	var names []string
	for base := range dropIns {
		names = append(names, base)
	}
	slices.Sort(names)
	for _, base := range names {
		if f, ok := h.Files.Read(dropIns[base]); ok {
			all = append(all, settings(f)...)
		}
	}
	return all
}

func settings(f File) []Setting {
	var all []Setting
	for _, e := range read.INI(f.Data) {
		all = append(all, Setting{e, f})
	}
	return all
}

// line gives the text of a line; empty where there is none.
func (f File) line(n int) string {
	if all := f.Lines(); n >= 1 && n <= len(all) {
		return all[n-1]
	}
	return ""
}

// DNS gives the addresses where our program answers DNS over UDP and TCP.
func (h *Host) DNS() []netip.AddrPort {
	var all []netip.AddrPort
	for _, l := range h.Config.Listen.DNS {
		if l.Scheme == "" {
			all = append(all, l.Address)
		}
	}
	if h.Status != nil {
		for _, l := range h.Status.Listeners {
			if at, err := netip.ParseAddrPort(l.Address); err == nil && l.Kind == "dns" && !slices.Contains(all, at) {
				all = append(all, at)
			}
		}
	}
	return all
}

// AnswersDNS says whether our program answers DNS at an address. What listens on every address is taken to be meant by an
// address of loopback alone, as others may be another host's.
func (h *Host) AnswersDNS(at netip.AddrPort) bool {
	return slices.ContainsFunc(h.DNS(), func(l netip.AddrPort) bool {
		return l == at || l.Port() == at.Port() && l.Addr().IsUnspecified() && at.Addr().IsLoopback() && (l.Addr().Is6() || at.Addr().Is4())
	})
}

// AnswersAt53 says whether our program answers DNS where resolv.conf, which has no ports, can lead.
func (h *Host) AnswersAt53() bool {
	return slices.ContainsFunc(h.DNS(), func(l netip.AddrPort) bool { return l.Port() == 53 })
}

// HandedOver says whether the firewall hands over to our program what programs send. Then what they are told to ask is not where their
// questions go, and neither files nor tables of sockets tell.
func (h *Host) HandedOver() bool { return len(h.Config.Listen.Transparent) > 0 }

// StubFor gives the address of our DNS as a server in resolved.conf; where we have none, that of the documentation, and false.
func (h *Host) StubFor() (text string, have bool) {
	for _, l := range h.DNS() {
		addr := l.Addr()
		if addr.IsUnspecified() {
			addr = netip.IPv6Loopback()
			if l.Addr().Is4() {
				addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
			}
		}
		switch {
		case l.Port() == 0:
			continue
		case l.Port() == 53:
			return addr.String(), true
		}
		return netip.AddrPortFrom(addr, l.Port()).String(), true
	}
	return "127.0.0.1:" + strconv.Itoa(5353), false
}

// Foreign gives the servers that systemd-resolved asks and that are not ours. Where everything goes to the servers of the settings, those
// of links are asked for nothing but their own domains.
func (h *Host) Foreign(r Resolved) []Upstream {
	global, ours := 0, 0
	for _, u := range r.Servers {
		if u.Global {
			global++
			if h.AnswersDNS(u.At) {
				ours++
			}
		}
	}
	if global > 0 && ours == global && r.Everything {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(r.Servers), func(u Upstream) bool { return h.AnswersDNS(u.At) })
}
