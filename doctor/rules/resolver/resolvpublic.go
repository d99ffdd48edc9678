package resolver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"watertight/doctor"
)

var resolvPublic = doctor.Rule{
	ID: "RESOLV-PUBLIC", Severity: doctor.Critical, Systems: []string{"linux", "darwin", "freebsd"},
	Title:   "resolv.conf names a server that is not ours",
	Clients: everyProgram,
	Explain: `A program that does not use its proxy asks the servers of /etc/resolv.conf, in clear text. So does one that resolves by itself
before it asks the proxy: curl with socks5://, Ruby, Deno, Java's SOCKS.
glibc 2.36 tries the servers in their order and goes to the next one after a time-out or SERVFAIL: a second line is a leak
that waits for the first server to be slow. Go, c-ares and musl do likewise; musl asks all of them at once.
Where Watertight answers DNS on port 53, a line beside it is critical. Where it does not, resolv.conf can only name other
servers, and the finding is medium: it says where the names of programs go that pass the proxy by. "watertight exec" gives a
program a resolv.conf of its own and does not depend on this one.
Where the firewall hands DNS over ("listen.transparent"), these lines are not where questions go, and nothing is found here.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		l := h.Lookups()
		var others []string
		ours := 0
		for _, s := range l.Resolv.Servers {
			switch {
			case h.AnswersDNS(netip.AddrPortFrom(s.Addr, 53)):
				ours++
			case isStub(s.Addr) && len(l.Resolved.Servers) > 0:
				// what systemd-resolved asks is another rule's
			default:
				others = append(others, l.ResolvConf.At(s.Line, "nameserver "+s.Addr.String()))
			}
		}
		if h.HandedOver() {
			return nil
		}
		f := doctor.Finding{Evidence: others, Severity: doctor.Medium}
		switch at, have := h.StubFor(); {
		case ours > 0:
			f.Severity = doctor.Critical
			f.Fact = "resolv.conf names other servers beside Watertight: they are asked when it is slow or says SERVFAIL"
			f.Fix = pasteResolv(h, l)
			if writer, _ := writerOf(h, l); writer == "" && h.Status != nil { // it runs, so names are still answered
				f.Change = oursAlone(h, l)
			}
		case h.AnswersAt53():
			f.Severity = doctor.Critical
			f.Fact = "Watertight is there for DNS at " + at + ", and resolv.conf leads past it"
			f.Fix = pasteResolv(h, l)
		case have:
			f.Fact = fmt.Sprintf("resolv.conf leads past Watertight, whose DNS is at %s: that file has no ports, so it can lead to port 53 alone", at)
			f.Fix = "# in the configuration: listen: {dns: 127.0.0.1:53}, then\n" + pasteResolv(h, l)
		default:
			f.Fact = "names of programs that do not use the proxy go to these servers, in clear text"
			f.Fix = "watertight exec -- PROGRAM   # for one program\n" +
				"# for all of them, in the configuration: listen: {dns: 127.0.0.1:53}, then\n" + pasteResolv(h, l)
		}
		return doctor.Only(f)
	},
}

// oursAlone takes the servers out of resolv.conf that are not ours.
func oursAlone(h *doctor.Host, l doctor.Lookups) *doctor.Change {
	lines := strings.SplitAfter(string(l.ResolvConf.Data), "\n")
	for _, s := range l.Resolv.Servers {
		if !h.AnswersDNS(netip.AddrPortFrom(s.Addr, 53)) && s.Line <= len(lines) {
			lines[s.Line-1] = ""
		}
	}
	return doctor.NewChange(l.ResolvConf, []byte(strings.Join(lines, "")))
}

func isStub(a netip.Addr) bool {
	return a == netip.AddrFrom4([4]byte{127, 0, 0, 53}) || a == netip.AddrFrom4([4]byte{127, 0, 0, 54})
}

// pasteResolv is the mend of resolv.conf, or of what writes it.
func pasteResolv(h *doctor.Host, l doctor.Lookups) string {
	addr := "127.0.0.1"
	for _, at := range h.DNS() {
		if at.Port() == 53 && !at.Addr().IsUnspecified() {
			addr = at.Addr().String()
			break
		}
	}
	if h.OS == "darwin" { // which writes that file and does not read it
		return "sudo networksetup -setdnsservers Wi-Fi " + addr + "   # and each other service of: networksetup -listallnetworkservices"
	}
	write := `printf 'nameserver ` + addr + `\noptions edns0\n' | sudo tee /etc/resolv.conf`
	if _, link := h.Files.Link("/etc/resolv.conf"); link {
		write = "sudo rm /etc/resolv.conf\n" + write // what it leads to belongs to another program
	}
	if writer, mend := writerOf(h, l); mend != "" {
		write = "# " + writer + " writes that file:\n" + mend + "\n" + write
	}
	return write
}

// writerOf tells which program writes resolv.conf, as far as the file says so, and how it is told to leave it alone.
func writerOf(h *doctor.Host, l doctor.Lookups) (program, mend string) {
	target, _ := h.Files.Link("/etc/resolv.conf")
	said := func(words ...string) bool {
		for _, line := range l.ResolvConf.Lines() {
			if strings.HasPrefix(line, "#") && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) }) {
				return true
			}
		}
		return false
	}
	const leaveNM = `printf '[main]\ndns=none\nrc-manager=unmanaged\n' | sudo tee /etc/NetworkManager/conf.d/90-watertight.conf && sudo systemctl reload NetworkManager`
	switch {
	case strings.Contains(target, "systemd/resolve"):
		return "systemd-resolved", ""
	case strings.Contains(target, "NetworkManager"), said("Generated by NetworkManager"):
		return "NetworkManager", leaveNM
	case strings.Contains(target, "resolvconf"), said("resolvconf"):
		return "resolvconf", "printf 'resolv_conf=/dev/null\\n' | sudo tee -a /etc/resolvconf.conf   # openresolv; of Debian's resolvconf: sudo apt-get remove resolvconf"
	case said("dhcpcd"):
		return "dhcpcd", "echo 'nohook resolv.conf' | sudo tee -a /etc/dhcpcd.conf"
	case said("generated by WSL", "generateResolvConf"):
		return "WSL", `printf '[network]\ngenerateResolvConf=false\n' | sudo tee -a /etc/wsl.conf   # and wsl --shutdown`
	case said("Docker"):
		return "Docker", ""
	case said("Generated by", "generated by", "Autogenerated", "dhclient"):
		return "another program", ""
	}
	return "", ""
}
