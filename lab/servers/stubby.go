package servers

import (
	"fmt"
	"testing"

	"watertight/lab/internet"
)

// PortStub is where [Stubby] listens, and where a [Forward] puts a resolver that is a client.
const PortStub = 5453

// Forward is a server of DNS over TLS that another is to ask for everything, in its strict profile.
type Forward struct {
	Addr string
	Port uint16
	Name string // that its certificate has to be for
	CA   string // file
}

// Stubby starts stubby as a stub resolver on port 5453 of the loopback address.
func Stubby(t testing.TB, h *internet.Host, to Forward) *internet.Process {
	t.Helper()
	d := t.TempDir()
	conf := write(t, d, "stubby.yml", fmt.Sprintf(`resolution_type: GETDNS_RESOLUTION_STUB
dns_transport_list: [GETDNS_TRANSPORT_TLS]
tls_authentication: GETDNS_AUTHENTICATION_REQUIRED
tls_query_padding_blocksize: 128
tls_ca_file: %q
tls_min_version: GETDNS_TLS1_3
appdata_dir: %q
idle_timeout: 10000
listen_addresses: [127.0.0.1@%d]
upstream_recursive_servers:
  - {address_data: %s, tls_port: %d, tls_auth_name: %q}
`, to.CA, d, PortStub, to.Addr, to.Port, to.Name))
	return server{binary: "stubby", dir: d, args: []string{"-C", conf, "-v", "5"}, port: PortStub, loopback: true}.start(t, h)
}
