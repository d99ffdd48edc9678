package cells

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"watertight/canary"
	"watertight/capture"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/lab/mmdbtest"
	"watertight/lab/servers"
	"watertight/visit"
)

// canarySite is a leak-test site of our own, to which a zone is delegated, and a real resolver that asks it.
type canarySite struct {
	*internet.Host
	resolver *internet.Host
	zone     string
	cert     tls.Certificate
	*internet.Process
}

// addCanary starts a canary, with a certificate unless it is told how to get one. The client and its resolver are of one
// network, and the provider's resolver is of another one.
func addCanary(t testing.TB, s *lab.Scene, certificate ...string) *canarySite {
	t.Helper()
	return addCanaryWith(t, s, false, certificate...)
}

// addCanaryWith is addCanary of a canary that asks browsers over WebRTC for their addresses, or does not.
func addCanaryWith(t testing.TB, s *lab.Scene, stun bool, certificate ...string) *canarySite {
	t.Helper()
	lab.Need(t, "unbound", "curl")
	c := &canarySite{Host: lab.Must(s.AddHost("canary"))(t), resolver: lab.Must(s.AddHost("unbound"))(t), zone: s.Label + ".example.net"}
	c.cert = s.CA.Issue([]string{c.zone, "*." + c.zone}, nil)
	whose := map[netip.Prefix]visit.Network{}
	belong(whose, visit.Network{Number: 64500, Name: "Exit", Country: "DE"}, s.Client.Addrs(), c.resolver.Addrs())
	belong(whose, visit.Network{Number: 64511, Name: "Home", Country: "FR"}, c.Nameservers()) // the provider, on the canary's link
	c.Process = startCanary(t, s, c.Host, c.zone, c.cert, whose, stun, certificate...)
	servers.Unbound(t, c.resolver, s.CA.Issue(nil, c.resolver.Addrs()), c.At(53))
	s.Permitted = append(c.resolver.Peers(capture.TCP, 853), c.Peers(capture.TCP, 443)...)
	s.Readers = c.Peers(capture.TCP, 443)
	return c
}

// belong has networks of single addresses be somebody's.
func belong(whose map[netip.Prefix]visit.Network, n visit.Network, lists ...[]netip.Addr) {
	for _, a := range slices.Concat(lists...) {
		whose[netip.PrefixFrom(a, a.BitLen())] = n
	}
}

// startCanary runs `watertight canary` for a zone on a host, at the usual ports, and delegates the zone to it. It shows cert,
// unless it is told how to get one.
func startCanary(t testing.TB, s *lab.Scene, host *internet.Host, zone string, cert tls.Certificate, whose map[netip.Prefix]visit.Network, stun bool, certificate ...string) *internet.Process {
	t.Helper()
	chain, key := dnstest.PEMPair(cert)
	for name, text := range map[string][]byte{"canary.pem": chain, "canary.key": key, "networks.mmdb": mmdbtest.Build(whose)} {
		lab.Must(0, os.WriteFile(filepath.Join(s.Dir, name), text, 0o600))(t)
	}
	if len(certificate) == 0 {
		certificate = []string{"--tls-cert", filepath.Join(s.Dir, "canary.pem"), "--tls-key", filepath.Join(s.Dir, "canary.key")}
	}
	args := append([]string{
		"canary", "--zone", zone, "--key", filepath.Join(s.Dir, "canary-signing.key"), "--networks", filepath.Join(s.Dir, "networks.mmdb"),
	}, certificate...)
	for _, a := range host.Addrs() {
		at := func(port uint16) string { return netip.AddrPortFrom(a, port).String() }
		args = append(args, "--address", a.String(), "--dns", at(53), "--dot", at(853), "--https", at(443))
		if stun {
			args = append(args, "--stun", at(3478))
		}
	}
	s.Authority.Delegate(zone, host.At(53))
	lab.Must(0, host.AwaitLink(t.Context()))(t)
	process := lab.Must(lab.Self(host, lab.WatertightRole, args...).Start(t.Context()))(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the canary wrote:\n%s", process.Sofar().Text())
		}
	})
	lab.Must(process.AwaitOutput(t.Context(), "\nready\n"))(t)
	return process
}

