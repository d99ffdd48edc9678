package hop

import (
	"net"
	"testing"

	"watertight/name"
)

func BenchmarkDialThroughAProxyInMemory(b *testing.B) {
	for _, url := range []string{"socks5://gw.example:1", "http://gw.example:1"} {
		b.Run(url, func(b *testing.B) {
			answer := "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
			greeting := func(conn net.Conn) { _, _ = conn.Read(make([]byte, 64)); _, _ = conn.Write([]byte("\x05\x00")) }
			if url[0] == 'h' {
				answer, greeting = "HTTP/1.1 200 OK\r\n\r\n", func(net.Conn) {}
			}
			m := &memory{at: map[string]func(net.Conn){"gw.example:1": func(conn net.Conn) {
				greeting(conn)
				says(answer)(conn)
			}}}
			p, err := ParseProxy(url)
			if err != nil {
				b.Fatal(err)
			}
			chain, err := Chain(under(m, noLookup), []Proxy{p})
			if err != nil {
				b.Fatal(err)
			}
			t := name.Must("a.example:443")
			b.ReportAllocs()
			for b.Loop() {
				m.dialed = m.dialed[:0]
				conn, err := chain.Dial(b.Context(), t)
				if err != nil {
					b.Fatal(err)
				}
				conn.Close()
			}
		})
	}
}
