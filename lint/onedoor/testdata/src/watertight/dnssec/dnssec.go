// Package dnssec may look at records, and may not open the library's sockets.
package dnssec

import "github.com/miekg/dns"

func forbidden(m *dns.Msg) {
	_, _ = dns.Exchange(m, "192.0.2.1:1")             // want `dns.Exchange: it opens a socket of its own`
	_, _ = new(dns.Client).Exchange(m, "192.0.2.1:1") // want `dns.Client: ` `dns.Client.Exchange: `
}

func allowed() *dns.Msg { return &dns.Msg{ID: 1} }
