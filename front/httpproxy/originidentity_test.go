package httpproxy

import (
	"net/netip"
	"testing"

	"watertight/client"
)

// net/http may begin a dial for a request that goes another way in the end, and by then the session is at the next one.
func TestADialThatBeginsLateIsForTheIdentityOfItsRequest(t *testing.T) {
	port := serveEcho(t)
	p := serve(t, nil)
	alice := client.Identity{User: "alice"}
	s := &session{d: p.Door, client: netip.MustParseAddrPort("127.0.0.1:1"), identity: alice}
	tr := s.origin.get(s.d, s.client, s.identity)
	for _, next := range []client.Identity{{}, {User: "bob"}} {
		s.identity = next
		conn, err := tr.DialContext(t.Context(), "tcp", "example.com:"+port)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	for _, r := range p.dialer.requests() {
		if r.Identity != alice {
			t.Errorf("the dial is for %q", r.Identity.String())
		}
	}
}
