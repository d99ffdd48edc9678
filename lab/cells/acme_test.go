package cells

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"

	"watertight/capture"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/lab/servers"
)

// doorName is what the certificate is for. The authority looks it up in clear, as authorities do, so the canary is not in it.
const doorName = "door.example.net"

// The ports at which an authority makes sure, and which lead to the program.
const (
	alpnPort      = 443
	challengePort = 80
)

// directoryName is what the authority's directory is called. The canary's label is in it: it is searched for.
func directoryName(s *lab.Scene) string { return "ca-" + s.Label + ".example.net" }

// issuing is a program whose certificate comes from an authority that is reached through a hop, and in no other way.
type issuing struct {
	far       *farChannel
	ca        *internet.Host
	http      bool
	published bool // the authority's name
	running
}

func (i *issuing) arrange(t testing.TB, s *lab.Scene) {
	t.Helper()
	lab.Need(t, "pebble", "curl")
	i.far = &farChannel{kind: secureKinds[0]}
	i.far.arrange(t, s)
	i.ca = lab.Must(s.AddHost("ca"))(t)
	if i.published {
		lab.Must(0, s.Authority.Publish(directoryName(s), i.ca))(t)
	}
	lab.Must(0, s.Authority.Publish(doorName, s.Client))(t)
	servers.Pebble(t, i.ca, s.CA.Issue([]string{directoryName(s)}, i.ca.Addrs()), s.Authority.At(53), alpnPort, challengePort)
	// The authority comes to the door by itself; the program goes to it by the hop alone.
	for _, port := range []uint16{alpnPort, challengePort} {
		s.Permitted = append(s.Permitted, s.Client.Peers(capture.TCP, port)...)
	}
}

func (i *issuing) config(s *lab.Scene) string {
	more := ""
	if i.http {
		more = fmt.Sprintf(", http: \"0.0.0.0:%d\"", challengePort)
	}
	return fmt.Sprintf("listen:\n  admin: %s\n  proxy:\n    - %s\n    - {address: \"0.0.0.0:%d\", allow_insecure: true, tls: {acme: %s}}\n", lab.AdminAddress, lab.ProxyAddress, alpnPort, doorName) +
		fmt.Sprintf("acme: {accept_terms: true, channel: far, directory: \"https://%s:%d/dir\", ca: %q%s}\n", directoryName(s), servers.PortACME, s.CAFile, more) +
		fmt.Sprintf("state: %q\n", filepath.Join(s.Dir, "state")) + i.far.config(s, "here")
}

func TestACME_TheAuthorityIsReachedInItsChannelAlone(t *testing.T) {
	for name, http := range map[string]bool{"tls-alpn-01": false, "http-01": true} {
		t.Run("E1/"+name, func(t *testing.T) {
			i := &issuing{http: http, published: true}
			run(t, lab.Cell{
				Families: internet.V4,
				Arrange:  i.arrange,
				Start:    i.with(i.config),
				After: func(t testing.TB, s *lab.Scene) {
					lab.Must(i.AwaitOutput(t.Context(), "a certificate was obtained"))(t)
					roots := filepath.Join(s.Dir, "roots.pem")
					at := i.ca.At(servers.PortACMERoots)
					if r := lab.Run(t, i.ca.Program("curl", "--silent", "--fail", "--cacert", s.CAFile, "--output", roots, fmt.Sprintf("https://%s/roots/0", at))); r.Code != 0 {
						t.Fatal(r.Text())
					}
					host := other(s, "by-the-door")
					r := lab.Run(t, s.Client.Program("curl", "--silent", "--show-error", "--fail", "--max-time", "15", "--cacert", s.CAFile,
						"--proxy-cacert", roots, "--resolve", fmt.Sprintf("%s:%d:127.0.0.1", doorName, alpnPort),
						"--proxy", fmt.Sprintf("https://%s:%d", doorName, alpnPort), "https://"+host+"/"))
					greeted(t, host, r)
					i.asked(t, s)
				},
			})
		})
	}
}

// asked wants the directory's name to have been asked of the channel's own resolver, and the authority to have been reached by the hop.
func (i *issuing) asked(t testing.TB, s *lab.Scene) {
	t.Helper()
	if asked(i.far.resolver, directoryName(s)) == 0 || asked(s.Resolver, directoryName(s)) > 0 {
		t.Error("the directory's name was not asked of its channel's resolver alone")
	}
	to := netip.AddrPortFrom(i.ca.Addr(), servers.PortACME).String()
	if !slices.Contains(i.far.hop.log(), to) {
		t.Errorf("the hop was not asked for %s, but for %v", to, i.far.hop.log())
	}
}

func TestACME_WhereItsChannelIsDeadNothingElseIsTried(t *testing.T) {
	t.Parallel()
	i := &issuing{published: true}
	run(t, lab.Cell{
		Families: internet.V4,
		Arrange: func(t testing.TB, s *lab.Scene) {
			i.arrange(t, s)
			i.far.hop.close(t)
		},
		Start:   i.unready(i.config),
		Refused: "*",
		After: func(t testing.TB, s *lab.Scene) {
			lab.Must(i.AwaitOutput(t.Context(), "a certificate is not asked for yet"))(t)
			r := lab.Run(t, s.Client.Program("curl", "--silent", "--show-error", "--max-time", "5", "--proxy-insecure",
				"--proxy", fmt.Sprintf("https://127.0.0.1:%d", alpnPort), "https://"+other(s, "by-the-door")+"/"))
			if r.Code == 0 {
				t.Error("the door shows a certificate that nobody signed")
			}
		},
	})
}
