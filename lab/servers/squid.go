package servers

import (
	"fmt"
	"strings"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
)

// squidUser is who squid believes to be: it refuses to be user 0.
const squidUser = "1000"

// Squid starts squid as an HTTP hop on port 3128. It resolves names as its host does.
func Squid(t testing.TB, h *internet.Host, login Login) *internet.Process {
	t.Helper()
	lab.Need(t, "squid", "unshare")
	binary := lab.Must(internet.Find("squid"))(t)
	d := t.TempDir()
	var b strings.Builder
	fmt.Fprintf(&b, `http_port %[2]d
pid_filename none
cache deny all
access_log none
cache_log stdio:/dev/stderr
cache_store_log none
netdb_filename none
coredump_dir %[1]s
shutdown_lifetime 0 seconds
workers 1
pinger_enable off
visible_hostname squid.lab
`, d, PortProxy)
	if login != (Login{}) {
		script := write(t, d, "login.sh", fmt.Sprintf("while read -r line; do [ \"$line\" = %q ] && echo OK || echo ERR; done\n", login.User+" "+login.Password))
		fmt.Fprintf(&b, "auth_param basic program /bin/sh %s\nacl known proxy_auth REQUIRED\nhttp_access allow known\n", script)
	} else {
		b.WriteString("http_access allow all\n")
	}
	conf := write(t, d, "squid.conf", b.String())
	args := []string{"--user", "--map-user=" + squidUser, "--map-group=" + squidUser, binary, "-N", "-f", conf}
	return server{binary: "unshare", dir: d, args: args, port: PortProxy}.start(t, h)
}
