package cells

import (
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"watertight/capture"
	"watertight/lab"
	"watertight/lab/internet"
)

// gatewayAddress is where the gateway of a cell is.
const gatewayAddress = "127.0.0.1:8088"

// gateway is a configuration with a gateway, which has these entries.
func gateway(config func(*lab.Scene) string, entries func(*lab.Scene) string) func(*lab.Scene) string {
	return func(s *lab.Scene) string {
		return "  gateway: " + gatewayAddress + "\n" + config(s) + "gateway:\n" + entries(s)
	}
}

// listed is the entry for every canary.
func listed(s *lab.Scene) string {
	return fmt.Sprintf("  - {hosts: [\"*.%s\"], ca: %q}\n", lab.Zone, s.CAFile)
}

// atGateway starts the proxy and says where its gateway is.
func (p *running) atGateway(config func(*lab.Scene) string) func(testing.TB, *lab.Scene) string {
	return func(t testing.TB, s *lab.Scene) string {
		p.with(config)(t, s)
		return gatewayAddress
	}
}

func atGateway(config func(*lab.Scene) string) func(testing.TB, *lab.Scene) string {
	return new(running).atGateway(config)
}

// python3 is the one that has the modules of the packages.
const python3 = "/usr/bin/python3"

// byBase makes a client of a program that takes a base URL: where the proxy is the gateway it is given the gateway's path, and
// the proxy in no other way. The controls use it without a proxy, and with one that leaks.
func byBase(name, needs string, modules []string, program func(h *internet.Host, url, proxy, ca string) *internet.Program) lab.Client {
	return lab.Client{
		Name: name + " with a base URL", Needs: needs, Modules: modules, Schemes: []string{"http"},
		Program: func(h *internet.Host, c lab.Call) *internet.Program {
			if c.Proxy == "http://"+gatewayAddress {
				return program(h, c.Proxy+"/https/"+strings.TrimPrefix(c.URL, "https://"), "", "")
			}
			return program(h, c.URL, c.Proxy, c.CAFile)
		},
	}
}

const requestsCall = `
import sys, requests
url, proxy, ca = sys.argv[1:4]
r = requests.get(url, proxies={"https": proxy, "http": proxy} if proxy else None, verify=ca or None, timeout=15)
sys.stdout.write(r.text)
print(r.status_code, r.reason)
r.raise_for_status()
`

const fetchCall = `
fetch(process.argv[1]).then(async r => { console.log(await r.text(), r.status, r.statusText); process.exit(r.ok ? 0 : 1) },
	e => { console.error(String(e), String(e.cause)); process.exit(1) });
`

// baseClients are programs that take a base URL.
var baseClients = []lab.Client{
	byBase("curl", "curl", nil, func(h *internet.Host, url, proxy, ca string) *internet.Program {
		args := []string{"--silent", "--show-error", "--verbose", "--max-time", "15", "--fail-with-body"}
		if proxy != "" {
			args = append(args, "--proxy", proxy)
		}
		if ca != "" {
			args = append(args, "--cacert", ca)
		}
		return h.Program("curl", append(args, url)...)
	}),
	byBase("requests", python3, []string{"requests"}, func(h *internet.Host, url, proxy, ca string) *internet.Program {
		return h.Program(python3, "-I", "-c", requestsCall, url, proxy, ca)
	}),
	byBase("node's fetch", "node", nil, func(h *internet.Host, url, _, ca string) *internet.Program { // it ignores every proxy
		p := h.Program("node", "-e", fetchCall, "--", url)
		if ca != "" {
			p.Env = append(p.Env, "NODE_EXTRA_CA_CERTS="+ca)
		}
		return p
	}),
}

// api is an origin that streams: events that wait to be acknowledged, a WebSocket that says what it hears, and messages of gRPC.
type api struct {
	*internet.Host
	name string

	mu   sync.Mutex
	acks chan string
	seen []string // paths, each with the version of HTTP
}

