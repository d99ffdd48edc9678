package tool

import (
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

var aptConf = doctor.Rule{
	ID: "APTCONF", Severity: doctor.High, Systems: []string{"linux"},
	Title:   "apt is told of a proxy that is another than ours, or to go direct",
	Clients: []string{"apt"},
	Explain: `Acquire::http::Proxy and Acquire::https::Proxy count before the environment; DIRECT for a host is no proxy for it. Measured with
apt 2.6: http:// and socks5h:// are clean; without a proxy apt asks for SRV records of _http._tcp.HOST too. apt knows socks5h:// only.`,
	Find: settings(nil, []string{"/etc/apt/apt.conf", "/etc/apt/apt.conf.d/*"}, read.Apt, func(h *doctor.Host, e read.Entry) *judged {
		rest, ok := strings.CutPrefix(e.Key, "acquire::")
		scheme, tail, _ := strings.Cut(rest, "::")
		if !ok || scheme != "http" && scheme != "https" && scheme != "ftp" || tail != "proxy" && !strings.HasPrefix(tail, "proxy::") {
			return nil
		}
		name := "Acquire::" + scheme + "::Proxy"
		if strings.EqualFold(e.Value, "DIRECT") {
			return past("apt goes direct: "+e.Key, name+` "`+h.ProxyURL()+`";`)
		}
		j := proxy(h, "", e.Value)
		if !strings.HasPrefix(strings.ToLower(e.Value), "socks5h:") {
			j = noSOCKS(j, e.Value, "apt knows no SOCKS but socks5h://, and fails")
		}
		if j != nil {
			j.fix = name + ` "` + h.ProxyURL() + `";`
		}
		return j
	}),
}
