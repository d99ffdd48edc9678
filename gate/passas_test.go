package gate

import (
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"testing"

	"watertight/client"
	"watertight/fault"
)

func TestAPassComesWithTheRoutesOfAUserOverItsOwnConnectionsAlone(t *testing.T) {
	y, k := newYard(t), NewKeeper()
	k.SetUserLimits(UserLimits{Connections: 1})
	p := newPass(t, k)
	users := usersOf(t, "alice", "s3cret")
	pool := x509.NewCertPool()
	pool.AddCert(&x509.Certificate{Raw: []byte("one")})
	_, server := y.pair(p)
	_, other := y.pair(nil)
	said, err := p.As("alice")
	if err != nil {
		t.Fatal(err)
	}
	bob, err := p.As("bob") // of whom the file does not know
	if err != nil {
		t.Fatal(err)
	}
	if again, err := p.As("alice"); err != nil || again != said || said == bob || said == p.Credentials() {
		t.Errorf("it says %v to one door and %v to the next, %v", said, again, err)
	}
	at := func(conn *net.TCPConn, r *Rules) *Guest {
		return NewGuest(conn, k, func() *Rules { return r.ForTest() })
	}
	for _, tt := range []struct {
		title string
		g     *Guest
		c     Credentials
		user  string // as whom it comes; empty: as nobody
		code  fault.Code
	}{
		{"users", at(server, Guarded(users, nil)), said, "alice", ""},
		{"another user", at(server, Guarded(users, nil)), bob, "bob", ""},
		{"nobody", at(server, Guarded(users, nil)), p.Credentials(), "", ""},
		{"nothing is asked for", at(server, Open()), said, "alice", ""},
		{"certificates", shows(at(server, Certified(pool)), p), said, "alice", ""},
		{"certificates, as nobody", shows(at(server, Certified(pool)), p), Credentials{}, "", ""},
		{"certificates, of which it has shown none", at(server, Certified(pool)), said, "", fault.AuthRequired},
		{"users, of another's connection", at(other, Guarded(users, nil)), said, "", fault.AuthRequired},
		{"certificates, of another's connection", shows(at(other, Certified(pool)), p), said, "", fault.AuthRequired},
		{"half of it", at(server, Guarded(users, nil)), Credentials{said.Username, bob.Password}, "", fault.AuthRequired},
		{"a door that is not for it", NewGuest(server, k, func() *Rules { return Guarded(users, nil) }), said, "", fault.AuthRequired},
	} {
		id, err := tt.g.Admit(t.Context(), tt.c)
		if codeOf(err) != tt.code || id.User != tt.user || (id.Trial != "") != (tt.user != "") {
			t.Errorf("%s: %+v, %v", tt.title, id, err)
		}
		if id.User == "" || id == (client.Identity{User: id.User}) {
			continue
		}
		for range 2 { // the limit is one
			if leave, err := tt.g.Enter(id); err != nil {
				t.Errorf("%s: it counts against the user: %v", tt.title, err)
			} else {
				defer leave()
			}
		}
	}
	// Another who knows it is a client like others where nothing is asked for: of the name that he gives, and of no user's.
	id, err := at(other, Open()).Admit(t.Context(), said)
	if err != nil || id != (client.Identity{User: said.Username}) {
		t.Errorf("another who knows it comes as %+v, %v", id, err)
	}
	if id, err := at(server, Guarded(users, nil)).Admit(t.Context(), Credentials{"alice", "s3cret"}); err != nil || id != (client.Identity{User: "alice"}) {
		t.Errorf("the user himself comes as %+v, %v", id, err)
	}
	if shown := fmt.Sprintf("%v %+v %#v", p, p, p); strings.Contains(shown, said.Password) || strings.Contains(shown, "alice") {
		t.Errorf("it prints %s", shown)
	}
	p.End()
	if id, err := at(server, Guarded(users, nil)).Admit(t.Context(), said); codeOf(err) != fault.AuthRequired {
		t.Errorf("after its end it comes as %+v, %v", id, err)
	}
	if _, err := p.As("carol"); err == nil {
		t.Error("after its end it comes as another")
	}
}

func TestAPassComesAsFewUsersAndAsNoneThatCannotBe(t *testing.T) {
	p := newPass(t, NewKeeper())
	for _, user := range []string{"", "alice-session-1", "a b", strings.Repeat("a", client.MaxUser+1)} {
		if _, err := p.As(user); err == nil {
			t.Errorf("it comes as %q", user)
		}
	}
	for i := range maxWishes {
		if _, err := p.As(fmt.Sprintf("user%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.As("more"); err == nil {
		t.Error("it comes as one more")
	}
}

// TestTwoPassesAreTwoIdentities: what a test learnt in one run is not there in the next.
func TestTwoPassesAreTwoIdentities(t *testing.T) {
	y, k := newYard(t), NewKeeper()
	var before client.Identity
	for range 2 {
		p := newPass(t, k)
		_, server := y.pair(p)
		said, err := p.As("alice")
		if err != nil {
			t.Fatal(err)
		}
		id, err := NewGuest(server, k, func() *Rules { return Open().ForTest() }).Admit(t.Context(), said)
		if err != nil || id.User != "alice" || id == before {
			t.Errorf("%+v after %+v, %v", id, before, err)
		}
		before = id
	}
}
