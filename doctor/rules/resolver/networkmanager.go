package resolver

import (
	"path"
	"slices"
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

var networkManager = doctor.Rule{
	ID: "NM-DNS", Severity: doctor.High, Systems: []string{"linux"},
	Title:   "NetworkManager puts the servers of each network beside ours",
	Clients: everyProgram,
	Explain: `NetworkManager takes the servers that DHCP and router advertisements bring and writes them into resolv.conf, or gives them to
systemd-resolved, at every connection, resume and lease (NetworkManager.conf(5), "dns" and "rc-manager"). With "dns=none" it
leaves both alone. A connection with "ignore-auto-dns=true" keeps its own "dns=" and none that the network brings.
The rule looks only where Watertight answers DNS: elsewhere there is nothing beside which they could be put. Nothing is found
where systemd-resolved is told to ask Watertight for everything, since the servers of links are then no more asked for that.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		running := slices.ContainsFunc(h.Processes, func(p doctor.Process) bool { return p.Name == "NetworkManager" })
		if !running || len(h.DNS()) == 0 || h.HandedOver() {
			return nil
		}
		l := h.Lookups()
		if r := l.Resolved; len(r.Asked) > 0 && r.Everything && len(h.Foreign(r)) == 0 {
			return nil
		}
		dns, evidence := "", "process NetworkManager: dns= is not set, so it is its default"
		for _, f := range nmFiles(h) {
			for _, e := range read.INI(f.Data) {
				if e.Section == "main" && (e.Key == "dns" || e.Key == "rc-manager" && e.Value == "unmanaged") {
					dns, evidence = e.Value, f.At(e.Line, e.Key+"="+e.Value)
				}
			}
		}
		if dns == "none" || dns == "unmanaged" {
			return nil
		}
		f := doctor.Finding{
			Fact:     "NetworkManager sets the servers of each network, beside Watertight or in its place",
			Evidence: append([]string{evidence}, takesOver(h)...),
			Fix: `printf '[main]\ndns=none\nrc-manager=unmanaged\n' | sudo tee /etc/NetworkManager/conf.d/90-watertight.conf` + "\nsudo systemctl reload NetworkManager\n" +
				pasteResolvOnly(h),
		}
		if len(l.Resolved.Asked) > 0 {
			f.Fix = dropIn(h)
		}
		return []doctor.Finding{f}
	},
}

// pasteResolvOnly is a resolv.conf of our DNS.
func pasteResolvOnly(h *doctor.Host) string {
	for _, at := range h.DNS() {
		if at.Port() == 53 && !at.Addr().IsUnspecified() {
			return `printf 'nameserver ` + at.Addr().String() + `\noptions edns0\n' | sudo tee /etc/resolv.conf`
		}
	}
	return `printf 'nameserver 127.0.0.1\noptions edns0\n' | sudo tee /etc/resolv.conf   # with listen: {dns: 127.0.0.1:53}`
}

// nmFiles gives NetworkManager's own files in the order in which they count: NetworkManager.conf(5).
func nmFiles(h *doctor.Host) []doctor.File {
	byName := map[string]doctor.File{}
	for _, dir := range []string{"/usr/lib/NetworkManager/conf.d", "/run/NetworkManager/conf.d", "/etc/NetworkManager/conf.d"} {
		for _, f := range h.Readable(nil, dir+"/*.conf") {
			byName[path.Base(f.Path)] = f
		}
	}
	files := h.Readable(nil, "/etc/NetworkManager/NetworkManager.conf")
	var names []string
	for n := range byName {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		files = append(files, byName[n])
	}
	return files
}

// takesOver gives the connections whose network may bring servers.
func takesOver(h *doctor.Host) []string {
	var all []string
	for _, f := range h.Readable(nil, "/etc/NetworkManager/system-connections/*", "/run/NetworkManager/system-connections/*") {
		ignored, kind := 0, ""
		for _, e := range read.INI(f.Data) {
			switch {
			case e.Section == "connection" && e.Key == "type":
				kind = e.Value
			case (e.Section == "ipv4" || e.Section == "ipv6") && e.Key == "ignore-auto-dns" && e.Value == "true",
				(e.Section == "ipv4" || e.Section == "ipv6") && e.Key == "method" && (e.Value == "disabled" || e.Value == "manual" || e.Value == "ignore" || e.Value == "link-local"):
				ignored++
			}
		}
		if ignored < 2 && kind != "loopback" {
			name := strings.ReplaceAll(strings.TrimSuffix(path.Base(f.Path), ".nmconnection"), "'", "?") // it is pasted within quotes
			all = append(all, f.Path+": the servers of that network are taken (nmcli connection modify '"+name+"' ipv4.ignore-auto-dns yes ipv6.ignore-auto-dns yes)")
		}
	}
	return all
}
