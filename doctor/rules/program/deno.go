package program

import "watertight/doctor"

var denoPresent = doctor.Rule{
	ID: "DENO-PRESENT", Severity: doctor.High,
	Title:   "Deno is used with a proxy, and resolves every name beside it",
	Clients: []string{"deno fetch, WebSocket"},
	Explain: `Measured with Deno 2.9: fetch and WebSocket go through the proxy, and the name is resolved here as well, with every kind of
proxy URL. Its check of permissions "resolves the destination and checks every resolved address" (ext/fetch/dns.rs; denoland/deno
#34236, #34418), since 2.8. No setting turns it off. watertight exec answers the look-up inside.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		return presence(h, "Deno", []string{"deno"}, []string{".deno/bin/deno"}, "watertight exec -- deno run …   # or a base URL of the gateway")
	},
}

var rubyNetHTTP = doctor.Rule{
	ID: "RUBY-NETHTTP", Severity: doctor.High,
	Title:   "Ruby is used with a proxy, and resolves every name beside it",
	Clients: []string{"Net::HTTP, open-uri, Faraday, http.rb, rest-client"},
	Explain: `Measured with Ruby 3.1: Net::HTTP looks at http_proxy only, also for https (net/http.rb makes an http: URI), so with https_proxy
alone it goes direct; and URI#find_proxy calls IPSocket.getaddress for every host to see whether it is loopback, so that the name is
looked up even when it is proxied (ruby/net-http#318 and ruby/uri#231 are open). Excon and gem are clean. A proxy that is given in the
program (Net::HTTP.new(host, port, proxy_host, proxy_port)) is clean too.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		return presence(h, "Ruby", []string{"ruby", "ruby[0-9]*"}, []string{".rbenv/versions/*/bin/ruby", ".rvm/rubies/*/bin/ruby"}, "watertight exec -- ruby …   # or a base URL of the gateway")
	},
}

// presence finds a program that resolves names beside the proxy: running with proxy variables, or installed where they are
// set.
func presence(h *doctor.Host, what string, names, inHomes []string, fix string) []doctor.Finding {
	var found []doctor.Finding
	for _, p := range running(h, names[0]) {
		if told, ok := proxyOf(p); ok {
			found = append(found, doctor.Finding{Fact: what + " runs with a proxy, and looks each name up as well", Evidence: []string{p.String() + ": " + told}, Fix: fix})
		}
	}
	if _, told, ok := proxied(h); ok {
		if where := installed(h, names, inHomes...); len(where) > 0 {
			found = append(found, doctor.Finding{
				Severity: doctor.Medium, Fact: what + " is installed, and will look each name up beside the proxy that is set",
				Evidence: append(where, told.String()), Fix: fix,
			})
		}
	}
	return doctor.Merge(found)
}