// upstream is the resolver as a channel has it.
func (c *canarySite) upstream() string {
	return "tls://" + netip.AddrPortFrom(c.resolver.Addr(), 853).String()
}

// tells gives what the canary answers at a path of its page.
func (c *canarySite) tells(t testing.TB, s *lab.Scene, path string) string {
	t.Helper()
	r := lab.Run(t, c.Program("curl", "--silent", "--show-error", "--fail", "--max-time", "10", "--cacert", s.CAFile,
		"--resolve", fmt.Sprintf("%s:443:%s", c.zone, c.Addr()), "https://"+c.zone+path))
	if r.Code != 0 {
		t.Fatal(r.Text())
	}
	return r.Stdout
}

// visited gives the label of the page that a browser printed, who asked for its names and the verdict.
func (c *canarySite) visited(t testing.TB, s *lab.Scene, dom string) (asked []netip.Addr, seen visit.Seen, verdict string) {
	t.Helper()
	m := regexp.MustCompile(`data-label="([a-z2-7]+)"`).FindStringSubmatch(dom)
	if m == nil {
		t.Fatalf("the page did not arrive: %s", dom)
	}
	if err := json.Unmarshal([]byte(c.tells(t, s, "/api"+visit.PathLabel+m[1])), &seen); err != nil {
		t.Fatal(err)
	}
	for _, q := range seen.Queries {
		if !slices.Contains(asked, q.From.Addr()) {
			asked = append(asked, q.From.Addr())
		}
	}
	page := c.tells(t, s, "/visit/"+m[1]+"?part=results")
	h := regexp.MustCompile(`<h2 id="h-verdict">([^<]*)</h2>`).FindStringSubmatch(page)
	if h == nil {
		t.Fatalf("no verdict: %s", page)
	}
	return asked, seen, h[1]
}

// opens has Chromium open the page of a canary.
func (c *canarySite) opens(t testing.TB, s *lab.Scene, more ...string) internet.Result {
	t.Helper()
	at := *s // it opens what is called the canary's name there
	at.Canary = c.zone
	return lab.Run(t, chromium(t, &at, []string{dnstest.Pin(c.cert)}, more...))
}

func TestCanary_ABrowserBehindTheProxyIsResolvedByTheProxyAlone(t *testing.T) {
	lab.Need(t, "chromium-headless-shell")
	t.Run("control", func(t *testing.T) {
		s := lab.NewScene(t, internet.Dual)
		c := addCanary(t, s)
		r := c.opens(t, s)
		asked, _, verdict := c.visited(t, s, r.Stdout)
		if !slices.ContainsFunc(asked, func(a netip.Addr) bool { return slices.Contains(c.Nameservers(), a) }) || verdict != "Your names take another way than your traffic" {
			t.Errorf("INVALID: a leak went unseen: %v asked, and the page says %q", asked, verdict)
		}
		if len(s.Leaks(s.Gather(t, r))) == 0 {
			t.Error("INVALID: a leak went unseen in the packets")
		}
	})
	t.Run("proxy", func(t *testing.T) {
		s := lab.NewScene(t, internet.Dual)
		c := addCanary(t, s)
		with(func(s *lab.Scene) string { return direct(s, c.upstream()) })(t, s)
		// The page asks the browser for its addresses. Left to itself it says hello to its neighbours then, by multicast DNS.
		r := c.opens(t, s, "--proxy-server=http://"+lab.ProxyAddress, "--webrtc-ip-handling-policy=disable_non_proxied_udp", "--disable-features=WebRtcHideLocalIpsWithMdns")
		asked, seen, verdict := c.visited(t, s, r.Stdout)
		if len(asked) == 0 || slices.ContainsFunc(asked, func(a netip.Addr) bool { return !c.resolver.Has(a) }) || verdict != "Names and traffic come from the same network" {
			t.Errorf("%v asked, and the page says %q", asked, verdict)
		}
		hosts := map[string]bool{}
		for _, q := range seen.Requests {
			hosts[q.Host] = true
		}
		for _, b := range []visit.Branch{visit.Plain, visit.V4, visit.V6, visit.TCP} {
			if !hosts[visit.Name(seen.Label, b, c.zone)] {
				t.Errorf("the picture of branch %q was not fetched", b)
			}
		}
		if wrote := c.Sofar().Text(); strings.Contains(wrote, seen.Label) || strings.Contains(wrote, c.resolver.Addr().String()) {
			t.Errorf("the canary's own output has names or addresses: %s", wrote)
		}
		for _, leak := range s.Leaks(s.Gather(t, r)) {
			t.Error("LEAK:", leak)
		}
		if n := trapped(s); n != "" {
			t.Errorf("the program reached for the host's resolver %s times", n)
		}
	})
}

