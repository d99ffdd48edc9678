package tool

import (
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

var wgetrc = doctor.Rule{
	ID: "WGETRC", Severity: doctor.High,
	Title:   "a wgetrc sets a proxy that is another than ours, or switches it off",
	Clients: []string{"wget"},
	Explain: `A proxy in a wgetrc counts before the environment. wget 1.21 knows no SOCKS: it rejects such a URL. use_proxy = off goes direct
whatever else is set. Names of options are written with hyphens, underscores or neither.`,
	Find: settings([]string{".wgetrc"}, []string{"/etc/wgetrc"}, read.INI, func(h *doctor.Host, e read.Entry) *judged {
		switch key := strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(e.Key)); {
		case key == "httpproxy" || key == "httpsproxy":
			return noSOCKS(proxy(h, e.Key+" = ", e.Value), e.Value, "wget knows no SOCKS, and fails")
		case key == "useproxy" && off(e.Value):
			j := past("use_proxy is off: wget goes past every proxy", "use_proxy = on")
			j.mend = "use_proxy = on"
			return j
		}
		return nil
	}),
}
