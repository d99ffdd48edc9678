package tool

import (
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

// gitFiles are the configurations of git that are for a user and for the host.
var gitFiles, gitHost = []string{".gitconfig", ".config/git/config"}, []string{"/etc/gitconfig", "/usr/local/etc/gitconfig", "/opt/homebrew/etc/gitconfig", "/Program Files/Git/etc/gitconfig"}

var gitconfig = doctor.Rule{
	ID: "GITCONFIG", Severity: doctor.High,
	Title:   "git's http.proxy resolves here, is another than ours, or is empty",
	Clients: []string{"git over http:// and https://"},
	Explain: `http.proxy, and http.URL.proxy for one site, count before the environment, and an empty value is no proxy at all. Measured with
git 2.39, which is libcurl: http.proxy=socks5://… sends A and AAAA queries for the remote; with http:// and socks5h:// it does not.`,
	Find: settings(gitFiles, gitHost, read.Git, func(h *doctor.Host, e read.Entry) *judged {
		if e.Key != "proxy" || e.Section != "http" && !strings.HasPrefix(e.Section, "http.") && !strings.HasPrefix(e.Section, "remote.") {
			return nil
		}
		if e.Value == "" {
			return past("an empty proxy in section "+e.Section+": git goes direct there", "\tproxy = "+h.ProxyURL())
		}
		return proxy(h, "\tproxy = ", e.Value)
	}),
}
