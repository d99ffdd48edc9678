package tool

import (
	"watertight/doctor"
	"watertight/doctor/read"
)

var cargo = doctor.Rule{
	ID: "CARGO", Severity: doctor.High,
	Title:   "cargo's http.proxy resolves here or is another than ours",
	Clients: []string{"cargo"},
	Explain: `http.proxy of cargo's configuration counts before the environment. cargo is
libcurl: measured with cargo 1.95, socks5:// resolves here, and http:// is clean. A value without a scheme is taken as http.`,
	Find: settings([]string{".cargo/config.toml", ".cargo/config"}, nil, read.TOML, func(h *doctor.Host, e read.Entry) *judged {
		if !(e.Section == "http" && e.Key == "proxy" || e.Section == "" && e.Key == "http.proxy") {
			return nil
		}
		j := proxy(h, "", e.Value)
		if j != nil {
			j.fix = `proxy = "` + h.ProxyURL() + `"`
		}
		return j
	}),
}
