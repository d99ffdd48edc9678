// Package http2 stands in for the library of that name.
package http2

import "net"

type Transport struct {
	AllowHTTP      bool
	DialTLSContext func(network, addr string) (net.Conn, error)
}