// addAPI puts the origin on a host, permitted and under a further canary.
func addAPI(t testing.TB, s *lab.Scene, tweak ...func(*tls.Config)) *api {
	t.Helper()
	a := &api{Host: lab.Must(s.AddHost("api"))(t), name: other(s, "api"), acks: make(chan string)}
	lab.Must(0, s.Authority.Publish(a.name, a.Host))(t)
	config := &tls.Config{Certificates: []tls.Certificate{s.CA.Issue([]string{a.name, publicName}, nil)}, NextProtos: []string{"h2", "http/1.1"}}
	for _, f := range tweak {
		f(config)
	}
	server := &http.Server{Handler: a, TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0)}
	l := lab.Must(a.Listen(443))(t)
	go server.ServeTLS(l, "", "")
	t.Cleanup(func() { server.Close() })
	s.Permitted = append(s.Permitted, a.Peers(capture.TCP, 443)...)
	s.Readers = append(s.Readers, a.Peers(capture.TCP, 443)...)
	return a
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.seen = append(a.seen, r.Proto+" "+r.URL.Path)
	a.mu.Unlock()
	rc := http.NewResponseController(w)
	switch {
	case r.Header.Get("Content-Type") == "application/grpc":
		a.grpc(w, r, rc)
	case r.URL.Path == "/ws":
		a.webSocket(rc, r)
	case r.URL.Path == "/sse":
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: event %d\n\n", i)
			rc.Flush()
			select {
			case got := <-a.acks: // the client has read it: nothing on the way held it back
				if got != fmt.Sprintf("event %d", i) {
					fmt.Fprintf(w, "data: bad %s\n\n", got)
				}
			case <-r.Context().Done():
				return
			}
		}
	case r.URL.Path == "/ack":
		b, _ := io.ReadAll(r.Body)
		select {
		case a.acks <- string(b):
		case <-r.Context().Done():
		}
	default:
		w.Header().Set("Location", "https://"+r.Host+"/next")
		w.Header().Set("Alt-Svc", fmt.Sprintf("h3=%q", "elsewhere-"+strings.TrimPrefix(r.Host, "api-")+":443"))
		w.WriteHeader(http.StatusFound)
	}
}

// grpc sends each message back as it comes, and the status after the last.
func (a *api) grpc(w http.ResponseWriter, r *http.Request, rc *http.ResponseController) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	rc.Flush()
	head := make([]byte, 5) // a flag and a length (grpc/doc/PROTOCOL-HTTP2.md)
	for {
		if _, err := io.ReadFull(r.Body, head); err != nil {
			break
		}
		message := make([]byte, int(head[3])<<8|int(head[4]))
		if _, err := io.ReadFull(r.Body, message); err != nil {
			break
		}
		_, _ = w.Write(append(head[:5:5], message...))
		rc.Flush()
	}
	w.Header().Set("Grpc-Status", "0")
}

// webSocket sends each short message back (RFC 6455), until the client closes.
func (a *api) webSocket(rc *http.ResponseController, r *http.Request) {
	conn, buffered, err := rc.Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	for {
		frame := make([]byte, 6) // of a masked message of up to 125 octets
		if _, err := io.ReadFull(buffered, frame); err != nil {
			return
		}
		message := make([]byte, frame[1]&0x7f)
		if _, err := io.ReadFull(buffered, message); err != nil {
			return
		}
		for i := range message {
			message[i] ^= frame[2+i%4]
		}
		if _, err := conn.Write(append([]byte{frame[0], byte(len(message))}, message...)); err != nil || frame[0]&0xf == 8 {
			return
		}
	}
}

// leakyGatewayRole is a gateway as one would write it in a minute: it resolves as the host does.
const leakyGatewayRole = "leaky gateway"

func leakyGateway(args []string) int {
	l, err := net.Listen("tcp", "127.0.0.1:8088")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("listening on", l.Addr())
	var transport http.RoundTripper = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	if len(args) > 0 { // h3
		transport = leakyHTTP3()
	}
	forward := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			host, path, _ := strings.Cut(strings.TrimPrefix(r.In.URL.Path, "/https/"), "/")
			r.Out.URL, r.Out.Host = &url.URL{Scheme: "https", Host: host, Path: "/" + path}, host
		},
	}
	if err := http.Serve(l, forward); err != nil {
		fmt.Println(err)
	}
	return 1
}
