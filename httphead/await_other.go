//go:build !unix

package httphead

import "net"

// await reads what comes next. Where the system does not say that something is there, it holds a buffer meanwhile.
func (r *Reader) await(*net.TCPConn) error { return r.more() }
