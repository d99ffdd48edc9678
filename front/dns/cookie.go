package dns

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"time"
)

// Lengths of cookies in octets (RFC 7873, section 4; RFC 9018, section 4).
const (
	clientCookieLen = 8
	serverCookieLen = 16
	cookieLen       = clientCookieLen + serverCookieLen
	minServerCookie = 8
	maxServerCookie = 32
)

// How old a server's cookie may be, and how far ahead (RFC 9018, section 4.3).
const (
	cookieAge    = time.Hour
	cookieFuture = 5 * time.Minute
	cookieRenew  = 30 * time.Minute
)

// jar makes server cookies, and knows them again. Its secret is as old as the door.
type jar struct{ k0, k1 uint64 }

func newJar() jar {
	var secret [16]byte
	_, _ = rand.Read(secret[:]) // it never fails
	return jarOf(secret)
}

func jarOf(secret [16]byte) jar {
	return jar{binary.LittleEndian.Uint64(secret[:]), binary.LittleEndian.Uint64(secret[8:])}
}

// openCookie reads the cookie option of a query over UDP or TCP and makes the one of the reply. verified says that the
// client has shown a cookie which it can only have got at its address; sound is false where the option has no length
// that a cookie has (RFC 7873, section 5.2.2).
func (d *Door) openCookie(a *asking, now time.Time) (verified, sound bool) {
	got := a.Cookie
	if got == nil {
		return false, true
	}
	server := len(got) - clientCookieLen
	if server != 0 && (server < minServerCookie || server > maxServerCookie) {
		return false, false
	}
	if a.client.Proto.encrypted() {
		return false, !a.Empty // TLS has shown as much, and a cookie would only link a client's connections
	}
	ip := a.client.Addr.Addr()
	a.hasCookie = true
	if server == serverCookieLen {
		made, ok := d.jar.open(got, ip, now)
		if ok && now.Sub(made) < cookieRenew {
			copy(a.cookie[:], got)
			return true, true
		}
		verified = ok
	}
	if server > 0 && !verified {
		d.stats.badCookies.Add(1)
	}
	d.jar.make(&a.cookie, got, ip, now)
	return verified, true
}

// make makes the cookie for a client: its own part, and ours (RFC 9018, section 4).
func (j jar) make(out *[cookieLen]byte, client []byte, ip netip.Addr, now time.Time) {
	copy(out[:clientCookieLen], client)
	out[8], out[9], out[10], out[11] = 1, 0, 0, 0
	binary.BigEndian.PutUint32(out[12:], uint32(now.Unix()))
	binary.LittleEndian.PutUint64(out[16:], j.hash(out[:16], ip))
}

// open says whether a cookie is one of ours that still holds, and when it was made.
func (j jar) open(cookie []byte, ip netip.Addr, now time.Time) (made time.Time, ok bool) {
	if cookie[8] != 1 {
		return time.Time{}, false
	}
	var want [8]byte
	binary.LittleEndian.PutUint64(want[:], j.hash(cookie[:16], ip))
	// Serial number arithmetic (RFC 1982), as the octets are few.
	age := time.Duration(int32(uint32(now.Unix())-binary.BigEndian.Uint32(cookie[12:]))) * time.Second
	ok = subtle.ConstantTimeCompare(want[:], cookie[16:]) == 1 && age <= cookieAge && age >= -cookieFuture
	return now.Add(-age), ok
}

// hash is SipHash-2-4 of client cookie, version, reserved octets, time and address (RFC 9018, section 4.4).
func (j jar) hash(head []byte, ip netip.Addr) uint64 {
	var room [32]byte
	b := append(room[:0], head[:16]...)
	if ip.Is4() {
		raw := ip.As4()
		b = append(b, raw[:]...)
	} else {
		raw := ip.As16()
		b = append(b, raw[:]...)
	}
	return sipHash(j.k0, j.k1, b)
}

// sipHash is SipHash-2-4 (Aumasson and Bernstein, 2012).
func sipHash(k0, k1 uint64, b []byte) uint64 {
	v0, v1 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d
	v2, v3 := k0^0x6c7967656e657261, k1^0x7465646279746573
	round := func() {
		v0 += v1
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v3
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 += v3
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 += v1
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	last := uint64(len(b)) << 56
	for ; len(b) >= 8; b = b[8:] {
		m := binary.LittleEndian.Uint64(b)
		v3 ^= m
		round()
		round()
		v0 ^= m
	}
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	v3 ^= last
	round()
	round()
	v0 ^= last
	v2 ^= 0xff
	for range 4 {
		round()
	}
	return v0 ^ v1 ^ v2 ^ v3
}
