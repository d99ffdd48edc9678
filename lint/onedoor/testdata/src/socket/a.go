// Package socket opens sockets in every way that is forbidden, and uses given ones as it should.
package socket

import (
	"context"
	"crypto/tls"
	"log/syslog"
	"net"
	"net/http"
	"net/rpc"
	"net/smtp"
	"net/textproto"
	"os"
	"syscall"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/icmp"
	"golang.org/x/net/websocket"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

type embedded struct{ net.Dialer } // want `net.Dialer: `

type alias = net.Dialer // want `net.Dialer: `

func forbidden(ctx context.Context, e embedded, f *os.File) {
	_, _ = net.Dial("tcp", "192.0.2.1:1")           // want `net.Dial: only wire opens sockets; dial through the channel, or call wire with a netip.AddrPort \(onedoor: socket\)`
	_, _ = net.DialTimeout("tcp", "192.0.2.1:1", 0) // want `net.DialTimeout: `
	_, _ = net.DialTCP("tcp", nil, nil)             // want `net.DialTCP: `
	_, _ = net.DialUDP("udp", nil, nil)             // want `net.DialUDP: `
	_, _ = net.DialIP("ip", nil, nil)               // want `net.DialIP: `
	_, _ = net.DialUnix("unix", nil, nil)           // want `net.DialUnix: `
	_, _ = net.Listen("tcp", "127.0.0.1:0")         // want `net.Listen: `
	_, _ = net.ListenPacket("udp", "127.0.0.1:0")   // want `net.ListenPacket: `
	_, _ = net.ListenTCP("tcp", nil)                // want `net.ListenTCP: `
	_, _ = net.ListenUDP("udp", nil)                // want `net.ListenUDP: `
	_, _ = net.ListenMulticastUDP("udp", nil, nil)  // want `net.ListenMulticastUDP: `
	_, _ = net.ListenUnix("unix", nil)              // want `net.ListenUnix: `
	_, _ = net.FileConn(f)                          // want `net.FileConn: `
	_, _ = net.FileListener(f)                      // want `net.FileListener: `
	d := net.Dialer{}                               // want `net.Dialer: `
	_, _ = d.DialContext(ctx, "tcp", "192.0.2.1:1") // want `net.Dialer.DialContext: `
	_ = d.Dial                                      // want `net.Dialer.Dial: `
	_, _ = e.DialContext(ctx, "tcp", "192.0.2.1:1") // want `net.Dialer.DialContext: `
	_ = &alias{}
	_ = net.ListenConfig{}                                 // want `net.ListenConfig: `
	_, _ = tls.Dial("tcp", "192.0.2.1:1", nil)             // want `tls.Dial: `
	_, _ = tls.Listen("tcp", "127.0.0.1:0", nil)           // want `tls.Listen: `
	_ = (&tls.Dialer{}).DialContext                        // want `tls.Dialer: ` `tls.Dialer.DialContext: `
	_ = http.ListenAndServe("127.0.0.1:0", nil)            // want `http.ListenAndServe: it opens a socket of its own`
	_ = (&http.Server{}).ListenAndServe()                  // want `http.Server.ListenAndServe: `
	_, _ = rpc.Dial("tcp", "192.0.2.1:1")                  // want `rpc.Dial: `
	_ = smtp.SendMail("192.0.2.1:1", nil, "", nil, nil)    // want `smtp.SendMail: `
	_, _ = syslog.New(0, "")                               // want `syslog.New: `
	_, _ = textproto.Dial("tcp", "192.0.2.1:1")            // want `textproto.Dial: `
	_, _ = icmp.ListenPacket("ip4:icmp", "192.0.2.1")      // want `icmp.ListenPacket: `
	_, _ = websocket.Dial("ws://192.0.2.1", "", "")        // want `websocket.Dial: `
	_ = conn.NewDefaultBind()                              // want `conn.NewDefaultBind: it opens a socket or an interface of the host`
	_ = quic.DialAddr("192.0.2.1:1")                       // want `quic-go.DialAddr: `
	_ = quic.ListenAddr("127.0.0.1:1")                     // want `quic-go.ListenAddr: `
	_ = http3.ListenAndServeQUIC("127.0.0.1:1")            // want `http3.ListenAndServeQUIC: `
	_ = (&http3.Server{}).ListenAndServe()                 // want `http3.Server.ListenAndServe: `
	_, _ = syscall.Socket(0, 0, 0)                         // want `syscall.Socket: only wire opens sockets, and this is the system call that does`
	_ = syscall.Connect(0, nil)                            // want `syscall.Connect: `
	_ = syscall.Bind(0, nil)                               // want `syscall.Bind: `
	_, _, _ = syscall.Syscall(syscall.SYS_SOCKET, 0, 0, 0) // want `syscall.Syscall: ` `syscall.SYS_SOCKET: `
	_, _ = unix.Socket(0, 0, 0)                            // want `unix.Socket: `
	_ = unix.Connect                                       // want `unix.Connect: `
	_ = unix.Bind(0, nil)                                  // want `unix.Bind: `
	_ = unix.SYS_IO_URING_SETUP                            // want `unix.SYS_IO_URING_SETUP: `
	_ = &quic.Transport{}                                  // want `quic-go.Transport\{\}: without Conn`
}

func allowed(l net.Listener, c net.PacketConn) {
	_ = http.Serve(l, nil)
	_ = (&http.Server{}).Serve(l)
	_ = (&http3.Server{}).Serve(c)
	_ = tls.NewListener(l, nil)
	_ = tls.Client(nil, nil)
	_ = rpc.NewClient(nil)
	_ = quic.Dial(c, nil)
	_ = (&quic.Transport{Conn: c}).Dial(nil)
	_, _ = unix.Splice(0, 1, 2)
	_, _ = unix.Socketpair(1, 1, 0)
	_, _ = net.Pipe()
	var _ net.Listener = l
	_ = net.TCPAddrFromAddrPort
}
