package tool

import (
	"fmt"
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

var maven = doctor.Rule{
	ID: "MAVEN", Severity: doctor.High,
	Title:   "Maven's settings.xml has a proxy that is another than ours, or names that go past it",
	Clients: []string{"Maven"},
	Explain: `Java reads no proxy variables: Maven takes its proxy from settings.xml, and goes direct without one. An active proxy whose
protocol is http is used for https too; nonProxyHosts go past it.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		for _, f := range h.Readable([]string{".m2/settings.xml"}, "/etc/maven/settings.xml", "/usr/share/maven/conf/settings.xml") {
			proxies := map[string]map[string]read.Entry{}
			var order []string
			for _, e := range read.Maven(f.Data) {
				if proxies[e.Section] == nil {
					proxies[e.Section] = map[string]read.Entry{}
					order = append(order, e.Section)
				}
				proxies[e.Section][e.Key] = e
			}
			for _, id := range order {
				found = append(found, mavenProxy(h, f, proxies[id])...)
			}
		}
		return found
	},
}

func mavenProxy(h *doctor.Host, f doctor.File, p map[string]read.Entry) []doctor.Finding {
	if strings.EqualFold(p["active"].Value, "false") || p["host"].Value == "" {
		return nil
	}
	var found []doctor.Finding
	add := func(e read.Entry, why, fix string) {
		lines := f.Lines()
		if e.Line >= 1 && e.Line <= len(lines) {
			found = append(found, doctor.Finding{
				Fact: f.Path + ": " + why, Evidence: []string{f.At(e.Line, lines[e.Line-1])}, Fix: fmt.Sprintf("<!-- %s, line %d -->\n%s", doctor.Plain(f.Path), e.Line, fix),
			})
		}
	}
	at := h.Proxy()
	if u, _ := doctor.ReadProxyURL("http://" + p["host"].Value + ":" + p["port"].Value); !u.Is(h.Ours()) {
		add(p["host"], "its proxy is "+p["host"].Value+":"+p["port"].Value+" and not Watertight", fmt.Sprintf("<host>%s</host><port>%d</port>", at.Addr(), at.Port()))
	}
	for _, name := range strings.Split(p["nonProxyHosts"].Value, "|") {
		if name == "*" || strings.HasPrefix(name, "*.") && !strings.Contains(name[2:], ".") && len(name) > 2 && !strings.EqualFold(name, "*.local") {
			add(p["nonProxyHosts"], "nonProxyHosts takes "+name+" past the proxy", "<nonProxyHosts>localhost|127.*|[::1]</nonProxyHosts>")
		}
	}
	return found
}
