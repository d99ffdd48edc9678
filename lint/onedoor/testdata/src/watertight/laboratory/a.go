// Package laboratory only sounds like the lab.
package laboratory

import "net/http"

func leaks() {
	_, _ = http.Get("http://name.example/") // want `http.Get: `
}
