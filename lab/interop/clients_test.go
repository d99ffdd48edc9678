package interop

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
)

// curlByEnvironment is curl with no option for a proxy, but the variables that `watertight env` prints.
var curlByEnvironment = lab.Client{
	Name: "curl by environment", Needs: "curl", Schemes: []string{"http"},
	Program: func(h *internet.Host, c lab.Call) *internet.Program {
		if c.Proxy == "" {
			return lab.Curl.Program(h, c)
		}
		address := strings.TrimPrefix(c.Proxy, "http://")
		self, err := os.Executable()
		if err != nil {
			panic(err) // the tests themselves run from it
		}
		const script = `set -e; vars=$("$1" env --listen "$2"); eval "$vars"; shift 2; exec curl "$@"`
		p := h.Program("/bin/sh", "-c", script, "sh", self, address,
			"--silent", "--show-error", "--verbose", "--fail", "--max-time", "15", "--cacert", c.CAFile, c.URL)
		p.Env = append(p.Env, lab.Self(h, lab.WatertightRole).Env...)
		return p
	},
}

const requestsCall = `
import sys, requests
url, ca, proxy = sys.argv[1:4]
s = requests.Session()
s.trust_env = False
r = s.get(url, timeout=15, verify=ca or True, proxies={'http': proxy, 'https': proxy} if proxy else {})
r.raise_for_status()
sys.stdout.write(r.text)
`

// requests is Python's requests, with PySocks for the schemes of SOCKS.
var requests = lab.Client{
	Name: "python requests", Needs: "/usr/bin/python3", Modules: []string{"requests", "socks"}, Schemes: []string{"http", "socks5h"},
	Program: func(h *internet.Host, c lab.Call) *internet.Program {
		return h.Program("/usr/bin/python3", "-I", "-c", requestsCall, c.URL, c.CAFile, c.Proxy)
	},
}

// sClient is openssl's client, which is told its request by hand.
var sClient = lab.Client{
	Name: "openssl s_client", Needs: "openssl", Schemes: []string{"http"},
	Program: func(h *internet.Host, c lab.Call) *internet.Program {
		u, err := url.Parse(c.URL)
		if err != nil {
			panic(err) // the URL is the cell's own
		}
		args := []string{"s_client", "-connect", u.Host + ":443", "-servername", u.Host, "-CAfile", c.CAFile, "-verify_return_error", "-ign_eof"}
		if c.Proxy != "" {
			args = append(args, "-proxy", strings.TrimPrefix(c.Proxy, "http://"))
		}
		p := h.Program("openssl", args...)
		p.Stdin = fmt.Appendf(nil, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", u.Host)
		return p
	},
}

const aiohttpCall = `
import asyncio, ssl, sys, aiohttp
url, ca, proxy = sys.argv[1:4]
async def main():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as session:
        async with session.get(url, proxy=proxy or None, ssl=ssl.create_default_context(cafile=ca)) as r:
            r.raise_for_status()
            sys.stdout.write(await r.text())
asyncio.run(main())
`

// aiohttp is Python's aiohttp, told its proxy for the request.
var aiohttp = lab.Client{
	Name: "aiohttp", Needs: "/usr/bin/python3", Modules: []string{"aiohttp"}, Schemes: []string{"http"},
	Program: func(h *internet.Host, c lab.Call) *internet.Program {
		return h.Program("/usr/bin/python3", "-I", "-c", aiohttpCall, c.URL, c.CAFile, c.Proxy)
	},
}

const grpcCall = `
import sys, grpc
host, ca = sys.argv[1:3]
channel = grpc.secure_channel(host + ":443", grpc.ssl_channel_credentials(open(ca, "rb").read()), (("grpc.default_authority", host),))
print(channel.unary_unary("/lab.Echo/Say")(b"ping", timeout=15))
`

// grpcio is gRPC of Python, which has a resolver of its own and obeys the variables. The origin does not speak gRPC.
var grpcio = lab.Client{
	Name: "grpcio", Needs: "/usr/bin/python3", Modules: []string{"grpc"}, Schemes: []string{"http"}, Rough: true,
	Program: func(h *internet.Host, c lab.Call) *internet.Program {
		u, err := url.Parse(c.URL)
		if err != nil {
			panic(err) // the URL is the cell's own
		}
		p := h.Program("/usr/bin/python3", "-I", "-c", grpcCall, u.Host, c.CAFile)
		if c.Proxy != "" {
			p.Env = append(p.Env, "https_proxy="+c.Proxy)
		}
		return p
	},
}

const undiciCall = `
const [url, ca, proxy] = process.argv.slice(1), {Agent, ProxyAgent, fetch} = require('undici'), trust = {ca: require('fs').readFileSync(ca)};
const dispatcher = proxy ? new ProxyAgent({uri: proxy, requestTls: trust}) : new Agent({connect: trust});
fetch(url, {dispatcher}).then(async r => { console.log(await r.text()); process.exit(r.ok ? 0 : 1) },
	e => { console.error(String(e), String(e.cause)); process.exit(1) });
`

// undici is Node's client with its ProxyAgent.
var undici = lab.Client{
	Name: "undici", Needs: "node", Files: []string{"/usr/share/nodejs/undici/index.js"}, Schemes: []string{"http"},
	Program: func(h *internet.Host, c lab.Call) *internet.Program {
		p := h.Program("node", "-e", undiciCall, "--", c.URL, c.CAFile, c.Proxy)
		p.Env = append(p.Env, "NODE_PATH=/usr/share/nodejs")
		return p
	},
}

func clients() []lab.Client {
	return append(lab.Clients(), curlByEnvironment, requests, sClient, aiohttp, grpcio, undici)
}

func TestClients_CallThroughTheProxyWithARealResolverBehindIt(t *testing.T) {
	for _, client := range clients() {
		for _, scheme := range client.Schemes {
			t.Run(client.Name+"/"+scheme, func(t *testing.T) {
				u := &upstream{resolver: resolvers()[0], transport: transports()[0]}
				lab.Cell{
					Families: internet.Dual, Client: client, Scheme: scheme, Arrange: u.arrange, Start: u.startProxy,
					After: func(t testing.TB, s *lab.Scene) {
						untrapped(t, s)
						if page := lab.Admin(t, s, "/metrics"); strings.Contains(page, s.Label) {
							t.Error("the name stands in the metrics")
						}
					},
				}.Run(t)
			})
		}
	}
}

func TestClients_CallThroughTheProxyAndARealHop(t *testing.T) {
	for i, client := range clients() {
		for k, scheme := range client.Schemes {
			kind := hopKinds()[(i+k)%len(hopKinds())]
			t.Run(client.Name+"/"+scheme+"/"+kind.name, func(t *testing.T) {
				(&journey{kinds: []hopKind{kind}, byName: true, resolve: here}).run(t, internet.Dual, client, scheme)
			})
		}
	}
}
