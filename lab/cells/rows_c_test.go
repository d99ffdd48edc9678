package cells

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
)

func TestC_WindowsInTime(t *testing.T) {
	t.Parallel()
	t.Run("C1/before the resolver has answered", func(t *testing.T) {
		t.Parallel()
		var proxy running
		run(t, lab.Cell{
			Arrange: answering(dnstest.Silent),
			Start:   proxy.unready(dot),
			Refused: "(NOT_READY)",
			After: func(t testing.TB, s *lab.Scene) {
				if status, text := admin(t, s, "/readyz"); status != "503" || !strings.Contains(text, "direct") {
					t.Errorf("/readyz says %s: %s", status, text)
				}
				if text := names(s.Resolver); text != "" {
					t.Errorf("before it was ready it asked for: %s", text)
				}
				s.Resolver.Handle(s.Resolver.Recurse)
				lab.Must(proxy.AwaitOutput(t.Context(), "ready:"))(t)
				if status, text := admin(t, s, "/readyz"); status != "200" {
					t.Errorf("/readyz says %s: %s", status, text)
				}
				served(t, s, other(s, "second"))
			},
		})
	})
	t.Run("C1/a request that waits for readiness", func(t *testing.T) {
		t.Parallel()
		release := make(chan struct{})
		run(t, lab.Cell{
			Arrange: func(_ testing.TB, s *lab.Scene) { s.Resolver.Handle(dnstest.Held(s.Resolver.Recurse, release)) },
			Start:   new(running).unready(dot),
			Before: func(t testing.TB, s *lab.Scene) {
				await(t, "the probe", func() bool { return len(s.Resolver.DoT.Log()) > 0 })
				close(release)
			},
		})
	})

	for _, families := range internet.AllFamilies() {
		t.Run("C2/reload during traffic/"+string(families), func(t *testing.T) { reloadDuringTraffic(t, families) })
	}
	t.Run("C2/a reload while a look-up is under way", reloadDuringALookup)
	t.Run("C2/a reload that is refused", func(t *testing.T) {
		var proxy running
		run(t, lab.Cell{Start: proxy.with(dot), Before: func(t testing.TB, s *lab.Scene) {
			write(t, s, strings.Replace(dot(s), "tls://", "udp://", 1))
			reload(t, proxy, "was not reloaded", 1)
		}})
	})
	t.Run("C2/a reload to a resolver that is gone", func(t *testing.T) {
		t.Parallel() // it gives the new channel its time
		var proxy running
		run(t, lab.Cell{
			Start: proxy.with(dot), Refused: "(NOT_READY)",
			Before: func(t testing.TB, s *lab.Scene) {
				write(t, s, doh(s))
				lab.Must(0, s.Resolver.DoH.Close())(t)
				reload(t, proxy, "was reloaded", 1)
			},
		})
	})
	for _, signal := range []struct {
		id string
		by syscall.Signal
	}{{"C2/kill -9", syscall.SIGKILL}, {"C2/an orderly stop", syscall.SIGTERM}} {
		t.Run(signal.id, func(t *testing.T) {
			var proxy running
			run(t, lab.Cell{Start: proxy.with(doh), Refused: "*", Before: func(t testing.TB, s *lab.Scene) {
				served(t, s, other(s, "before"))
				batch := startBatch(t, s, "during")
				await(t, "the first calls", func() bool { return len(s.Origin.Visits()) > 2 })
				lab.Must(0, proxy.Signal(signal.by))(t)
				<-proxy.Done()
				batch.Wait() // some were served, the others saw an error: the packets decide
			}})
		})
	}

	for _, via := range transports {
		if !via.tls {
			continue // it has no connections that could be idle: see the rows of the stamps
		}
		play(t, "C4/"+via.name+"/idle connections are made again", lab.Cell{Start: with(via.config), After: func(t testing.TB, s *lab.Scene) {
			for i := range 3 {
				s.Resolver.DropConns()
				served(t, s, other(s, fmt.Sprint("again", i)))
			}
			if n := s.Resolver.Conns(); n < 4 {
				t.Errorf("there were %d connections to the resolver only", n)
			}
		}})
		play(t, "C4/"+via.name+"/and are checked again", lab.Cell{
			Start: with(via.config), Refused: "(RESOLVER_UNTRUSTED)",
			Before: func(t testing.TB, s *lab.Scene) {
				served(t, s, other(s, "before"))
				lab.Settle(t, s)
				swap(t, s, dnstest.NewCA().Issue(nil, s.Resolver.Certified()))
			},
		})
	}

	t.Run("C5/what is cached is asked again in the same channel, which dies with its configuration", diesWithItsChannel)
	t.Run("C5/what has expired stands in only where the configuration says so, and in its own channel", standsInItsChannel)
}

// reload sends SIGHUP and waits until the log says so for the nth time.
func reload(t testing.TB, p running, says string, nth int) {
	t.Helper()
	lab.Must(0, p.Signal(syscall.SIGHUP))(t)
	await(t, "the log says "+says, func() bool { return strings.Count(p.Sofar().Text(), says) >= nth })
}

