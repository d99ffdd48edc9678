package lab

import (
	"os"
	"testing"

	"watertight/lab/internet"
)

// Call is one request that a client is to make.
type Call struct {
	URL    string
	Proxy  string // URL of the proxy; empty: none
	CAFile string // trusted authorities
}

// Client is a program that people use to call APIs. Its documented way to use a proxy is taken, and no other.
type Client struct {
	Name    string
	Needs   string   // the program that must be installed; empty: it is part of the test binary
	Modules []string // that Needs, a Python, must have
	Files   []string // that it needs besides
	Schemes []string // of proxy URLs that it understands and by which it hands over the name
	// Program gives the program that makes the call. Its exit code is 0 only if the call succeeded, unless Rough.
	Program func(h *internet.Host, c Call) *internet.Program
	Rough   bool // the exit code says nothing, as the origin does not speak what the client wants to hear
}

// OrdinaryRole is the role that must be given to [Main] for [GoClient] and for the leaky control: the Main of
// package demo/ordinary.
const OrdinaryRole = "ordinary"

func withProxy(p *internet.Program, proxy string) *internet.Program {
	if proxy != "" {
		p.Env = append(p.Env, "http_proxy="+proxy, "https_proxy="+proxy, "HTTP_PROXY="+proxy, "HTTPS_PROXY="+proxy)
	}
	return p
}

// Curl is curl, which understands every scheme.
var Curl = Client{
	Name: "curl", Needs: "curl", Schemes: []string{"http", "socks4a", "socks5h"},
	Program: func(h *internet.Host, c Call) *internet.Program {
		args := []string{"--silent", "--show-error", "--verbose", "--fail", "--max-time", "15"}
		if c.CAFile != "" {
			args = append(args, "--cacert", c.CAFile)
		}
		if c.Proxy != "" {
			args = append(args, "--proxy", c.Proxy)
		}
		return h.Program("curl", append(args, c.URL)...)
	},
}

// Wget is GNU wget.
var Wget = Client{
	Name: "wget", Needs: "wget", Schemes: []string{"http"},
	Program: func(h *internet.Host, c Call) *internet.Program {
		args := []string{"--tries=1", "--timeout=15", "--output-document=-", "--no-hsts"}
		if c.CAFile != "" {
			args = append(args, "--ca-certificate="+c.CAFile)
		}
		return withProxy(h.Program("wget", append(args, c.URL)...), c.Proxy)
	},
}

// Git is git, which asks for a repository that no origin here has.
var Git = Client{
	Name: "git", Needs: "git", Schemes: []string{"http", "socks5h"}, Rough: true,
	Program: func(h *internet.Host, c Call) *internet.Program {
		p := h.Program("git", "-c", "http.sslCAInfo="+c.CAFile, "-c", "http.proxy="+c.Proxy, "ls-remote", c.URL)
		p.Env = append(p.Env, "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_HTTP_LOW_SPEED_TIME=15")
		return p
	},
}

const pythonCall = `
import ssl, sys, urllib.request
url, ca = sys.argv[1:3]
context = ssl.create_default_context(cafile=ca or None)
sys.stdout.write(urllib.request.urlopen(url, timeout=15, context=context).read().decode())
`

// Python is Python's urllib.
var Python = Client{
	Name: "python", Needs: "python3", Schemes: []string{"http"},
	Program: func(h *internet.Host, c Call) *internet.Program {
		return withProxy(h.Program("python3", "-I", "-c", pythonCall, c.URL, c.CAFile), c.Proxy)
	},
}

// Node has no proxy support in the versions that distributions ship: the script does what the proxy agents do that
// its users install, a CONNECT by name.
const nodeCall = `
const [url, ca, proxy] = process.argv.slice(1), u = new URL(url);
const http = require('http'), https = require('https'), tls = require('tls'), fs = require('fs');
const options = {ca: ca ? fs.readFileSync(ca) : undefined, timeout: 15000, servername: u.hostname};
const fail = e => { console.error(String(e)); process.exit(1); };
const done = r => { r.pipe(process.stdout); r.on('end', () => { process.exitCode = r.statusCode == 200 ? 0 : 1; }); };
if (!proxy) {
  (u.protocol == 'https:' ? https : http).get(url, options, done).on('error', fail);
} else {
  const p = new URL(proxy), target = u.hostname + ':' + (u.port || 443);
  http.request({host: p.hostname, port: p.port, method: 'CONNECT', path: target, headers: {host: target}})
    .on('connect', (r, socket) => {
      if (r.statusCode != 200) fail('CONNECT: ' + r.statusCode + ' ' + r.statusMessage);
      https.get(url, {...options, defaultPort: 443, createConnection: () => tls.connect({...options, socket})}, done).on('error', fail);
    }).on('response', r => fail('CONNECT: ' + r.statusCode + ' ' + r.statusMessage)).on('error', fail).end();
}
`

// Node is node's https module.
var Node = Client{
	Name: "node", Needs: "node", Schemes: []string{"http"},
	Program: func(h *internet.Host, c Call) *internet.Program {
		return h.Program("node", "-e", nodeCall, "--", c.URL, c.CAFile, c.Proxy)
	},
}

// GoClient is Go's net/http with its own resolver. It needs the role [OrdinaryRole].
var GoClient = Client{
	Name: "go", Schemes: []string{"http", "socks5h"},
	Program: func(h *internet.Host, c Call) *internet.Program {
		return withProxy(Self(h, OrdinaryRole, "get", "-ca", c.CAFile, c.URL), c.Proxy)
	},
}

// Clients gives every client.
func Clients() []Client { return []Client{Curl, Wget, Git, Python, Node, GoClient} }

// Require skips the test, or fails it, if the client is not installed.
func (c Client) Require(t testing.TB) {
	t.Helper()
	if c.Needs != "" {
		Need(t, c.Needs)
	}
	for _, path := range c.Files {
		if _, err := os.Stat(path); err != nil {
			Lacking(t, "%s needs a file: %v", c.Name, err)
		}
	}
	if len(c.Modules) > 0 {
		NeedPython(t, c.Needs, c.Modules...)
	}
}
