package servers

import (
	"crypto/tls"
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
	d := t.TempDir()
	return squid(t, h, login, d, PortProxy, fmt.Sprintf("http_port %d\n", PortProxy))
}

// SquidTLS is Squid over TLS, on port 8443.
func SquidTLS(t testing.TB, h *internet.Host, login Login, c tls.Certificate) *internet.Process {
	t.Helper()
	files := certified(t, c)
	return squid(t, h, login, files.dir, PortSecure, fmt.Sprintf("https_port %d tls-cert=%s tls-key=%s tls-min-version=1.3\n", PortSecure, files.cert, files.key))
}

func squid(t testing.TB, h *internet.Host, login Login, d string, port uint16, listen string) *internet.Process {
	t.Helper()
	lab.Need(t, "squid", "unshare")
	binary := lab.Must(internet.Find("squid"))(t)
	var b strings.Builder
	fmt.Fprintf(&b, `%[2]spid_filename none
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
`, d, listen)
	if login != (Login{}) {
		script := write(t, d, "login.sh", fmt.Sprintf("while read -r line; do [ \"$line\" = %q ] && echo OK || echo ERR; done\n", login.User+" "+login.Password))
		fmt.Fprintf(&b, "auth_param basic program /bin/sh %s\nacl known proxy_auth REQUIRED\nhttp_access allow known\n", script)
	} else {
		b.WriteString("http_access allow all\n")
	}
	conf := write(t, d, "squid.conf", b.String())
	args := []string{"--user", "--map-user=" + squidUser, "--map-group=" + squidUser, binary, "-N", "-f", conf}
	return server{binary: "unshare", dir: d, args: args, port: port}.start(t, h)
}
