package hop

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"watertight/fault"
	"watertight/name"
)

// wrong is a proxy that does something wrong, and what the client is to learn of it.
type wrong struct {
	title  string
	server func(net.Conn)
	want   fault.Code
	says   string
}

func checkFaults(t *testing.T, proxy string, cases []wrong) {
	t.Helper()
	for _, tt := range cases {
		for _, target := range []string{"secret-name.example:443", "192.0.2.7:443"} {
			t.Run(tt.title+"/"+target, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := &memory{at: map[string]func(net.Conn){}}
					if tt.server != nil {
						m.at["gw.example:1080"] = tt.server
					}
					chain, err := Chain(under(m, noLookup), mustProxies(t, proxy))
					if err != nil {
						t.Fatal(err)
					}
					conn, err := chain.Dial(t.Context(), name.Must(target))
					if err == nil {
						conn.Close()
						t.Fatal("it was dialled")
					}
					f := fault.Of(err)
					want := tt.want
					if strings.HasPrefix(string(want), "DNS_") && target == "192.0.2.7:443" {
						want = fault.ConnectUnreachable // the status, 502: no name was asked for
					}
					if f.Code != want || !strings.Contains(f.Message, "gw.example:1080") {
						t.Errorf("got %v, want %s", f, want)
					}
					if want == tt.want && !strings.Contains(f.Message, tt.says) {
						t.Errorf("%q does not say %q", f.Message, tt.says)
					}
					if text := f.Error() + f.Message + f.NextStep(); strings.Contains(text, "hunter2") || strings.Contains(text, "aHVudGVyMg") {
						t.Errorf("the password is in %q", text)
					}
					if strings.Contains(f.Message, "secret-name") {
						t.Errorf("the target is in %q", f.Message)
					}
					synctest.Wait() // the proxy's end ends too: the connection was closed
				})
			})
		}
	}
}

// refuses answers the greeting and then the request of a SOCKS client.
func refuses(reply string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 512))
		_, _ = io.WriteString(conn, "\x05\x00")
		_, _ = conn.Read(make([]byte, 512))
		_, _ = io.WriteString(conn, reply)
	}
}

func closesAtOnce(net.Conn) {}

func closesAfter(answer string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, answer)
	}
}

func endless(conn net.Conn) {
	_, _ = conn.Read(make([]byte, 512))
	for {
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+strings.Repeat("A: b\r\n", 1000)); err != nil {
			return
		}
	}
}

func TestAFailingSOCKSProxyIsExplained(t *testing.T) {
	const rest = "\x00\x01\x00\x00\x00\x00\x00\x00"
	checkFaults(t, "socks5://gw.example:1080", []wrong{
		{"refused", nil, fault.HopRefused, "the proxy gw.example:1080 refused the connection"},
		{"dead", silent, fault.HopRefused, "accepts connections but does not answer"},
		{"closes at once", closesAtOnce, fault.HopRefused, "closed the connection"},
		{"closes after the method", script(t, "\x05\x01\x00", "\x05\x00"), fault.HopRefused, "closed the connection"},
		{"closes in the reply", refuses("\x05\x00\x00\x01"), fault.HopRefused, "closed the connection"},
		{"silent after the method", says("\x05\x00"), fault.ConnectTimeout, "did not connect in time"},
		{"speaks HTTP", says("HTTP/1.1 400 Bad Request\r\n\r\n"), fault.HopRefused, "does not answer as a SOCKS5 proxy should"},
		{"garbage", says("\xde\xad\xbe\xef"), fault.HopRefused, "does not answer as a SOCKS5 proxy should"},
		{"garbage in the reply", refuses("\xde\xad\xbe\xef\xde\xad\xbe\xef"), fault.HopRefused, "does not answer as"},
		{"address type 9", refuses("\x05\x00\x00\x09\x00\x00\x00\x00\x00\x00"), fault.HopRefused, "does not answer as"},
		{"wants a password", says("\x05\xff"), fault.HopAuth, "asks for a user and a password"},
		{"chooses what was not offered", says("\x05\x02"), fault.HopRefused, "does not answer as"},
		{"reply 1", refuses("\x05\x01" + rest), fault.HopRefused, "general failure"},
		{"reply 2", refuses("\x05\x02" + rest), fault.HopRefused, "not allowed by the rules"},
		{"reply 3", refuses("\x05\x03" + rest), fault.ConnectUnreachable, "no route"},
		{"reply 4", refuses("\x05\x04" + rest), fault.ConnectUnreachable, "cannot reach or resolve"},
		{"reply 5", refuses("\x05\x05" + rest), fault.ConnectRefused, "refused the connection"},
		{"reply 6", refuses("\x05\x06" + rest), fault.ConnectTimeout, "in time"},
		{"reply 7", refuses("\x05\x07" + rest), fault.HopRefused, "command not supported"},
		{"reply 8", refuses("\x05\x08" + rest), fault.HopRefused, "address type not supported"},
		{"reply 240", refuses("\x05\xf0" + rest), fault.HopRefused, "reply 240"},
		{"reply 5, cut short", refuses("\x05\x05"), fault.ConnectRefused, "refused the connection"},
	})
	checkFaults(t, "socks5://user:hunter2@gw.example:1080", []wrong{
		{"wrong password", script(t, "\x05\x01\x02", "\x05\x02", "\x01\x04user\x07hunter2", "\x01\x01"), fault.HopAuth, "refused user and password"},
		{"closes on a wrong password", script(t, "\x05\x01\x02", "\x05\x02", "\x01\x04user\x07hunter2"), fault.HopRefused, "closed the connection"},
		{"takes no password", says("\x05\xff"), fault.HopAuth, "takes no user and password"},
		{"takes the password for nothing", says("\x05\x00"), fault.HopRefused, "does not answer as"},
		{"garbage verdict", script(t, "\x05\x01\x02", "\x05\x02", "\x01\x04user\x07hunter2", "\x09\x00"), fault.HopRefused, "does not answer as"},
	})
}

