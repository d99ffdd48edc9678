// Package dnswire may read messages, and may not open the library's sockets.
package dnswire

import "github.com/miekg/dns"

func forbidden(m *dns.Msg) {
	_, _ = dns.Exchange(m, "192.0.2.1:1")               // want `dns.Exchange: it opens a socket of its own`
	_, _ = new(dns.Client).Exchange(m, "192.0.2.1:1")   // want `dns.Client: ` `dns.Client.Exchange: `
	_ = (&dns.Server{}).ListenAndServe()                // want `dns.Server: ` `dns.Server.ListenAndServe: `
	_, _ = dns.ClientConfigFromFile("/etc/resolv.conf") // want `dns.ClientConfigFromFile: it reads the host's list of resolvers`
}

func allowed() *dns.Msg { return &dns.Msg{ID: 1} }