const batchSize = 20

// startBatch lets one curl call many names, one after the other.
func startBatch(t testing.TB, s *lab.Scene, prefix string) *internet.Process {
	t.Helper()
	args := []string{"--silent", "--show-error", "--fail", "--max-time", "15", "--cacert", s.CAFile, "--proxy", "http://" + lab.ProxyAddress}
	for i := range batchSize {
		args = append(args, "https://"+other(s, fmt.Sprint(prefix, i))+"/")
	}
	return lab.Must(s.Client.Program("curl", args...).Start(t.Context()))(t)
}

// reloadDuringTraffic swaps the resolver's transport again and again under a stream of calls and an open tunnel.
func reloadDuringTraffic(t *testing.T, families internet.Families) {
	var proxy running
	run(t, lab.Cell{Families: families, Start: proxy.with(dot), After: func(t testing.TB, s *lab.Scene) {
		ask, end := openTunnel(t, s)
		defer end() // or the stop would wait for it
		ask()
		for i, config := range []func(*lab.Scene) string{doh, dot, doh, dot} {
			prefix := fmt.Sprint("round", i, "-")
			before := len(s.Origin.Visits())
			batch := startBatch(t, s, prefix)
			await(t, "the first calls", func() bool { return len(s.Origin.Visits()) > before })
			write(t, s, config(s))
			reload(t, proxy, "was reloaded", i+1)
			if r := batch.Wait(); r.Err != nil || r.Code != 0 || strings.Count(r.Stdout, internet.Greeting) != batchSize {
				t.Errorf("reload %d: %d of %d calls were served (exit code %d): %s", i, strings.Count(r.Stdout, internet.Greeting), batchSize, r.Code, r.Stderr)
			}
			ask()
		}
	}})
}

// reloadDuringALookup puts a channel with another resolver in force while the one before still looks a name up: that
// request is decided by the old configuration alone, and the next one by the new.
func reloadDuringALookup(t *testing.T) {
	var proxy running
	var second *internet.Resolver
	run(t, lab.Cell{
		Arrange: func(t testing.TB, s *lab.Scene) {
			second = lab.Must(s.AddResolver("dns2.example.net"))(t)
			s.Permitted = append(s.Permitted, second.Peers()...)
			s.Asking = append(s.Asking, second.Host)
		},
		Start: proxy.with(func(s *lab.Scene) string { return strings.Replace(dot(s), "timeout: 5s", "timeout: 20s", 1) }),
		After: func(t testing.TB, s *lab.Scene) {
			host, next := other(s, "under-way"), other(s, "next")
			release := make(chan struct{})
			s.Resolver.Handle(dnstest.Held(s.Resolver.Recurse, release))
			waiting := lab.Must(caller(s, host).Start(t.Context()))(t)
			await(t, "the look-up", func() bool { return asked(s.Resolver, host) > 0 })
			write(t, s, direct(s, second.DoTURL()))
			reload(t, proxy, "was reloaded", 1)
			served(t, s, next)
			close(release)
			greeted(t, host, waiting.Wait())
			if asked(second, host) > 0 || asked(s.Resolver, next) > 0 {
				t.Errorf("the first resolver saw %q and the second %q", names(s.Resolver), names(second))
			}
		},
	})
}

// openTunnel opens a tunnel to the origin, and gives functions that make one more request in it, and that end it.
func openTunnel(t testing.TB, s *lab.Scene) (ask, end func()) {
	t.Helper()
	host := other(s, "tunnel")
	conn := lab.Must(s.Client.Dial(t.Context(), proxyAt))(t)
	end = func() { _ = conn.Close() }
	t.Cleanup(end)
	fmt.Fprintf(conn, "CONNECT %[1]s:443 HTTP/1.1\r\nHost: %[1]s:443\r\n\r\n", host)
	head := make([]byte, len("HTTP/1.1 200"))
	for r := bufio.NewReaderSize(conn, 16); ; {
		line := lab.Must(r.ReadString('\n'))(t) // the origin says nothing before the client does
		if strings.HasPrefix(line, "HTTP/1.1") {
			copy(head, line)
		}
		if line == "\r\n" {
			break
		}
	}
	if string(head) != "HTTP/1.1 200" {
		t.Fatalf("the proxy said %q", head)
	}
	secured := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: s.CA.Pool(), MinVersion: tls.VersionTLS13})
	from := bufio.NewReader(secured)
	ask = func() {
		t.Helper()
		request := lab.Must(http.NewRequest(http.MethodGet, "https://"+host+"/", nil))(t)
		if err := request.Write(secured); err != nil {
			t.Fatal("the tunnel:", err)
		}
		response := lab.Must(http.ReadResponse(from, request))(t)
		defer func() {
			_, _ = io.Copy(io.Discard, response.Body) // the next response begins behind it
			_ = response.Body.Close()
		}()
		text := make([]byte, len(internet.Greeting+host))
		if _, err := io.ReadFull(response.Body, text); err != nil || string(text) != internet.Greeting+host {
			t.Fatalf("the tunnel: %v: %q", err, text)
		}
	}
	return ask, end
}