func TestAFailingHTTPProxyIsExplained(t *testing.T) {
	status := func(line, fields string) func(net.Conn) { return says("HTTP/1.1 " + line + "\r\n" + fields + "\r\n") }
	proxyStatus := func(parameters string) func(net.Conn) {
		return status("502 Bad Gateway", "Proxy-Status: exit; "+parameters+"\r\n")
	}
	checkFaults(t, "http://user:hunter2@gw.example:1080", []wrong{
		{"refused", nil, fault.HopRefused, "the proxy gw.example:1080 refused the connection"},
		{"dead", silent, fault.ConnectTimeout, "did not connect in time"},
		{"closes at once", closesAtOnce, fault.HopRefused, "closed the connection"},
		{"stops in the head", says("HTTP/1.1 200 OK\r\nVia"), fault.ConnectTimeout, "did not connect in time"},
		{"closes in the head", closesAfter("HTTP/1.1 200 OK\r\nVia"), fault.HopRefused, "closed the connection"},
		{"closes on the request", closesAfter(""), fault.HopRefused, "closed the connection"},
		{"speaks SOCKS", says("\x05\xff"), fault.HopRefused, "does not answer as an HTTP proxy should"},
		{"garbage", says("\xde\xad\xbe\xef"), fault.HopRefused, "does not answer as an HTTP proxy should"},
		{"endless head", endless, fault.HopRefused, "does not answer as an HTTP proxy should"},
		{"bare LF", says("HTTP/1.1 200 OK\n\n"), fault.HopRefused, "does not answer as an HTTP proxy should"},
		{"wrong password", status("407 Proxy Authentication Required", "Proxy-Authenticate: Basic\r\n"), fault.HopAuth, "refused user and password: 407 Proxy Authentication Required"},
		{"wrong password, said by a server's status", status("401 Unauthorized", "WWW-Authenticate: Basic\r\n"), fault.HopAuth, "refused user and password: 401 Unauthorized"},
		{"repeats the password", status("407 no user:hunter2 here", ""), fault.HopAuth, "refused user and password: 407"},
		{"repeats the password encoded", status("407 no dXNlcjpodW50ZXIy here", ""), fault.HopAuth, "refused user and password: 407"},
		{"repeats the name", status("502 no Secret-Name.example", ""), fault.ConnectUnreachable, "cannot reach the destination: 502"},
		{"repeats the password as an error type", proxyStatus("error=hunter2"), fault.ConnectUnreachable, "502"},
		{"402", status("402 Payment Required", ""), fault.HopRefused, "refused the request: 402 Payment Required"},
		{"403", status("403 Forbidden", ""), fault.HopRefused, "refused the request: 403 Forbidden"},
		{"302", status("302 Found", "Location: http://portal.example/\r\n"), fault.HopRefused, "refused the request: 302 Found"},
		{"101", status("101 Switching Protocols", ""), fault.HopRefused, "refused the request: 101"},
		{"502", status("502 Bad Gateway", ""), fault.ConnectUnreachable, "cannot reach the destination: 502 Bad Gateway"},
		{"503", status("503 Service Unavailable", ""), fault.ConnectUnreachable, "503"},
		{"504", status("504 Gateway Timeout", ""), fault.ConnectTimeout, "504"},
		{"long reason", status("403 "+strings.Repeat("x", 1000), ""), fault.HopRefused, "xxx..."},
		{"connection_refused", proxyStatus("error=connection_refused"), fault.ConnectRefused, "refused by the destination"},
		{"connection_timeout", proxyStatus("error=connection_timeout"), fault.ConnectTimeout, "in time"},
		{"unroutable", proxyStatus("error=destination_ip_unroutable"), fault.ConnectUnreachable, "cannot reach"},
		{"prohibited", proxyStatus("error=destination_ip_prohibited"), fault.HopRefused, "refused the request"},
		{"denied", proxyStatus("error=http_request_denied"), fault.HopRefused, "refused the request"},
		{"unknown error type", proxyStatus("error=whatever"), fault.ConnectUnreachable, "502"},
		{"dns_timeout", proxyStatus("error=dns_timeout"), fault.DNSTimeout, "could not resolve"},
		{"dns_error", proxyStatus("error=dns_error"), fault.DNSServFail, "could not resolve"},
		{"dns_error NXDOMAIN", proxyStatus(`error=dns_error; rcode="NXDOMAIN"`), fault.DNSNXDomain, "does not exist"},
		{"dns_error NOERROR", proxyStatus(`error=dns_error; rcode="NOERROR"`), fault.DNSNoData, "no address"},
		{"dns_error SERVFAIL", proxyStatus(`error=dns_error; rcode="SERVFAIL"`), fault.DNSServFail, "could not resolve"},
	})
	checkFaults(t, "http://gw.example:1080", []wrong{
		{"wants a password", status("407 Proxy Authentication Required", ""), fault.HopAuth, "asks for a user and a password"},
	})
}

