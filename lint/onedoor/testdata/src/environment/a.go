// Package environment obeys proxy variables, which it may not.
package environment

import (
	"net/http"

	"golang.org/x/net/http/httpproxy"
)

func forbidden() {
	_ = http.ProxyFromEnvironment   // want `http.ProxyFromEnvironment: proxy variables of the environment are reported, not obeyed; leave Proxy nil and dial through a channel \(onedoor: environment\)`
	_ = httpproxy.FromEnvironment() // want `httpproxy.FromEnvironment: `
}

func allowed() *httpproxy.Config { return &httpproxy.Config{} }