// Firefox can take `socks5://` as many programs do: it looks names up by itself, and has the proxy carry what it says to addresses.
// The leak is real, with the proxy in place: this is the control of what the page says to those behind one.
func TestCanary_ABrowserBehindTheProxyThatLooksUpByItselfIsToldSo(t *testing.T) {
	lab.Need(t, "firefox-esr", "python3")
	s := lab.NewScene(t, internet.Dual)
	c := addCanary(t, s)
	with(func(s *lab.Scene) string { return direct(s, c.upstream()) })(t, s)
	lab.Must(0, s.Client.AwaitLink(t.Context()))(t)
	host, port, _ := strings.Cut(lab.ProxyAddress, ":")
	r := lab.Run(t, s.Client.Program("python3", lab.Firefox(t.TempDir(), "https://"+c.zone+"/", `"network.proxy.type", 1`, fmt.Sprintf(`"network.proxy.socks", %q`, host),
		`"network.proxy.socks_port", `+port, `"network.proxy.socks_remote_dns", false`, `"network.proxy.socks5_remote_dns", false`)...))
	asked, seen, verdict := c.visited(t, s, r.Stdout)
	if !slices.ContainsFunc(asked, func(a netip.Addr) bool { return slices.Contains(c.Nameservers(), a) }) || verdict != "Your names take another way than your traffic" || len(seen.Requests) < 2 {
		t.Errorf("INVALID: a leak went unseen: %v asked, %d requests came, and the page says %q", asked, len(seen.Requests), verdict)
	}
	if len(s.Leaks(s.Gather(t, r))) == 0 {
		t.Error("INVALID: a leak went unseen in the packets")
	}
}

// A proxy at another host carries the page, and no datagrams: WebRTC goes around it, and the page says so.
func TestCanary_ABrowserWhoseWebRTCGoesAroundTheProxyIsToldSo(t *testing.T) {
	lab.Need(t, "firefox-esr", "python3")
	t.Parallel()
	for name, c := range map[string]struct {
		kept   string // to the proxy
		until  string // it says so of what it found
		around bool
	}{
		"as it is":          {"false", "and this page was asked from elsewhere", true},
		"kept to the proxy": {"true", "your browser tells no address", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := lab.NewScene(t, internet.V4)
			site := addCanaryWith(t, s, true)
			far := addHop(t, s, "gw-"+s.Label+".example.net", kinds[0])
			with(func(s *lab.Scene) string {
				return direct(s, site.upstream()) + fmt.Sprintf("  far: {over: direct, proxy: \"socks5://%s\", resolver: %s}\nroutes: [{to: \"*\", channel: far}]\n",
					far.At(kinds[0].port), resolver(s, site.upstream()))
			})(t, s)
			lab.Must(0, s.Client.AwaitLink(t.Context()))(t)
			host, port, _ := strings.Cut(lab.ProxyAddress, ":")
			r := lab.Run(t, s.Client.Program("python3", lab.FirefoxUntil(t.TempDir(), "https://"+site.zone+"/", c.until, `"network.proxy.type", 1`,
				fmt.Sprintf(`"network.proxy.ssl", %q`, host), `"network.proxy.ssl_port", `+port, `"media.peerconnection.ice.proxy_only", `+c.kept)...))
			if !strings.Contains(r.Stdout, c.until) {
				t.Errorf("INVALID: the page does not say %q:\n%s", c.until, r.Text())
			}
			if banner := regexp.MustCompile(`<section [^>]*id="around"[^>]*>`).FindString(r.Stdout); banner == "" || strings.Contains(banner, "hidden") == c.around {
				t.Errorf("of WebRTC that goes around the proxy: %t, it says %q", c.around, banner)
			}
			if told := strings.Contains(r.Stdout, s.Client.Addr4.String()); told != c.around {
				t.Errorf("the page shows the address of the host: %t", told)
			}
		})
	}
}

