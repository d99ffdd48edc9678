package program

import (
	"path"
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

var credExposed = doctor.Rule{
	ID: "CRED-EXPOSED", Severity: doctor.Medium,
	Title:   "the password of a proxy can be read by every user",
	Clients: []string{"whoever uses that proxy"},
	Explain: `The arguments of a process are readable by every user of the host, and so is the Environment= of a unit (systemctl show). A
file that all may read is no place for a password either. LoadCredential= of systemd, ${file:PATH} of Watertight's configuration, and
a listener on loopback that asks for no password keep it away from them.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		for _, p := range h.Processes {
			for _, arg := range p.Args {
				for _, word := range strings.FieldsFunc(arg, func(r rune) bool { return r == ' ' || r == '=' || r == ',' }) {
					if u, why := doctor.ReadProxyURL(word); why == "" && u.Scheme != "" && u.Password != "" && u.Port != "" {
						found = append(found, doctor.Finding{
							Fact: "the arguments of " + p.Name + " hold a password", Evidence: []string{p.String() + ": " + p.Command()},
							Fix: "# give it the proxy of Watertight, which needs none: " + h.ProxyURL() + "; and the password to Watertight, as ${file:PATH}",
						})
					}
				}
			}
		}
		for _, s := range h.Scopes() {
			if s.Kind != doctor.Login && s.Kind != doctor.Unit {
				continue
			}
			for _, v := range s.Proxies() {
				u, _ := doctor.ReadProxyURL(v.Value)
				file, ok := h.Files.Read(v.File)
				if u.Password == "" || !ok || file.Info.Mode().Perm()&0o004 == 0 && s.Kind != doctor.Unit || h.OS == "windows" {
					continue
				}
				f := doctor.Finding{Fact: v.File + " holds the password of a proxy, and every user may read it", Evidence: []string{v.String()}, Fix: "chmod o-r " + doctor.Quote(v.File)}
				if s.Kind == doctor.Unit {
					f.Fix = "# let Watertight have the password, as ${file:PATH}, and the unit its proxy: " + v.Name + "=" + h.ProxyURL()
				}
				found = append(found, f)
			}
		}
		return doctor.Merge(append(found, inTools(h)...))
	},
}

// kept are the files in which tools have a proxy, and how they are read.
var kept = []struct {
	inHomes, onHost []string
	read            func([]byte) []read.Entry
}{
	{[]string{".curlrc", ".config/curlrc"}, []string{"/etc/curlrc"}, read.Curl},
	{[]string{".gitconfig", ".config/git/config"}, []string{"/etc/gitconfig"}, read.Git},
	{[]string{".wgetrc", ".npmrc", ".config/pip/pip.conf", ".pip/pip.conf"}, []string{"/etc/wgetrc", "/etc/npmrc", "/etc/pip.conf"}, read.INI},
	{nil, []string{"/etc/apt/apt.conf", "/etc/apt/apt.conf.d/*"}, read.Apt},
	{[]string{".cargo/config.toml"}, nil, read.TOML},
}

// inTools finds passwords of proxies in the files of tools that every user may read.
func inTools(h *doctor.Host) []doctor.Finding {
	if h.OS == "windows" {
		return nil
	}
	var found []doctor.Finding
	for _, k := range kept {
		for _, f := range h.Readable(k.inHomes, k.onHost...) {
			if !forAll(h, f) {
				continue
			}
			for _, e := range k.read(f.Data) {
				u, _ := doctor.ReadProxyURL(strings.Trim(e.Value, `"'`))
				if !strings.Contains(strings.ToLower(e.Key), "proxy") || u.Password == "" || u.Scheme == "" {
					continue
				}
				found = append(found, doctor.Finding{
					Fact: f.Path + " holds the password of a proxy, and every user may read it", Evidence: []string{f.At(e.Line, e.Key+" = "+e.Value)},
					Fix: "chmod o-r " + doctor.Quote(f.Path) + "   # or the proxy of Watertight in it, which needs no password: " + h.ProxyURL(),
				})
			}
		}
	}
	return found
}

// forAll says whether every user may read a file, and get to it.
func forAll(h *doctor.Host, f doctor.File) bool {
	for dir := path.Dir(f.Path); dir != "/"; dir = path.Dir(dir) {
		if info, ok := h.Files.Stat(dir); !ok || info.Mode().Perm()&0o001 == 0 {
			return false
		}
	}
	return f.Info.Mode().Perm()&0o004 != 0
}