// diesWithItsChannel lets a record expire: without a request nobody asks for it again. With one, the channel that had it
// does, and no other; once the channel is gone, nobody asks for it, and nothing is connected to its resolver.
func diesWithItsChannel(t *testing.T) {
	var proxy running
	var second *internet.Resolver
	near := func(s *lab.Scene) string {
		return dot(s) + "  second: {resolver: " + resolver(s, second.DoTURL()) + "}\nroutes:\n" +
			"  - {to: never.example.net, channel: direct}\n  - {to: \"*\", channel: second}\n"
	}
	run(t, lab.Cell{
		Arrange: func(t testing.TB, s *lab.Scene) {
			second = lab.Must(s.AddResolver("dns2.example.net"))(t)
			s.Permitted = append(s.Permitted, second.Peers()...)
			s.Asking = []*internet.Host{second.Host}
			for _, a := range s.Origin.Addrs() {
				kind := " A "
				if a.Is6() {
					kind = " AAAA "
				}
				for _, host := range []string{s.Canary, other(s, "clock")} {
					lab.Must(0, s.Authority.Add(host+". 1"+kind+a.String()))(t)
				}
			}
		},
		Start: proxy.with(near),
		After: func(t testing.TB, s *lab.Scene) {
			once := asked(second, s.Canary)
			clock := other(s, "clock") // its record expires after the canary's
			served(t, s, clock)
			started := asked(second, clock)
			await(t, "a record to expire that came later", func() bool {
				served(t, s, clock)
				return asked(second, clock) > started
			})
			if n := asked(second, s.Canary); n != once {
				t.Errorf("what expired was asked for %d times without a request", n-once)
			}
			await(t, "the record to be asked for again", func() bool {
				served(t, s, s.Canary)
				return asked(second, s.Canary) > once
			})
			nobodyAsked(t, s)
			write(t, s, dot(s))
			reload(t, proxy, "was reloaded", 1)
			await(t, "the end of the channel's connections", func() bool { return second.DoT.Live() == 0 })
			until := len(second.DoT.Log())
			s.Asking = append(s.Asking, s.Resolver.Host)
			served(t, s, s.Canary)
			first := asked(s.Resolver, s.Canary)
			if first == 0 {
				t.Error("the cache of a channel outlived it")
			}
			await(t, "the record to expire once more, with time for a refresh", func() bool {
				served(t, s, s.Canary)
				return asked(s.Resolver, s.Canary) > first
			})
			if n := len(second.DoT.Log()); n != until {
				t.Errorf("%d questions came from a channel that is gone", n-until)
			}
		},
	})
}

// standsInItsChannel lets a record expire while its resolver fails: it stands in, nothing goes elsewhere, and a channel
// that was changed does not have it. The control is the same without `stale`, at the end.
func standsInItsChannel(t *testing.T) {
	var proxy running
	stale := func(s *lab.Scene) string {
		return strings.Replace(dot(s), "timeout: 5s", "timeout: 5s, cache: {stale: 1h}", 1)
	}
	failing := func(t testing.TB, s *lab.Scene) (refusals bool) {
		s.Resolver.Handle(dnstest.RCode(2))
		before := asked(s.Resolver, s.Canary)
		await(t, "the record to expire and to be asked for", func() bool {
			refusals = strings.Contains(call(t, s, s.Canary).Text(), "DNS_SERVFAIL") || refusals
			return asked(s.Resolver, s.Canary) > before
		})
		refusals = strings.Contains(call(t, s, s.Canary).Text(), "DNS_SERVFAIL") || refusals
		s.Resolver.Handle(s.Resolver.Recurse)
		return refusals
	}
	run(t, lab.Cell{
		Arrange: func(t testing.TB, s *lab.Scene) {
			for _, a := range s.Origin.Addrs() {
				kind := " A "
				if a.Is6() {
					kind = " AAAA "
				}
				lab.Must(0, s.Authority.Add(s.Canary+". 1"+kind+a.String()))(t)
			}
		},
		Start: proxy.with(stale),
		After: func(t testing.TB, s *lab.Scene) {
			if failing(t, s) {
				t.Error("an expired answer did not stand in")
			}
			s.Resolver.Handle(dnstest.RCode(2))
			write(t, s, strings.Replace(stale(s), "timeout: 5s", "timeout: 3s", 1))
			reload(t, proxy, "was reloaded", 1)
			refused(t, s, s.Canary, "DNS_SERVFAIL")
			s.Resolver.Handle(s.Resolver.Recurse)
			write(t, s, dot(s))
			reload(t, proxy, "was reloaded", 2)
			served(t, s, s.Canary)
			if !failing(t, s) {
				t.Error("an expired answer stands in unasked, so that this cell proves nothing")
			}
		},
	})
}
