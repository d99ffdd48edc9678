package cells

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"watertight/capture"
	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
)

// TestGateway plays what programs ask that take a base URL. They look nothing up; what the gateway sends for them is held by the
// same capture as everything else.
func TestGateway(t *testing.T) {
	t.Parallel()
	t.Run("controls/a gateway that resolves as the host does is caught", aLeakyGatewayIsCaught)
	for _, c := range baseClients {
		families := []internet.Families{internet.Dual}
		if c.Needs == "curl" {
			families = internet.AllFamilies()
		}
		for _, f := range families {
			play(t, c.Name+"/"+string(f), lab.Cell{Families: f, Client: c, Start: atGateway(gateway(dot, listed))})
		}
	}
	base := baseClients[0]
	for _, via := range transports {
		play(t, "the name is asked of the channel's resolver/"+via.name, lab.Cell{
			Client: base, Start: atGateway(gateway(via.config, listed)),
			After: func(t testing.TB, s *lab.Scene) {
				if n := s.Resolver.Count(s.Canary, dnswire.HTTPS); n != 1 {
					t.Errorf("the channel's resolver was asked %d times for the record", n)
				}
			},
		})
	}
	for _, kind := range kinds {
		for _, resolve := range []string{"here", "exit"} {
			t.Run("D1/in the channel of its entry/"+kind.name+"/"+resolve, func(t *testing.T) {
				far := &farChannel{kind: kind}
				c := far.cell(resolve)
				c.Client = base
				c.Start = atGateway(func(s *lab.Scene) string {
					routed, _, _ := strings.Cut(far.config(s, resolve), "routes:") // its entry names the channel, and the routes refuse
					return gateway(func(*lab.Scene) string { return routed + "routes: [{to: \"*\", channel: refuse}]\n" },
						func(s *lab.Scene) string {
							return fmt.Sprintf("  - {hosts: [\"*.%s\"], channel: far, ca: %q}\n", lab.Zone, s.CAFile)
						})(s)
				})
				run(t, c)
			})
		}
	}
	t.Run("B4/the hop is dead", func(t *testing.T) {
		far := &farChannel{kind: kinds[0]}
		c := far.cell("exit")
		c.Client, c.Refused = base, "HOP_REFUSED"
		c.Start = atGateway(gateway(func(s *lab.Scene) string { return far.config(s, "exit") }, listed))
		c.Before = func(t testing.TB, _ *lab.Scene) { far.hop.close(t) }
		run(t, c)
	})
	play(t, "A2/the resolver is gone", lab.Cell{Client: base, Start: atGateway(gateway(dot, listed)), Refused: "RESOLVER_UNREACHABLE", Before: gone})
	play(t, "a host that is not listed", lab.Cell{
		Client: base, Refused: "POLICY_ROUTE", After: nobodyAsked,
		Start: atGateway(gateway(dot, func(s *lab.Scene) string { return "  - {hosts: [\"*.example.org\"]}\n" })),
	})
	play(t, "an address that is private", lab.Cell{
		Client: base, Refused: "POLICY_PRIVATE_TARGET", Start: atGateway(gateway(dot, listed)),
		Before: func(_ testing.TB, s *lab.Scene) {
			s.Resolver.Handle(dnstest.Zone{s.Canary + ". 60 A 10.0.0.7"}.Handler())
		},
	})
	play(t, "a client that asks the proxy for the gateway", lab.Cell{
		Client: base, Start: atGateway(gateway(dot, listed)),
		After: func(t testing.TB, s *lab.Scene) {
			for _, proxy := range []string{"http://", "socks5h://"} {
				host := other(s, strings.TrimSuffix(proxy, "://"))
				greeted(t, host, lab.Run(t, s.Client.Program("curl", "--silent", "--show-error", "--max-time", "15", "--noproxy", "",
					"--proxy", proxy+lab.ProxyAddress, "http://"+gatewayAddress+"/https/"+host+"/")))
			}
		},
	})
	play(t, "A7/names in an answer", lab.Cell{
		Client:  base,
		Arrange: func(t testing.TB, s *lab.Scene) { addAPI(t, s) },
		Start:   atGateway(gateway(dot, listed)),
		After: func(t testing.TB, s *lab.Scene) {
			r := lab.Run(t, s.Client.Program("curl", "--silent", "--include", "--max-time", "15", "http://"+gatewayAddress+"/https/"+other(s, "api")+"/"))
			if r.Code != 0 || !strings.Contains(r.Stdout, "302") || !strings.Contains(r.Stdout, "Location: /https/"+other(s, "api")+"/next") || strings.Contains(r.Stdout, "elsewhere") {
				t.Errorf("the client was told: %s", r.Text())
			}
			neverAsked("elsewhere")(t, s)
		},
	})
	t.Run("A6/the record of the origin's own name", theOriginsOwnRecord)
	t.Run("streams", gatewayStreams)
}

