package tool

import (
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

var pipConf = doctor.Rule{
	ID: "PIPCONF", Severity: doctor.High,
	Title:   "a pip.conf sets a proxy that resolves here or is another than ours",
	Clients: []string{"pip"},
	Explain: `proxy in a pip.conf counts before the environment. pip is requests and urllib3: measured, socks5:// resolves here since requests
2.12, and socks5h:// leaves the name to the proxy; an http:// proxy is clean.`,
	Find: settings([]string{".pip/pip.conf", ".config/pip/pip.conf", "pip/pip.ini", "AppData/Roaming/pip/pip.ini", "Library/Application Support/pip/pip.conf"}, []string{"/etc/pip.conf", "/etc/xdg/pip/pip.conf"},
		read.INI, func(h *doctor.Host, e read.Entry) *judged {
			if strings.ToLower(e.Key) != "proxy" {
				return nil
			}
			return proxy(h, "proxy = ", e.Value)
		}),
}
