package relay

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

func copyBoth(_ context.Context, a, b net.Conn) (up, down int64, err error) {
	var wg sync.WaitGroup
	wg.Go(func() {
		up, _ = io.Copy(b, a)
		b.(*net.TCPConn).CloseWrite()
	})
	down, err = io.Copy(a, b)
	a.(*net.TCPConn).CloseWrite()
	wg.Wait()
	a.Close()
	b.Close()
	return
}

func BenchmarkBulk(b *testing.B) {
	chunk := make([]byte, 256<<10)
	for name, relay := range map[string]func(context.Context, net.Conn, net.Conn) (int64, int64, error){
		"Pipe": Pipe, "ioCopy": copyBoth,
	} {
		b.Run(name, func(b *testing.B) {
			client, a := pair(b)
			server, s := pair(b)
			go relay(b.Context(), a, s)
			b.SetBytes(int64(len(chunk)))
			go func() {
				for {
					if _, err := server.Write(chunk); err != nil {
						return
					}
				}
			}()
			buf := make([]byte, len(chunk))
			for b.Loop() {
				if _, err := io.ReadFull(client, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkShortTunnel(b *testing.B) {
	for name, relay := range map[string]func(context.Context, net.Conn, net.Conn) (int64, int64, error){
		"Pipe": Pipe, "ioCopy": copyBoth,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 512)
			for b.Loop() {
				b.StopTimer()
				client, a := pair(b)
				server, s := pair(b)
				b.StartTimer()
				done := make(chan struct{})
				go func() { relay(b.Context(), a, s); close(done) }()
				client.Write(buf[:100])
				server.Read(buf)
				server.Write(buf)
				server.Close()
				io.ReadAll(client)
				client.Close()
				<-done
			}
		})
	}
}
