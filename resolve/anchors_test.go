package resolve_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"watertight/dnssec"
	"watertight/dnswire"
	"watertight/resolve"
)

// publish adds a key to those of the root, which it signs too.
func (s *signed) publish(keys ...*zoneKey) {
	s.change(func(q dns.Question, m *dns.Msg) {
		if q.Name != "." || q.Qtype != dns.TypeDNSKEY {
			return
		}
		m.Answer = nil
		for _, k := range keys {
			m.Answer = append(m.Answer, k.DNSKEY)
		}
		set := m.Answer
		for _, k := range keys {
			m.Answer = append(m.Answer, s.signature(k, ".", set))
		}
	})
}

func TestTheKeysOfTheRootAreFollowedAsTheyRollOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		_, server, r := signedOne(t, s, s.options(t, resolve.RequireSecure))
		old, next := s.keys["."], newZoneKey(t, ".")
		if err := lookupA(t, r, "api.shop.example"); err != nil {
			t.Fatal(err)
		}
		s.publish(old, next)
		time.Sleep(29 * 24 * time.Hour)
		if got := r.Stats().DNSSEC.Anchors; got[next.KeyTag()] != dnssec.AddPending || got[old.KeyTag()] != dnssec.Valid {
			t.Errorf("%v", got)
		}
		if n := server.Count("", dnswire.DNSKEY); n < 29 {
			t.Errorf("the keys were looked at %d times in 29 days", n)
		}
		time.Sleep(3 * 24 * time.Hour)
		s.mu.Lock()
		s.keys["."] = next
		s.mu.Unlock()
		s.publish(next)
		time.Sleep(24 * time.Hour)
		if err := lookupA(t, r, "api.shop.example"); err != nil {
			t.Errorf("under the new key: %v", err)
		}
		if d := r.Stats().DNSSEC; d.Anchors[next.KeyTag()] != dnssec.Valid || d.Anchors[old.KeyTag()] != dnssec.Missing || d.AnchorsError != "" {
			t.Errorf("%+v", d)
		}
	})
}

func TestOnceEveryKeyOfTheRootIsRevokedNothingIsValidated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		_, _, r := signedOne(t, s, s.options(t, resolve.Validate))
		if err := lookupA(t, r, "api.shop.example"); err != nil {
			t.Fatal(err)
		}
		old := *s.keys["."]
		key := *old.DNSKEY
		key.Flags |= dns.REVOKE
		s.publish(&zoneKey{&key, old.signer})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		for _, host := range []string{"api.shop.example", "www.plain.example"} {
			wantBogus(t, lookupA(t, r, host), "every trust anchor of the root was revoked", dnssec.EDEIndeterminate)
		}
	})
}

func TestTheKeysOfTheRootAreAskedForAgainWhereTheLookAtThemFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		_, server, r := signedOne(t, s, s.options(t, resolve.Validate))
		s.change(unsign)
		if err := lookupA(t, r, "api.shop.example"); err == nil {
			t.Error("it passed")
		}
		synctest.Wait()
		if r.Stats().DNSSEC.AnchorsError == "" {
			t.Error("keys without a signature are taken")
		}
		s.change(nil)
		before := server.Count("", dnswire.DNSKEY)
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if d := r.Stats().DNSSEC; d.AnchorsError != "" || server.Count("", dnswire.DNSKEY) != before+1 {
			t.Errorf("%+v", d)
		}
	})
}
