package gate

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"watertight/client"
	"watertight/fault"
)

// cheap is NewLine with a hash that costs little.
func cheap(user, password string) string {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt)
	h := &hash{memory: 64, passes: 1, lanes: 1, salt: salt, sum: make([]byte, sumSize)}
	enc := base64.RawStdEncoding.EncodeToString
	return user + ":$argon2id$v=19$m=64,t=1,p=1$" + enc(salt) + "$" + enc(h.of(password))
}

func fileOf(t testing.TB, pairs ...string) string {
	t.Helper()
	var lines []string
	for i := 0; i < len(pairs); i += 2 {
		lines = append(lines, cheap(pairs[i], pairs[i+1]))
	}
	return strings.Join(lines, "\n") + "\n"
}

func usersOf(t testing.TB, pairs ...string) *Users {
	t.Helper()
	u, err := ParseUsers([]byte(fileOf(t, pairs...)))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func guest(k *Keeper, r *Rules) *Guest {
	return &Guest{Client: netip.MustParseAddrPort("192.0.2.1:5"), Keeper: k, Rules: func() *Rules { return r }}
}

func codeOf(err error) fault.Code {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

func TestWhoIsLetIn(t *testing.T) {
	users := usersOf(t, "alice", "s3cret", "team-a", "p:w")
	key := []byte(strings.Repeat("k", MinKey))
	token, err := users.Token(key, "alice", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	old, err := users.Token(key, "alice", time.Now().Add(-time.Second))
	if err != nil {
		t.Fatal(err)
	}
	k := NewKeeper()
	pool, other := x509.NewCertPool(), x509.NewCertPool()
	pool.AddCert(&x509.Certificate{Raw: []byte("one")})
	other.AddCert(&x509.Certificate{Raw: []byte("other")})
	certified := guest(k, Certified(pool))
	certified.Certified, certified.Authorities = "alice", pool.Clone()
	before := guest(k, Certified(other))
	before.Certified, before.Authorities = "alice", pool
	both := guest(k, Guarded(users, nil).With(pool))
	both.Certified, both.Authorities = "bob", pool
	for _, tt := range []struct {
		title          string
		g              *Guest
		user, password string
		want           client.Identity
		code           fault.Code
	}{
		{"open, nobody", guest(k, Open()), "", "", client.Identity{}, ""},
		{"open, a name", guest(k, Open()), "bob-session-1", "x", client.Identity{User: "bob", Session: "1"}, ""},
		{"open, no name", guest(k, Open()), "b b", "x", client.Identity{}, fault.BadRequest},
		{"no rules", guest(k, &Rules{}), "alice", "s3cret", client.Identity{}, fault.Internal},
		{"closed", guest(k, Closed()), "alice", "s3cret", client.Identity{}, fault.NotReady},
		{"right", guest(k, Guarded(users, nil)), "alice", "s3cret", client.Identity{User: "alice"}, ""},
		{"right, remembered", guest(k, Guarded(users, nil)), "alice-country-de", "s3cret", client.Identity{User: "alice", Country: "de"}, ""},
		{"a user with a hyphen", guest(k, Guarded(users, nil)), "team-a-session-1", "p:w", client.Identity{User: "team-a", Session: "1"}, ""},
		{"wrong", guest(k, Guarded(users, nil)), "alice", "wrong", client.Identity{}, fault.AuthRequired},
		{"another's", guest(k, Guarded(users, nil)), "team-a", "s3cret", client.Identity{}, fault.AuthRequired},
		{"empty", guest(k, Guarded(users, nil)), "alice", "", client.Identity{}, fault.AuthRequired},
		{"stranger", guest(k, Guarded(users, nil)), "mallory", "s3cret", client.Identity{}, fault.AuthRequired},
		{"nobody", guest(k, Guarded(users, nil)), "", "", client.Identity{}, fault.AuthRequired},
		{"labels without a user", guest(k, Guarded(users, nil)), "session-1", "s3cret", client.Identity{}, fault.AuthRequired},
		{"token", guest(k, Guarded(users, key)), "alice-session-9", token, client.Identity{User: "alice", Session: "9"}, ""},
		{"token of another", guest(k, Guarded(users, key)), "team-a", token, client.Identity{}, fault.AuthRequired},
		{"token of a stranger", guest(k, Guarded(users, key)), "mallory", token, client.Identity{}, fault.AuthRequired},
		{"expired token", guest(k, Guarded(users, key)), "alice", old, client.Identity{}, fault.AuthRequired},
		{"token without a key", guest(k, Guarded(users, nil)), "alice", token, client.Identity{}, fault.AuthRequired},
		{"token of another key", guest(k, Guarded(users, []byte(strings.Repeat("j", MinKey)))), "alice", token, client.Identity{}, fault.AuthRequired},
		{"token after a new password", guest(k, Guarded(usersOf(t, "alice", "s3cret"), key)), "alice", token, client.Identity{}, fault.AuthRequired},
		{"token, longer", guest(k, Guarded(users, key)), "alice", strings.Replace(token, "wt1.", "wt1.9", 1), client.Identity{}, fault.AuthRequired},
		{"certificate", certified, "", "", client.Identity{User: "alice"}, ""},
		{"certificate and labels", certified, "alice-session-1", "", client.Identity{User: "alice", Session: "1"}, ""},
		{"certificate of another", certified, "bob", "", client.Identity{}, fault.AuthRequired},
		{"no certificate", guest(k, Certified(pool)), "alice", "", client.Identity{}, fault.AuthRequired},
		{"a certificate of authorities that are gone", before, "", "", client.Identity{}, fault.AuthRequired},
		{"no authorities", guest(k, Certified(nil)), "alice", "", client.Identity{}, fault.AuthRequired},
		{"password without the certificate", guest(k, Guarded(users, nil).With(pool)), "alice", "s3cret", client.Identity{}, fault.AuthRequired},
		{"password and certificate", both, "alice", "s3cret", client.Identity{User: "alice"}, ""},
	} {
		t.Run(tt.title, func(t *testing.T) {
			got, err := tt.g.Admit(t.Context(), Credentials{tt.user, tt.password})
			if got != tt.want || codeOf(err) != tt.code {
				t.Fatalf("%+v, %v", got, err)
			}
			if err != nil && (strings.Contains(err.Error(), "s3cret") || tt.user != "" && strings.Contains(err.Error(), tt.user)) {
				t.Errorf("the error tells too much: %v", err)
			}
		})
	}
}

func TestAStrangerCostsWhatAUserCosts_AndARightPasswordCostsOnce(t *testing.T) {
	users := usersOf(t, "alice", "s3cret")
	s, a := users.stranger, users.by["alice"]
	if s.memory != a.memory || s.passes != a.passes || s.lanes != a.lanes || len(s.sum) != len(a.sum) || len(s.salt) != len(a.salt) {
		t.Errorf("%+v and %+v", s, a)
	}
	k := NewKeeper()
	if right, err := k.matches(t.Context(), a, "alice", "s3cret", netip.Addr{}); !right || err != nil {
		t.Fatal(right, err)
	}
	for range cap(k.slots) { // nothing can be computed any more
		k.slots <- struct{}{}
	}
	if _, err := guest(k, Guarded(users, nil)).Admit(t.Context(), Credentials{"alice", "s3cret"}); err != nil {
		t.Errorf("the password is computed again: %v", err)
	}
	k.mu.Lock()
	if len(k.proven) != 1 || len(k.checks) != 0 {
		t.Errorf("%d are remembered, %d are being checked", len(k.proven), len(k.checks))
	}
	k.mu.Unlock()
	k.now = func() time.Time { return time.Now().Add(provenTime + time.Second) }
	<-k.slots
	if right, err := k.matches(t.Context(), a, "alice", "s3cret", netip.Addr{}); !right || err != nil {
		t.Error("after its time it is checked anew:", right, err)
	}
}

func TestPasswordsThatAreBeingCheckedAreBounded(t *testing.T) {
	users := usersOf(t, "alice", "s3cret")
	k := NewKeeper()
	slots := cap(k.slots)
	for range slots {
		k.slots <- struct{}{}
	}
	r := Guarded(users, nil)
	ended := make(chan error, 1000)
	try := func(from, password string) {
		go func() { ended <- k.check(t.Context(), r, "alice", password, netip.MustParseAddr(from)) }()
	}
	for i := range maxByPlace {
		try("2001:db8::1", "wrong"+strings.Repeat("x", i))
	}
	for waiting := 0; waiting < maxByPlace; {
		k.mu.Lock()
		waiting = len(k.checks)
		k.mu.Unlock()
	}
	if err := k.check(t.Context(), r, "alice", "one more", netip.MustParseAddr("2001:db8::2")); codeOf(err) != fault.Limit {
		t.Errorf("one more of that network: %v", err)
	}
	try("192.0.2.1", "s3cret") // another place waits its turn
	for waiting := 0; waiting < maxByPlace+1; {
		k.mu.Lock()
		waiting = len(k.checks)
		k.mu.Unlock()
	}
	for range slots {
		<-k.slots
	}
	right := 0
	for range maxByPlace + 1 {
		if err := <-ended; err == nil {
			right++
		} else if codeOf(err) != fault.AuthRequired {
			t.Error(err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if right != 1 || len(k.checks) != 0 || len(k.byPlace) != 0 {
		t.Errorf("%d were right; %d checks and %d places are left", right, len(k.checks), len(k.byPlace))
	}
}

func TestAFileOfUsersIsReadOrRefusedWithItsLine(t *testing.T) {
	good := fileOf(t, "alice", "s3cret")
	u, err := ParseUsers([]byte("# users\n\n" + good))
	if err != nil || len(u.Names()) != 1 || !u.Has("alice") || u.Has("bob") {
		t.Fatal(u, err)
	}
	hash := good[len("alice:") : len(good)-1]
	for text, line := range map[string]int{
		good + good:               1 + 1,
		"alice\n":                 1,
		"alice:s3cret\n":          1,
		"al ice:" + hash:          1,
		"alice-session-1:" + hash: 1,
		":" + hash:                1,
		"\n\nalice:$2y$05$abcdef": 3,
		"a:" + strings.Replace(hash, "m=64,", "m=99999999,", 1): 1,
		"a:" + strings.Replace(hash, "m=64,", "m=0,", 1):        1,
		"a:" + strings.Replace(hash, "argon2id", "argon2i", 1):  1,
		"a:" + strings.Replace(hash, "v=19", "v=16", 1):         1,
		"a:" + hash + "=": 1,
		"a:" + hash + "$": 1,
	} {
		_, err := ParseUsers([]byte(text))
		e, ok := errors.AsType[*LineError](err)
		if !ok || e.Line != line {
			t.Errorf("%q: %v", text, err)
		} else if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "$2y") {
			t.Errorf("the error shows the line: %v", err)
		}
	}
	if _, err := ParseUsers([]byte("# nobody\n")); !errors.Is(err, ErrNoUser) {
		t.Error(err)
	}
}

func TestALineThatIsWrittenIsRead(t *testing.T) {
	line, err := NewLine("alice", "s3cret")
	if err != nil {
		t.Fatal(err)
	}
	u, err := ParseUsers([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	h := u.by["alice"]
	if h.memory != memory || h.passes != passes || h.lanes != lanes || !h.matches("s3cret") || h.matches("s3cres") {
		t.Errorf("%+v", h)
	}
}

func TestPasswordsThatCannotBeOne(t *testing.T) {
	for _, p := range []string{"", "a\nb", "a\x00", strings.Repeat("x", MaxPassword+1), "wt1.x"} {
		if _, err := NewLine("alice", p); !errors.Is(err, ErrPassword) {
			t.Errorf("%q: %v", p, err)
		}
	}
}

func TestAUserHasAsMuchAsIsAllowed(t *testing.T) {
	k := NewKeeper()
	now := time.Unix(1000, 0)
	k.now = func() time.Time { return now }
	k.SetUserLimits(UserLimits{Connections: 2, NewPerSecond: 3})
	g := guest(k, Open())
	id := client.Identity{User: "alice"}
	one, err1 := g.Enter(id)
	two, err2 := g.Enter(client.Identity{User: "alice", Session: "2"})
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if _, err := g.Enter(id); codeOf(err) != fault.Limit {
		t.Errorf("a third: %v", err)
	}
	if _, err := g.Enter(client.Identity{User: "bob"}); err != nil {
		t.Errorf("another user: %v", err)
	}
	one()
	one() // once is once
	two()
	three, err := g.Enter(id)
	if err != nil {
		t.Fatal(err)
	}
	three()
	if _, err := g.Enter(id); codeOf(err) != fault.Limit {
		t.Errorf("a fourth in the same second: %v", err)
	}
	now = now.Add(time.Second)
	for range 3 {
		leave, err := g.Enter(id)
		if err != nil {
			t.Fatal(err)
		}
		leave()
	}
	if _, err := g.Enter(client.Identity{}); err != nil {
		t.Errorf("who has no name: %v", err)
	}
}

func TestUsersThatAreGoneAreForgotten(t *testing.T) {
	k := NewKeeper()
	now := time.Unix(1000, 0)
	k.now = func() time.Time { return now }
	k.SetUserLimits(UserLimits{NewPerSecond: 1})
	for i := range maxStays {
		leave, err := k.enter("u" + strings.Repeat("x", i%50) + time.Duration(i).String())
		if err != nil {
			t.Fatal(i, err)
		}
		leave()
	}
	if _, err := k.enter("one more"); codeOf(err) != fault.Limit {
		t.Errorf("more are counted than fit: %v", err)
	}
	now = now.Add(time.Minute)
	if _, err := k.enter("one more"); err != nil || len(k.limits.users) != 1 {
		t.Errorf("%v, %d are counted", err, len(k.limits.users))
	}
}

func FuzzParseUsers(f *testing.F) {
	f.Add([]byte(fileOf(f, "alice", "s3cret", "bob", "p")))
	f.Add([]byte("# x\n\na:$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA"))
	f.Fuzz(func(t *testing.T, text []byte) {
		u, err := ParseUsers(text)
		if err != nil {
			return
		}
		for _, name := range u.Names() {
			if h := u.by[name]; CheckUser(name) != nil || h.memory > maxMemory || h.passes > maxPasses || h.lanes == 0 {
				t.Errorf("%q: %+v", name, h)
			}
		}
	})
}

func FuzzToken(f *testing.F) {
	u, _ := ParseUsers([]byte("a:$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA"))
	key := []byte(strings.Repeat("k", MinKey))
	good, _ := u.Token(key, "a", time.Unix(2000, 0))
	f.Add("a", good)
	f.Add("b", good)
	f.Add("a", good[:20]+"\n"+good[20:])
	f.Fuzz(func(t *testing.T, user, token string) {
		if ok, _ := u.checkToken(key, user, token, time.Unix(1000, 0)); ok && (user != "a" || token != good) {
			t.Errorf("%q is a token of %q", token, user)
		}
	})
}
