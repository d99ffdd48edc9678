package servers

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"watertight/lab/internet"
)

// Nginx starts nginx as an origin for HTTPS, with HTTP/2, and HTTP. Every request is answered with
// "hello from HOST".
func Nginx(t testing.TB, h *internet.Host, cert tls.Certificate) *internet.Process {
	t.Helper()
	certificate, key := CertFiles(t, cert)
	d := dir(t, map[string]string{"cert.pem": certificate, "key.pem": key})
	var listen strings.Builder
	for _, a := range wildcards(h) {
		fmt.Fprintf(&listen, "    listen %s;\n    listen %s ssl http2;\n", netip.AddrPortFrom(a, PortHTTP), netip.AddrPortFrom(a, PortHTTPS))
	}
	// There is nobody else whom nginx could become, neither for its files nor for its workers.
	conf := write(t, d, "nginx.conf", fmt.Sprintf(`daemon off;
user root root;
master_process off;
pid %[1]s/pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  server {
%[2]s    ssl_certificate %[1]s/cert.pem;
    ssl_certificate_key %[1]s/key.pem;
    location / {
      default_type text/plain;
      return 200 "hello from $host\n";
    }
  }
}
`, d, listen.String()))
	return server{binary: "nginx", dir: d, args: []string{"-e", "stderr", "-p", d, "-c", conf}, port: PortHTTPS}.start(t, h)
}
