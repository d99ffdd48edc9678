package env

import (
	"net/netip"
	"strings"
)

// form is a way in which an entry of NO_PROXY is written.
type form int

// The forms that were measured, in the order of the columns of reading.
const (
	bare      form = iota // name
	dotted                // .name
	starred               // *.name
	star                  // *
	commas                // other,name
	spaced                // other, name
	blanks                // other name
	capitals              // NAME
	port443               // name:443
	otherPort             // name:8443
	part                  // the end of a label: ame
	address               // 192.0.2.1, and the same address is asked for
	cidr                  // 192.0.2.0/24, and an address in it is asked for
	cidrName              // 192.0.2.0/24, and a name is asked for whose address is in it
	forms
)

// reading is how each client reads each form: D goes past the proxy, P through it. Measured, with one namespace for each
// case; docs/clients.md has the versions. The name asked for was a subdomain of the one listed.
var reading = []struct{ client, how string }{
	{"curl 7.88", "DDPDDDDDPPPDDP"},
	{"wget 1.21", "DDPPDDPDPPPDPP"},
	{"git 2.39", "DDPDDDDDPPPDDP"},
	{"Python urllib", "DDPDDDPDPPPDPP"},
	{"Python requests 2.28", "DDPDDDPDPPDDDP"},
	{"Python httpx 0.23", "DDPDDDPDPPPDPP"},
	{"Python aiohttp 3.8", "DDPDDDPDPPPDPP"},
	{"Go net/http 1.26", "DDDDDDPDDPPDDP"},
	{"Node 24 fetch", "DDDDDDDDDPPDPP"},
	{"Node 24 https", "PDDDPPPPPPPDPP"},
	{"undici", "DDDDDDDDDPPDPP"},
	{"axios 1.21", "PDDDPPPPPPPDDP"},
	{"proxy-agent 8", "PDDDPPPPPPPDPP"},
	{"bun 1.4", "DDDDDDDDDPPDDP"},
	{"deno 2.9", "DDPDDDPPPPPDDP"},
	{"Ruby Net::HTTP 3.1", "DDPPDDDDDPPDDD"},
	{"PHP Guzzle 7.4", "DDPDDDDDPPPDDP"},
	{"reqwest 0.11", "DDPDDDPPPPPDDP"},
	{"grpcio 1.51", "DDPPDPPDPPDDPP"},
	{"grpc-js 1.14", "DDPPDPPPPPDDDP"},
	{"grpc-go 1.85", "DDDDDDPDDPPDDP"},
}

// readers gives who goes past the proxy for an entry of a form, and who through it.
func readers(f form) (past, through []string) {
	for _, r := range reading {
		if r.how[f] == 'D' {
			past = append(past, r.client)
		} else {
			through = append(through, r.client)
		}
	}
	return past, through
}

// formOf tells how an entry is written.
func formOf(e string) form {
	if _, err := netip.ParsePrefix(e); err == nil {
		return cidr
	}
	if _, err := netip.ParseAddr(strings.Trim(e, "[]")); err == nil {
		return address
	}
	host, port, ported := strings.Cut(e, ":")
	switch {
	case e == "*":
		return star
	case ported && port == "443":
		return port443
	case ported:
		return otherPort
	case host != strings.ToLower(host):
		return capitals
	case strings.Contains(e, "*"):
		return starred
	case strings.HasPrefix(e, "."):
		return dotted
	}
	return bare
}
