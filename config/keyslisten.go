package config

// listenKeys are those of the doors.
var listenKeys = []Key{
	{Path: "listen", form: formMap, Doc: "Where the program listens."},
	{
		Path: "listen.proxy", form: formText, list: true, orMap: true, Default: DefaultListen,
		Doc: "The mixed port: HTTP CONNECT, plain HTTP, SOCKS4a and SOCKS5 on one socket, told apart by the first byte.",
	},
	{Path: "listen.proxy.address", form: formText, Doc: "IP:PORT to listen on."},
	{
		Path: "listen.proxy.allow_insecure", form: formBool, Default: "false",
		Doc: "Your word that an address beyond loopback may be served without TLS and users.",
	},
	{Path: "listen.proxy.tls", form: formMap, Doc: "TLS 1.3 at the port, with HTTP/2 for clients that ask for it."},
	{Path: "listen.proxy.tls.cert", form: formText, Doc: "A PEM file: the certificate with its chain. Read again when it changes."},
	{Path: "listen.proxy.tls.key", form: formText, Doc: "A PEM file: the certificate's key."},
	{
		Path: "listen.proxy.tls.acme", form: formText, list: true,
		Doc: "Names for which a certificate is obtained by ACME, in place of `cert` and `key`: see `acme`.",
	},
	{
		Path: "listen.proxy.tls.client_ca", form: formText,
		Doc: "A PEM file: who issues certificates to clients. Each client has to show one, whose common name is its user.",
	},
	{
		Path: "listen.proxy.users", form: formText,
		Doc: "A file of `watertight user`: who may come in, by password. Read again at every reload.",
	},
	{
		Path: "listen.proxy.h3", form: formBool, Default: "false",
		Doc: "HTTP/3 too, on the UDP port of the same number. It needs `tls`.",
	},
	{
		Path: "listen.proxy.proxy_protocol", form: formText, list: true,
		Doc: "The networks of balancers that say by the PROXY protocol, version 1 or 2, where each client is; they have to.",
	},
	{Path: "listen.proxy.token_key", form: formText, Doc: "The file with the key of `watertight user token`: a token is taken in place of a password."},
	{
		Path: "listen.admin", form: formText, list: true, orMap: true,
		Doc: "Health, readiness, metrics and status over HTTP. Not served unless written.",
	},
	{
		Path: "listen.dns", form: formText, list: true, orMap: true,
		Doc: "DNS for programs that resolve by themselves; each name takes the channel that `routes` gives it. Not served unless written.",
	},
	{Path: "listen.dns.address", form: formText, Doc: "IP:PORT for UDP and TCP, tls://IP:PORT, quic://IP:PORT, or https://IP:PORT/dns-query."},
	{Path: "listen.dns.tls", form: formMap, Doc: "The certificate of an address that begins with tls://, quic:// or https://."},
	{Path: "listen.dns.tls.cert", form: formText, Doc: "A PEM file: the certificate with its chain. Read again when it changes."},
	{Path: "listen.dns.tls.key", form: formText, Doc: "A PEM file: the certificate's key."},
	{
		Path: "listen.dns.tls.acme", form: formText, list: true,
		Doc: "Names for which a certificate is obtained by ACME, in place of `cert` and `key`: see `acme`.",
	},
	{
		Path: "listen.dns.tls.client_ca", form: formText,
		Doc: "A PEM file: who issues certificates to clients. Each client has to show one, and may come from any address.",
	},
	{
		Path: "listen.dns.allow_insecure", form: formBool, Default: "false",
		Doc: "Your word that an address beyond loopback may be served without client certificates; only private networks are answered.",
	},
	{
		Path: "listen.gateway", form: formText, list: true, orMap: true,
		Doc: "The gateway, for programs that take a base URL and no proxy: HTTP/1.1 and HTTP/2, in clear text or over TLS. Not served unless written.",
	},
	{Path: "listen.gateway.address", form: formText, Doc: "IP:PORT to listen on."},
	{
		Path: "listen.gateway.hosts", form: formText, list: true,
		Doc: "Names by which clients call it, as HOST or HOST:PORT, beside its address and localhost; by any other it is not served.",
	},
	{
		Path: "listen.gateway.origins", form: formText, list: true,
		Doc: "Web pages that may use it, as https://HOST[:PORT]; those of other sites are refused.",
	},
	{Path: "listen.gateway.tls", form: formMap, Doc: "TLS 1.3 at the gateway."},
	{Path: "listen.gateway.tls.cert", form: formText, Doc: "A PEM file: the certificate with its chain. Read again when it changes."},
	{Path: "listen.gateway.tls.key", form: formText, Doc: "A PEM file: the certificate's key."},
	{
		Path: "listen.gateway.tls.acme", form: formText, list: true,
		Doc: "Names for which a certificate is obtained by ACME, in place of `cert` and `key`: see `acme`.",
	},
	{
		Path: "listen.gateway.tls.client_ca", form: formText,
		Doc: "A PEM file: who issues certificates to clients. Each client has to show one, whose common name is its user.",
	},
	{
		Path: "listen.gateway.users", form: formText,
		Doc: "A file of `watertight user`: who may come in, by password or token. Read again at every reload.",
	},
	{Path: "listen.gateway.token_key", form: formText, Doc: "The file with the key of `watertight user token`: a token is taken in place of a password."},
	{
		Path: "listen.gateway.allow_insecure", form: formBool, Default: "false",
		Doc: "Your word that an address beyond loopback may be served without TLS and users.",
	},
	{Path: "listen.admin.address", form: formText, Doc: "IP:PORT to listen on."},
	{Path: "listen.admin.tls", form: formMap, Doc: "TLS 1.3 at the port."},
	{Path: "listen.admin.tls.cert", form: formText, Doc: "A PEM file: the certificate with its chain. Read again when it changes."},
	{Path: "listen.admin.tls.key", form: formText, Doc: "A PEM file: the certificate's key."},
	{
		Path: "listen.admin.tls.acme", form: formText, list: true,
		Doc: "Names for which a certificate is obtained by ACME, in place of `cert` and `key`: see `acme`.",
	},
	{
		Path: "listen.admin.tls.client_ca", form: formText,
		Doc: "A PEM file: who issues certificates to clients. Each client has to show one.",
	},
	{
		Path: "listen.admin.users", form: formText,
		Doc: "A file of `watertight user`: who may read it, by HTTP's Basic authentication. Read again at every reload.",
	},
	{Path: "listen.admin.token_key", form: formText, Doc: "The file with the key of `watertight user token`: a token is taken in place of a password."},
	{
		Path: "listen.admin.allow_insecure", form: formBool, Default: "false",
		Doc: "Your word that an address beyond loopback may be served without TLS and users.",
	},

	{
		Path: "listen.transparent", form: formText, list: true, orMap: true,
		Doc: "Connections and datagrams that the firewall of Linux hands over, of programs that know of no proxy. Not served unless written.",
	},
	{Path: "listen.transparent.address", form: formText, Doc: "IP:PORT that the firewall hands them to."},
	{
		Path: "listen.transparent.mode", form: formChoice, choices: []string{ModeRedirect, ModeTPROXY}, Default: ModeRedirect,
		Doc: "How the firewall does that: by nft's redirect, or by its tproxy, which needs CAP_NET_ADMIN.",
	},
	{Path: "listen.transparent.udp", form: formBool, Default: "false", Doc: "Datagrams too, with mode tproxy."},
	{
		Path: "listen.transparent.mark", form: formInt, min: 1, max: 1<<31 - 1,
		Doc: "A mark on every packet that the program sends, so that the firewall can leave those alone. It needs CAP_NET_ADMIN.",
	},
	{
		Path: "listen.transparent.allow_insecure", form: formBool, Default: "false",
		Doc: "Your word that an address beyond loopback may be served without TLS and users.",
	},

	{Path: "dns", form: formMap, Doc: "What the DNS door tells of itself."},
	{
		Path: "dns.id_server", form: formText,
		Doc: "The answer to id.server and hostname.bind in class CHAOS, up to 255 octets. Refused unless written.",
	},
	{
		Path: "dns.version_bind", form: formText,
		Doc: "The answer to version.bind and version.server in class CHAOS, up to 255 octets. Refused unless written.",
	},
}
