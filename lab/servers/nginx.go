package servers

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"watertight/lab/internet"
)

// Nginx starts nginx as an origin for HTTPS, with HTTP/2, and HTTP. Every request is answered with
// "hello from HOST".
func Nginx(t testing.TB, h *internet.Host, cert tls.Certificate) *internet.Process {
	t.Helper()
	return startNginx(t, h, certified(t, cert), `location / { return 200 "hello from $host\n"; }`)
}

// Website starts nginx as an origin of files, for HTTPS, with HTTP/2, and HTTP. It serves what is in the directory
// root, takes what is put there, and compresses what is asked for below "/chunked/".
func Website(t testing.TB, h *internet.Host, cert tls.Certificate) (root string) {
	t.Helper()
	c := certified(t, cert)
	root = filepath.Join(c.dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	startNginx(t, h, c, fmt.Sprintf(`root %[1]s;
    client_max_body_size 0;
    gzip_types text/plain;
    gzip_min_length 0;
    location / { dav_methods PUT; limit_rate 16m; }
    location /chunked/ { alias %[1]s/; gzip on; }`, root))
	return root
}

// startNginx starts nginx with what it is to do about requests.
func startNginx(t testing.TB, h *internet.Host, c certFiles, requests string) *internet.Process {
	t.Helper()
	var listen strings.Builder
	for _, a := range wildcards(h) {
		fmt.Fprintf(&listen, "    listen %s;\n    listen %s ssl http2;\n", netip.AddrPortFrom(a, PortHTTP), netip.AddrPortFrom(a, PortHTTPS))
	}
	// There is nobody else whom nginx could become, neither for its files nor for its workers.
	conf := write(t, c.dir, "nginx.conf", fmt.Sprintf(`daemon off;
user root root;
master_process off;
pid %[1]s/pid;
error_log stderr;
events {}
http {
  access_log off;
  default_type text/plain;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  server {
%[2]s    ssl_certificate %[3]s;
    ssl_certificate_key %[4]s;
    %[5]s
  }
}
`, c.dir, listen.String(), c.cert, c.key, requests))
	return server{binary: "nginx", dir: c.dir, args: []string{"-e", "stderr", "-p", c.dir, "-c", conf}, port: PortHTTPS}.start(t, h)
}
