package servers

import (
	"strconv"
	"testing"

	"watertight/lab/internet"
)

// Microsocks starts microsocks as a SOCKS5 hop on port 1080.
func Microsocks(t testing.TB, h *internet.Host, login Login) *internet.Process {
	t.Helper()
	args := []string{"-i", wildcards(h)[0].String(), "-p", strconv.Itoa(PortSOCKS)}
	if login != (Login{}) {
		args = append(args, "-u", login.User, "-P", login.Password)
	}
	return server{binary: "microsocks", dir: t.TempDir(), args: args, port: PortSOCKS}.start(t, h)
}
