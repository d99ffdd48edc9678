package dns

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The vectors are those of RFC 9018, appendix A.
func TestACookieIsTheOneOfTheStandard(t *testing.T) {
	for _, c := range []struct {
		secret, client, ip, full string
		at                       int64
	}{
		{"e5e973e5a6b2a43f48e7dc849e37bfcf", "2464c4abcf10c957", "198.51.100.100", "2464c4abcf10c957010000005cf79f111f8130c3eee29480", 1559731985},
		{"e5e973e5a6b2a43f48e7dc849e37bfcf", "2464c4abcf10c957", "198.51.100.100", "2464c4abcf10c957010000005cf7a871d4a564a1442aca77", 1559734385},
		{"445536bcd2513298075a5d379663c962", "22681ab97d52c298", "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c609a6bb79d16625507a", 1559741961},
		{"dd3bdf9344b678b185a6f5cb60fca715", "22681ab97d52c298", "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c57926556bd0934c72f8", 1559741817},
	} {
		j := jarOf([16]byte(unhex(t, c.secret)))
		var got [cookieLen]byte
		j.make(&got, unhex(t, c.client), netip.MustParseAddr(c.ip), time.Unix(c.at, 0))
		if hex.EncodeToString(got[:]) != c.full {
			t.Errorf("%x, want %s", got, c.full)
		}
		if _, ok := j.open(got[:], netip.MustParseAddr(c.ip), time.Unix(c.at, 0)); !ok {
			t.Errorf("%s is not known again", c.full)
		}
	}
}

func TestACookieHoldsForItsAddressAndForAnHour(t *testing.T) {
	j := newJar()
	now := time.Unix(1<<32-60, 0) // the time wraps round while it is on its way
	ip := netip.MustParseAddr("198.51.100.7")
	var made [cookieLen]byte
	j.make(&made, []byte("8 octets"), ip, now)
	for _, c := range []struct {
		name string
		ip   string
		jar  jar
		at   time.Duration
		flip int
		want bool
	}{
		{"at once", "198.51.100.7", j, 0, -1, true},
		{"after an hour", "198.51.100.7", j, time.Hour, -1, true},
		{"after more", "198.51.100.7", j, time.Hour + time.Second, -1, false},
		{"from five minutes ahead", "198.51.100.7", j, -5 * time.Minute, -1, true},
		{"from further ahead", "198.51.100.7", j, -5*time.Minute - time.Second, -1, false},
		{"from another address", "198.51.100.8", j, 0, -1, false},
		{"of another door", "198.51.100.7", newJar(), 0, -1, false},
		{"with another client's part", "198.51.100.7", j, 0, 0, false},
		{"of another version", "198.51.100.7", j, 0, 8, false},
		{"with another time", "198.51.100.7", j, 0, 15, false},
		{"with another hash", "198.51.100.7", j, 0, 23, false},
	} {
		b := bytes.Clone(made[:])
		if c.flip >= 0 {
			b[c.flip] ^= 1
		}
		if _, ok := c.jar.open(b, netip.MustParseAddr(c.ip), now.Add(c.at)); ok != c.want {
			t.Errorf("%s: good: %v", c.name, ok)
		}
	}
}

func cookie(s string) *miekg.EDNS0_COOKIE {
	return &miekg.EDNS0_COOKIE{Code: miekg.EDNS0COOKIE, Cookie: s}
}

func TestAClientGetsACookieAndTheSameOneBackWhileItIsFresh(t *testing.T) {
	d := newDoor(t, Options{})
	m := ask(t, d, here(UDP), query(t, "www.example.", miekg.TypeA, edns(1232, cookie("0102030405060708"))))
	first, ok := option[*miekg.EDNS0_COOKIE](m)
	if !ok || len(first.Cookie) != 2*cookieLen || first.Cookie[:16] != "0102030405060708" {
		t.Fatalf("%v", m)
	}
	m = ask(t, d, here(UDP), query(t, "www.example.", miekg.TypeA, edns(1232, cookie(first.Cookie))))
	if again, _ := option[*miekg.EDNS0_COOKIE](m); again == nil || again.Cookie != first.Cookie {
		t.Errorf("%v", m)
	}
	m = ask(t, d, here(UDP), query(t, "www.example.", miekg.TypeA, edns(1232, cookie("0102030405060708"+"0100000000000000ffffffffffffffff"))))
	if other, _ := option[*miekg.EDNS0_COOKIE](m); other == nil || other.Cookie[:16] != first.Cookie[:16] || m.Rcode != miekg.RcodeSuccess || d.Stats().BadCookies != 1 {
		t.Errorf("a forged cookie: %v", m)
	}
	m = ask(t, d, here(TLS), query(t, "www.example.", miekg.TypeA, edns(1232, cookie("0102030405060708"))))
	if _, there := option[*miekg.EDNS0_COOKIE](m); there {
		t.Errorf("a cookie over TLS: %v", m)
	}
}

func TestACookieOfAnImpossibleLengthIsAnError(t *testing.T) {
	d := newDoor(t, Options{})
	for octets, want := range map[int]int{7: 1, 8: 0, 9: 1, 15: 1, 16: 0, 24: 0, 40: 0, 41: 1} {
		m := ask(t, d, here(UDP), query(t, "www.example.", miekg.TypeA, edns(1232, cookie(hex.EncodeToString(make([]byte, octets))))))
		if m.Rcode != want {
			t.Errorf("%d octets: %v", octets, m)
		}
	}
}

func TestAQueryForACookieAloneIsAnswered(t *testing.T) {
	d := newDoor(t, Options{})
	empty := func(options ...miekg.EDNS0) []byte {
		return query(t, "", 0, func(m *miekg.Msg) { edns(1232, options...)(m); m.Question = nil })
	}
	m := ask(t, d, here(UDP), empty(cookie("0102030405060708")))
	if _, ok := option[*miekg.EDNS0_COOKIE](m); !ok || m.Rcode != miekg.RcodeSuccess || len(m.Question) != 0 {
		t.Errorf("%v", m)
	}
	for name, m := range map[string]*miekg.Msg{
		"without a cookie": ask(t, d, here(UDP), empty()),
		"over TLS":         ask(t, d, here(TLS), empty(cookie("0102030405060708"))),
	} {
		if m.Rcode != miekg.RcodeFormatError {
			t.Errorf("%s: %v", name, m)
		}
	}
}
