package servers

import (
	"fmt"
	"testing"

	"watertight/lab/internet"
)

// Tinyproxy starts tinyproxy as an HTTP hop on port 3128.
func Tinyproxy(t testing.TB, h *internet.Host, login Login) *internet.Process {
	t.Helper()
	d := t.TempDir()
	text := fmt.Sprintf("Port %d\nTimeout 60\nMaxClients 100\nLogLevel Info\nDisableViaHeader Yes\n", PortProxy)
	for _, a := range wildcards(h) {
		text += fmt.Sprintf("Listen %s\n", a)
	}
	if login != (Login{}) {
		text += fmt.Sprintf("BasicAuth %s %s\n", login.User, login.Password)
	}
	conf := write(t, d, "tinyproxy.conf", text)
	return server{binary: "tinyproxy", dir: d, args: []string{"-d", "-c", conf}, port: PortProxy}.start(t, h)
}
