package daemon

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"watertight/connect"
	"watertight/leaktest"
)

// forAlice are routes by which names of the canary are for one user alone, and for those that begin as a team.
const forAlice = "routes: [{to: \"*\", user: [alice, \"team-*\"], channel: direct}, {to: example.org, user: bob, channel: direct}, {to: origin.example.com, channel: direct}]\n"

// TestLeakTest_ComesWithTheRoutesOfAUser, by doors that ask for proof and by those that do not, and finds what leaks there. Who has no
// name has no way to the canary at all.
func TestLeakTest_ComesWithTheRoutesOfAUser(t *testing.T) {
	t.Parallel()
	for title, doors := range map[string]string{"doors that ask": "# proven\n", "doors that do not ask": "#\n"} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			l, c := liveCanary(t, doors+forAlice)
			r := l.tries("NAME-BY-DOOR", "NAME-BY-USER")
			nobody, _ := r.Find("NAME-BY-DOOR")
			one, _ := r.Find("NAME-BY-USER")
			said := strings.Join(one.Evidence, "\n")
			if nobody.Verdict != leaktest.Skipped || one.Verdict != leaktest.Sealed {
				t.Fatalf("as nobody it is %s, and as a user %s: %s\n%s", nobody.Verdict, one.Verdict, one.Reason, said)
			}
			ways := []string{"by HTTP CONNECT", "by SOCKS5", "by SOCKS5, a datagram as a user of route 1: the canary was asked", "asked for /https/NAME/, as a user of route 1"}
			if len(l.at.Proxy) > 1 {
				ways = append(ways, "by CONNECT over HTTP/2", "by CONNECT over HTTP/3")
			}
			for _, at := range l.at.Proxy {
				ways = append(ways, at.String()+" by HTTP CONNECT, v4 only, as a user of route 1: the canary was asked")
			}
			for _, at := range l.at.Gateway {
				ways = append(ways, "gateway "+at.String()+", asked for /https/NAME/, as a user of route 1: the canary answered")
			}
			for _, want := range append(ways, "not tried: route 2, for names of the canary") {
				if !strings.Contains(said, want) {
					t.Errorf("nothing is said of what is %q:\n%s", want, said)
				}
			}
			if text := l.log.String() + said; strings.Contains(text, "alice") || strings.Contains(text, "team-") {
				t.Errorf("users are named:\n%s", text)
			}
			c.leaks.Store(true)
			if one, _ := l.tries("NAME-BY-USER").Find("NAME-BY-USER"); one.Verdict != leaktest.Leak {
				t.Errorf("a second resolver asks: it is %s: %s", one.Verdict, one.Reason)
			}
		})
	}
}

// TestLeakTest_NobodyElseComesAsAUserByItsPass, though he knows what it says.
func TestLeakTest_NobodyElseComesAsAUserByItsPass(t *testing.T) {
	t.Parallel()
	l, _ := liveCanary(t, "#\n"+forAlice)
	pass, err := l.d.keeper.NewPass(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer pass.End()
	said, err := pass.As("alice")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", l.at.Proxy[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "CONNECT other.example.com:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: %s\r\n\r\n", connect.Credentials(said.Username, said.Password))
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(resp.Status, "POLICY_ROUTE") {
		t.Errorf("he gets %s", resp.Status)
	}
}