// aLeakyGatewayIsCaught makes the call of the cells by way of a gateway that leaks: the same checks must see it.
func aLeakyGatewayIsCaught(t *testing.T) {
	lab.Need(t, "curl")
	s := lab.NewScene(t, internet.Dual)
	p := lab.Must(lab.Self(s.Client, leakyGatewayRole).Start(t.Context()))(t)
	lab.Must(p.AwaitOutput(t.Context(), "listening on"))(t)
	r := lab.Run(t, baseClients[0].Program(s.Client, lab.Call{URL: "https://" + s.Canary + "/", Proxy: "http://" + gatewayAddress}))
	e := s.Gather(t, r)
	leaks := strings.Join(s.Leaks(e), "\n")
	for _, want := range []string{"a packet outside", "the name, as", "the provider was asked", "the authority was asked by a stranger"} {
		if !e.Delivered || !strings.Contains(leaks, want) {
			t.Errorf("delivered: %v; nothing says %q; what was said:\n%s\n%s", e.Delivered, want, leaks, r.Text())
		}
	}
}

// theOriginsOwnRecord holds that it is asked of the channel's resolver alone, and that the name is hidden where it has keys.
func theOriginsOwnRecord(t *testing.T) {
	keys := dnstest.NewECH(publicName, 1)
	for _, hop := range []bool{false, true} {
		var host string
		far := &farChannel{kind: kinds[0]}
		c := lab.Cell{Client: baseClients[0], Start: atGateway(gateway(dot, listed))}
		of := func(s *lab.Scene) *internet.Resolver { return s.Resolver }
		arrange := func(testing.TB, *lab.Scene) {}
		if hop {
			c = far.cell("here")
			c.Client, arrange = baseClients[0], c.Arrange
			c.Start = atGateway(gateway(func(s *lab.Scene) string { return far.config(s, "here") }, listed))
			of = func(*lab.Scene) *internet.Resolver { return far.resolver }
		}
		c.Arrange = func(t testing.TB, s *lab.Scene) {
			arrange(t, s)
			permitted, readers := s.Permitted, s.Readers
			host = addAPI(t, s, dnstest.Takes(keys)).name
			s.Readers = readers // the origin is told the name inside what is hidden: nobody reads it on the way
			if hop {
				s.Permitted = permitted // it is reached through the hop, or not at all
			}
			record := lab.Must(dnswire.ParseRecord(fmt.Sprintf("%s. 300 HTTPS 1 . alpn=h2 ech=%s", host, keys.Text())))(t)
			r := of(s)
			r.Handle(func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
				if q.Name == host && q.Type == dnswire.HTTPS {
					return q.Send(dnswire.Reply{Answer: []dnswire.Record{record}})
				}
				return r.Recurse(ctx, q)
			})
		}
		c.After = func(t testing.TB, s *lab.Scene) {
			r := lab.Run(t, s.Client.Program("curl", "--silent", "--include", "--max-time", "15", "http://"+gatewayAddress+"/https/"+host+"/"))
			if !strings.Contains(r.Stdout, "302") {
				t.Errorf("the origin did not answer: %s", r.Text())
			}
			if n := of(s).Count(host, dnswire.HTTPS); n != 1 {
				t.Errorf("the channel's resolver was asked %d times for the record", n)
			}
			for _, q := range s.Authority.LogOf(host) {
				if q.Type == dnswire.HTTPS.String() {
					t.Errorf("somebody else was asked for the record: %v", q)
				}
			}
		}
		t.Run(map[bool]string{false: "direct", true: "through a hop"}[hop], func(t *testing.T) {
			e := run(t, c)
			if !hop {
				if got := hellos(e, host); got != publicName {
					t.Errorf("an onlooker read in the hellos to the origin: %q", got)
				}
			}
			for _, hit := range capture.Search(e.Packets, host) {
				t.Errorf("LEAK: the origin's name, as %s, in %v", hit.Form, hit.Packet)
			}
		})
	}
}

