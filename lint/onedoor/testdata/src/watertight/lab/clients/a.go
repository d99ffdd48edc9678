// Package clients is a part of the lab, where clients are meant to leak.
package clients

import (
	"net/http"
	"os/exec"
)

func leaks() {
	_, _ = http.Get("http://name.example/")
	_ = exec.Command("curl")
}
