//go:build cgo && !netgo

package ignored

import "net"

var tagged = net.Dial