func TestCanary_ACheckLooksThroughItsChannelAlone(t *testing.T) {
	s := lab.NewScene(t, internet.Dual)
	c := addCanary(t, s)
	s.Permitted = append(s.Permitted, c.Peers(capture.TCP, 853)...)
	s.Readers = append(s.Readers, c.Peers(capture.TCP, 853)...)
	lab.Must(0, s.Client.AwaitLink(t.Context()))(t)
	r := lab.Run(t, lab.Self(s.Client, lab.WatertightRole, "canary", "check", c.zone, "--json", "--resolver", c.upstream(), "--ca", s.CAFile, "--page-ca", s.CAFile))
	var report canary.CheckReport
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil || r.Code != 0 || !report.OK {
		t.Errorf("%v: %s", err, r.Text())
	}
	for _, f := range report.Findings {
		if f.State != canary.Fine && f.ID != "ds" { // nothing is signed above
			t.Errorf("%+v", f)
		}
	}
	for _, leak := range s.Leaks(s.Gather(t, r)) {
		t.Error("LEAK:", leak)
	}
}

func TestCanary_ItsCertificateIsObtainedThroughItsChannelByTheZoneItself(t *testing.T) {
	lab.Need(t, "pebble")
	s := lab.NewScene(t, internet.V4)
	ca := lab.Must(s.AddHost("ca"))(t)
	lab.Must(0, s.Authority.Publish(directoryName(s), ca))(t)
	// The authority finds the canary by its provider's resolver, as authorities do by theirs.
	servers.Pebble(t, ca, s.CA.Issue([]string{directoryName(s)}, ca.Addrs()), netip.AddrPortFrom(ca.Nameservers()[0], servers.PortDNS), alpnPort, challengePort)
	c := addCanary(t, s, "--acme", "--acme-directory", fmt.Sprintf("https://%s:%d/dir", directoryName(s), servers.PortACME), "--acme-ca", s.CAFile,
		"--resolver", s.Resolver.DoTURL(), "--ca", s.CAFile)
	lab.Must(c.AwaitOutput(t.Context(), "a certificate was obtained"))(t)
	roots := filepath.Join(s.Dir, "roots.pem")
	if r := lab.Run(t, ca.Program("curl", "--silent", "--fail", "--cacert", s.CAFile, "--output", roots, fmt.Sprintf("https://%s/roots/0", ca.At(servers.PortACMERoots)))); r.Code != 0 {
		t.Fatal(r.Text())
	}
	for _, host := range []string{c.zone, visit.Name(visit.NewLabel(), visit.V4, c.zone)} {
		r := lab.Run(t, c.Program("curl", "--silent", "--show-error", "--fail", "--max-time", "10", "--cacert", roots, "--resolve", fmt.Sprintf("%s:443:%s", host, c.Addr()), "https://"+host+"/"))
		if r.Code != 0 {
			t.Errorf("%s: %s", host, r.Text())
		}
	}
	if asked(s.Resolver, directoryName(s)) == 0 || len(s.ISP.LogOf(c.Host)) > 0 {
		t.Errorf("the directory's name was not asked of the channel's resolver alone: the provider was asked %v", s.ISP.LogOf(c.Host))
	}
}
