package servers

import (
	"fmt"
	"strings"
	"testing"

	"watertight/lab/internet"
)

// Root starts nsd as the name server of the root, which knows what is delegated in the records that are given, in
// presentation form with absolute names.
func Root(t testing.TB, h *internet.Host, records ...string) *internet.Process {
	t.Helper()
	d := t.TempDir()
	write(t, d, "zone", "$ORIGIN .\n$TTL 60\n@ SOA ns.root. hostmaster.root. 1 7200 3600 1209600 1\n"+hints(h)+strings.Join(records, "\n")+"\n")
	var b strings.Builder
	fmt.Fprintf(&b, "server:\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  database: \"\"\n  zonelistfile: %q\n  xfrdfile: \"\"\n  zonesdir: %q\n  server-count: 1\n  port: %d\n", d+"/zones", d, PortDNS)
	for _, a := range wildcards(h) {
		fmt.Fprintf(&b, "  ip-address: %s\n", a)
	}
	b.WriteString("remote-control:\n  control-enable: no\nzone:\n  name: \".\"\n  zonefile: zone\n")
	return server{binary: "nsd", dir: d, args: []string{"-d", "-c", write(t, d, "nsd.conf", b.String())}, port: PortDNS}.start(t, h)
}

// hints are the records by which a resolver finds the root.
func hints(root *internet.Host) string {
	out := ". 3600 NS ns.root.\n"
	if root.Addr4.IsValid() {
		out += fmt.Sprintf("ns.root. 3600 A %s\n", root.Addr4)
	}
	if root.Addr6.IsValid() {
		out += fmt.Sprintf("ns.root. 3600 AAAA %s\n", root.Addr6)
	}
	return out
}

// Recursion is how a resolver finds and checks names by itself.
type Recursion struct {
	Root   *internet.Host
	Anchor string         // a DS record in presentation form: what is below it has to be signed
	Subnet *internet.Host // that name server is told the client's subnet (RFC 7871), where the resolver can; nil: none is
}

// RecursiveUnbound starts unbound as a resolver for DNS (port 53) that asks the root.
func RecursiveUnbound(t testing.TB, h *internet.Host, r Recursion) *internet.Process {
	t.Helper()
	d := t.TempDir()
	modules, subnet := "validator iterator", ""
	if r.Subnet != nil {
		modules = "subnetcache " + modules
		for _, a := range r.Subnet.Addrs() {
			subnet += fmt.Sprintf("  send-client-subnet: %s\n", a)
		}
	}
	conf := write(t, d, "unbound.conf", fmt.Sprintf(`server:
  do-daemonize: no
  use-syslog: no
  logfile: ""
  verbosity: 1
  username: ""
  chroot: ""
  pidfile: ""
  directory: %q
  num-threads: 1
  module-config: %q
  root-hints: %q
  trust-anchor: %q
  qname-minimisation: yes
  interface: 0.0.0.0
  interface: ::0
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
%sremote-control:
  control-enable: no
`, d, modules, write(t, d, "hints", hints(r.Root)), r.Anchor, subnet))
	return server{binary: "unbound", dir: d, args: []string{"-d", "-p", "-c", conf}, port: PortDNS}.start(t, h)
}

// RecursiveBIND starts named as a resolver for DNS (port 53) that asks the root.
func RecursiveBIND(t testing.TB, h *internet.Host, r Recursion) *internet.Process {
	t.Helper()
	d := t.TempDir()
	f := strings.Fields(r.Anchor) // NAME IN DS TAG ALGORITHM DIGEST HEX
	conf := write(t, d, "named.conf", fmt.Sprintf(`controls { };
options {
  directory %q;
  pid-file none;
  lock-file none;
  session-keyfile none;
  recursion yes;
  allow-query { any; };
  allow-recursion { any; };
  dnssec-validation yes;
  qname-minimization strict;
  empty-zones-enable no;
  prefetch 0;
  max-cache-size 16M;
  listen-on port 53 { any; };
  listen-on-v6 port 53 { any; };
};
trust-anchors { %q static-ds %s %s %s %q; };
zone "." { type hint; file %q; };
`, d, f[0], f[3], f[4], f[5], f[6], write(t, d, "hints", hints(r.Root))))
	return server{binary: "named", dir: d, args: []string{"-g", "-n", "1", "-c", conf}, port: PortDNS}.start(t, h)
}

// RecursiveKnotResolver starts Knot Resolver as a resolver for DNS (port 53) that asks the root.
func RecursiveKnotResolver(t testing.TB, h *internet.Host, r Recursion) *internet.Process {
	t.Helper()
	d := t.TempDir()
	var list []string
	for _, a := range r.Root.Addrs() {
		list = append(list, "'"+a.String()+"'")
	}
	conf := write(t, d, "kresd.conf", fmt.Sprintf(`net.listen('0.0.0.0', 53, { kind = 'dns', freebind = true })
net.listen('::', 53, { kind = 'dns', freebind = true })
trust_anchors.remove('.')
trust_anchors.add('%s')
modules.unload('ta_update')
modules.unload('ta_signal_query')
modules.unload('priming')
modules.unload('detect_time_skew')
modules.load('hints > iterate')
hints.root({ ['ns.root.'] = { %s } })
cache.size = 4 * MB
`, r.Anchor, strings.Join(list, ", ")))
	return server{binary: "kresd", dir: d, args: []string{"-n", "-c", conf, d}, port: PortDNS}.start(t, h)
}
