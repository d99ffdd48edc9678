package cells

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/internet"
)

// contained prepares a program to run by `watertight exec` on the client's host.
func contained(t testing.TB, s *lab.Scene, config string, command ...string) *internet.Program {
	t.Helper()
	file := filepath.Join(t.TempDir(), "watertight.yaml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return lab.Self(s.Client, lab.WatertightRole, append([]string{"exec", "-c", file, "--"}, command...)...)
}

// reachingOut are programs that know of no proxy, each on a way of its own: by a name, by a resolver of its own choice over UDP
// and over TCP, by an address, by a datagram.
func reachingOut(s *lab.Scene) map[string][]string {
	curl := []string{"curl", "--silent", "--show-error", "--verbose", "--fail", "--max-time", "15", "--cacert", s.CAFile}
	isp, origin := s.Client.Nameservers()[0], s.Origin.Addr4
	if !origin.IsValid() {
		origin = s.Origin.Addr6
	}
	return map[string][]string{
		"by a name":               append(curl, "https://"+s.Canary+"/"),
		"a resolver over UDP":     {"dig", "+tries=1", "+time=5", "@" + isp.String(), s.Canary, "TXT"},
		"a resolver over TCP":     {"dig", "+tries=1", "+time=5", "+tcp", "@" + isp.String(), s.Canary, "TXT"},
		"by an address":           append(curl, "--resolve", s.Canary+":443:"+origin.String(), "https://"+s.Canary+"/"),
		"a datagram to a name":    {"python3", "-I", "-c", plainUDP, s.Canary},
		"multicast DNS and LLMNR": {"python3", "-I", "-c", multicast, s.Canary},
	}
}

// multicast asks the neighbours for a name (RFC 6762, RFC 4795).
const multicast = `
import socket, sys
q = b"\0\1\0\0\0\1\0\0\0\0\0\0" + b"".join(bytes([len(l)]) + l.encode() for l in sys.argv[1].split(".")) + b"\0\0\1\0\1"
for family, at in (socket.AF_INET, ("224.0.0.251", 5353)), (socket.AF_INET, ("224.0.0.252", 5355)), (socket.AF_INET6, ("ff02::fb", 5353, 0, 0)):
    try:
        socket.socket(family, socket.SOCK_DGRAM).sendto(q, at)
    except OSError as e:
        print(type(e).__name__)
`

func TestExec_ProgramsThatKnowOfNoProxy(t *testing.T) {
	lab.Need(t, "curl", "dig", "python3")
	for _, families := range internet.AllFamilies() {
		t.Run(string(families), func(t *testing.T) {
			for how := range reachingOut(lab.NewScene(t, families)) {
				t.Run(how, func(t *testing.T) {
					control := lab.NewScene(t, families)
					command := reachingOut(control)[how]
					e := control.Gather(t, lab.Run(t, control.Client.Program(command[0], command[1:]...)))
					if leaks := control.Leaks(e); len(leaks) == 0 && !(how == "by an address" && e.Delivered) {
						t.Errorf("INVALID: the program alone was not seen to leak: %s", e.Client.Text())
					}
					s, got := packetScene(t, families)
					e = s.Gather(t, lab.Run(t, contained(t, s, dot(s), reachingOut(s)[how]...)))
					for _, leak := range s.Leaks(e) {
						t.Error("LEAK:", leak)
					}
					if strings.Contains(e.Client.Text(), "was not started") {
						t.Errorf("it was not started: %s", e.Client.Text())
					}
					switch how {
					case "by a name":
						if !e.Delivered || e.Client.Code != 0 {
							t.Errorf("the call did not arrive: %s", e.Client.Text())
						}
					case "a datagram to a name":
						if !strings.Contains(e.Client.Stdout, "answered ping") || len(got.all()) != 1 {
							t.Errorf("it went out %d times and came back as %s", len(got.all()), e.Client.Text())
						}
					case "by an address":
						if e.Delivered || e.Client.Code == 0 {
							t.Errorf("it was not refused: %s", e.Client.Text())
						}
					case "a resolver over UDP", "a resolver over TCP":
						if n := s.Resolver.Count(s.Canary, dnswire.TXT); n != 1 || e.Client.Code != 0 {
							t.Errorf("the channel's resolver was asked %d times: %s", n, e.Client.Text())
						}
					}
				})
			}
		})
	}
}
