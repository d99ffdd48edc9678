package servers

import (
	"fmt"
	"strings"
	"testing"

	"watertight/lab/internet"
	"watertight/lab/zones"
)

// NSD starts nsd as the authority of one zone, whose content is in presentation form without the SOA and NS records
// of its apex: they are added.
func NSD(t testing.TB, h *internet.Host, zone, records string) *internet.Process {
	t.Helper()
	d := t.TempDir()
	write(t, d, "zone", fmt.Sprintf("$ORIGIN %s.\n$TTL 60\n@ SOA ns hostmaster 1 7200 3600 1209600 1\n@ NS ns\nns A 192.0.2.1\n%s\n", zone, records))
	var b strings.Builder
	fmt.Fprintf(&b, "server:\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  database: \"\"\n  zonelistfile: %q\n  xfrdfile: \"\"\n  zonesdir: %q\n  server-count: 1\n  port: %d\n", d+"/zones", d, PortDNS)
	for _, a := range wildcards(h) {
		fmt.Fprintf(&b, "  ip-address: %s\n", a)
	}
	fmt.Fprintf(&b, "remote-control:\n  control-enable: no\nzone:\n  name: %q\n  zonefile: zone\n", zone)
	conf := write(t, d, "nsd.conf", b.String())
	return server{binary: "nsd", dir: d, args: []string{"-d", "-c", conf}, port: PortDNS}.start(t, h)
}

// Zones starts nsd as the authority of every zone of a world.
func Zones(t testing.TB, h *internet.Host, w *zones.World) *internet.Process {
	t.Helper()
	var all []string
	for _, a := range wildcards(h) {
		all = append(all, a.String())
	}
	return server{binary: "nsd", dir: w.Dir, args: []string{"-d", "-c", w.NSD(PortDNS, all...)}, port: PortDNS}.start(t, h)
}
