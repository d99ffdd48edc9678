// Package dot hides what it calls behind a dot import and an alias.
package dot

import (
	. "net"
	web "net/http"
)

func forbidden() {
	_, _ = Dial("tcp", "192.0.2.1:1")      // want `net.Dial: `
	_, _ = LookupHost("name.example")      // want `net.LookupHost: `
	_, _ = web.Get("http://name.example/") // want `http.Get: `
}
