// Package wire is the door: it opens sockets and disarms the host's resolver, and starts no programs.
package wire

import (
	"net"
	"net/http"
	"os/exec"
)

func door() (net.Conn, error) {
	net.DefaultResolver = &net.Resolver{PreferGo: true}
	http.DefaultClient = nil
	_ = exec.Command("true") // want `exec.Command: `
	return (&net.Dialer{}).Dial("tcp", "192.0.2.1:1")
}

func DialAsOthers() (net.Conn, error) { return door() }

func DialAddr() error { return nil }