const sseByRequests = `
import sys, requests
base = sys.argv[1]
r = requests.get(base + "sse", stream=True, timeout=15)
for line in r.iter_lines(chunk_size=1):
    if line.startswith(b"data: "):
        print(line.decode(), flush=True)
        requests.post(base + "ack", data=line[6:], timeout=15).raise_for_status()
`

const sseByFetch = `
(async () => {
  const base = process.argv[1], r = await fetch(base + 'sse'), text = new TextDecoder();
  for await (const chunk of r.body) {
    for (const line of text.decode(chunk).split('\n').filter(l => l.startsWith('data: '))) {
      console.log(line);
      await fetch(base + 'ack', {method: 'POST', body: line.slice(6)});
    }
  }
})().catch(e => { console.error(String(e), String(e.cause)); process.exit(1) });
`

const webSocketCall = `
import asyncio, sys, websockets
async def main():
    async with websockets.connect("ws://" + sys.argv[1] + "ws", open_timeout=15) as ws:
        for i in range(3):
            await ws.send("message %d" % i)
            print(await asyncio.wait_for(ws.recv(), 15))
asyncio.run(main())
`

const grpcCall = `
import sys, grpc, queue
channel = grpc.insecure_channel(sys.argv[1])
print(channel.unary_unary("/echo.Echo/Say")(b"unary", timeout=15).decode())
ask = queue.Queue()
answers = channel.stream_stream("/echo.Echo/Talk")(iter(ask.get, None), timeout=15)
for i in range(3):
    ask.put(b"message %d" % i)
    print(next(answers).decode())
ask.put(None)
print(list(answers), answers.code())
`

// gatewayStreams holds with real clients that nothing on the way waits for more.
func gatewayStreams(t *testing.T) {
	for _, c := range []struct {
		name, needs, module, script, entry string
		target                             string // what the script is given
		want                               []string
		seen                               string
	}{
		{"events to requests", python3, "requests", sseByRequests, "/api/", "http://" + gatewayAddress + "/api/", []string{"data: event 0", "data: event 1", "data: event 2"}, "HTTP/2.0 /sse"},
		{"events to node's fetch", "node", "", sseByFetch, "/api/", "http://" + gatewayAddress + "/api/", []string{"data: event 0", "data: event 1", "data: event 2"}, "HTTP/2.0 /sse"},
		{"a WebSocket of Python", python3, "websockets", webSocketCall, "/api/", gatewayAddress + "/api/", []string{"message 0", "message 1", "message 2"}, "HTTP/1.1 /ws"},
		{"gRPC of Python", python3, "grpc", grpcCall, "/", gatewayAddress, []string{"unary", "message 0", "message 1", "message 2", "[] StatusCode.OK"}, "HTTP/2.0 /echo.Echo/Talk"},
	} {
		play := func(t *testing.T, three bool) {
			if c.module != "" {
				lab.NeedPython(t, c.needs, c.module)
			}
			lab.Need(t, c.needs)
			if three {
				c.seen = strings.Replace(c.seen, "HTTP/2.0", "HTTP/3.0", 1) // a WebSocket goes over HTTP/1.1
			}
			var origin *api
			run(t, lab.Cell{
				Client: baseClients[0],
				Arrange: func(t testing.TB, s *lab.Scene) {
					if origin = addAPI(t, s); three {
						origin.speaks3(t, s)
						origin.offers3(t, s.Resolver, "")
					}
				},
				Start: atGateway(gateway(dot, func(s *lab.Scene) string {
					return listed(s) + fmt.Sprintf("  - {path: %s, to: \"https://%s/\", ca: %q}\n", c.entry, other(s, "api"), s.CAFile)
				})),
				After: func(t testing.TB, s *lab.Scene) {
					args := []string{"-I", "-c", c.script, c.target}
					if c.needs == "node" {
						args = []string{"-e", c.script, "--", c.target}
					}
					r := lab.Run(t, s.Client.Program(c.needs, args...))
					if got := strings.Split(strings.TrimSpace(r.Stdout), "\n"); r.Code != 0 || !slices.Equal(got, c.want) {
						t.Errorf("exit code %d: %s", r.Code, r.Text())
					}
					if !slices.Contains(origin.seen, c.seen) {
						t.Errorf("the origin saw %q", origin.seen)
					}
				},
			})
		}
		t.Run(c.name, func(t *testing.T) { play(t, false) })
		t.Run(c.name+"/over HTTP/3", func(t *testing.T) { play(t, true) })
	}
}
