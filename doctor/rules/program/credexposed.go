package program

import (
	"strings"

	"watertight/doctor"
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
		return doctor.Merge(found)
	},
}