func TestALaterProxyThatFailsIsNotTakenForTheTarget(t *testing.T) {
	m := &memory{}
	m.at = map[string]func(net.Conn){"first.example:1080": m.socksProxy, "first.example:3128": m.httpProxy}
	lookup := func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("192.0.2.2")}, nil
	}
	for _, proxies := range [][]string{
		{"socks5://first.example", "socks5://192.0.2.2"},
		{"http://first.example:3128", "socks5://192.0.2.2"},
		{"socks5://first.example", "http://second.example:1080"},
	} {
		chain, err := Chain(under(m, lookup), mustProxies(t, proxies...))
		if err != nil {
			t.Fatal(err)
		}
		_, err = chain.Dial(t.Context(), name.Must("a.example:443"))
		f := fault.Of(err)
		if f.Code != fault.HopRefused || !strings.Contains(f.Message, "refused the connection, through the proxy first.example") {
			t.Errorf("%v: %v", proxies, f)
		}
	}
}

func TestTheTroublesOfTheChannelUnderneathStayWhatTheyAre(t *testing.T) {
	for code, want := range map[fault.Code]fault.Code{
		fault.ConnectRefused: fault.HopRefused, fault.ConnectTimeout: fault.HopRefused, fault.ConnectUnreachable: fault.HopRefused,
		fault.DNSNXDomain: fault.HopRefused, fault.DNSNoData: fault.HopRefused, fault.DNSServFail: fault.HopRefused,
		fault.NotReady: fault.NotReady, fault.ResolverUntrusted: fault.ResolverUntrusted, fault.Limit: fault.Limit,
		fault.HopAuth: fault.HopAuth, fault.PolicyPrivateTarget: fault.PolicyPrivateTarget,
	} {
		below := DialerFunc(func(context.Context, name.Target) (net.Conn, error) { return nil, fault.New(code, "below", nil) })
		chain, err := Chain(under(below, noLookup), mustProxies(t, "socks5://gw.example"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := chain.Dial(t.Context(), name.Must("a.example:443")); fault.Of(err).Code != want {
			t.Errorf("%s: got %v", code, err)
		}
	}
}
