package resolve_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"watertight/dnssec"
	"watertight/resolve"
)

// shelf keeps a text, as a file would.
type shelf struct {
	mu      sync.Mutex
	text    []byte
	refused []error
}

func (s *shelf) Load() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.text)
}

func (s *shelf) Save(text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = bytes.Clone(text)
}

func (s *shelf) Refuse(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = append(s.refused, why)
}

// A new key waits 30 days, and the program is started anew in between.
func TestTheTimeOfANewKeyOfTheRootGoesOnOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, keep := newSigned(t), &shelf{}
		o := s.options(t, resolve.RequireSecure)
		o.DNSSEC.Keep = keep
		old, next := s.keys["."], newZoneKey(t, ".")
		s.publish(old, next)
		run := func(d time.Duration) *resolve.Resolver {
			_, _, r := signedOne(t, s, o)
			if err := lookupA(t, r, "api.shop.example"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(d)
			synctest.Wait()
			return r
		}
		for _, c := range []struct {
			runs, pause time.Duration
			state       dnssec.AnchorState
		}{{12 * 24 * time.Hour, time.Hour, dnssec.AddPending}, {12 * 24 * time.Hour, 6 * 24 * time.Hour, dnssec.AddPending}, {time.Minute, 0, dnssec.Valid}} {
			r := run(c.runs)
			if got := r.Stats().DNSSEC.Anchors[next.KeyTag()]; got != c.state {
				t.Errorf("after %v: %s, want %s", c.runs, got, c.state)
			}
			r.Close()
			time.Sleep(c.pause)
		}
		s.mu.Lock()
		s.keys["."] = next // the old one is gone
		s.mu.Unlock()
		s.publish(next)
		r := run(time.Minute)
		if d := r.Stats().DNSSEC; d.Anchors[next.KeyTag()] != dnssec.Valid || d.Anchors[old.KeyTag()] != dnssec.Missing || d.AnchorsError != "" {
			t.Errorf("%+v", d)
		}
		r.Close()
		if len(keep.refused) != 0 {
			t.Errorf("what was kept was refused: %v", keep.refused)
		}
		o.DNSSEC.Keep = &shelf{} // who kept nothing does not know the new key
		_, _, forgetful := signedOne(t, s, o)
		wantBogus(t, lookupA(t, forgetful, "api.shop.example"), "", dnssec.EDEKeyMissing)
	})
}

func TestARevocationIsRememberedOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, keep := newSigned(t), &shelf{}
		o := s.options(t, resolve.Validate)
		o.DNSSEC.Keep = keep
		_, _, r := signedOne(t, s, o)
		if err := lookupA(t, r, "api.shop.example"); err != nil {
			t.Fatal(err)
		}
		old := *s.keys["."]
		key := *old.DNSKEY
		key.Flags |= dns.REVOKE
		s.publish(&zoneKey{&key, old.signer})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		r.Close()
		s.change(nil) // who has the key that was revoked goes on as before
		_, _, r = signedOne(t, s, o)
		for _, host := range []string{"api.shop.example", "www.plain.example"} {
			wantBogus(t, lookupA(t, r, host), "every trust anchor of the root was revoked", dnssec.EDEIndeterminate)
		}
	})
}

func TestWhatWasKeptAndCannotBeUsedIsToldAndNotTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, keep := newSigned(t), &shelf{}
		o := s.options(t, resolve.Validate)
		o.DNSSEC.Keep = keep
		_, _, r := signedOne(t, s, o)
		if err := lookupA(t, r, "api.shop.example"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.Close()
		good := string(keep.Load())
		planted := newZoneKey(t, ".") // a key of somebody else's, said to be trusted
		foreign := `{"version":1,"began":["` + anchorText(planted) + `"],"digests":[],"keys":[{"key":"` + anchorText(planted) + `","state":"valid"}]}`
		for what, text := range map[string]string{"damaged": good[:len(good)/2], "no text of ours": "x", "of another root": foreign} {
			keep.text, keep.refused = []byte(text), nil
			_, _, r := signedOne(t, s, o)
			if err := lookupA(t, r, "api.shop.example"); err != nil {
				t.Errorf("%s: the anchors to begin with do not hold: %v", what, err)
			}
			if len(keep.refused) != 1 {
				t.Errorf("%s: %v", what, keep.refused)
			}
			if got := r.Stats().DNSSEC.Anchors; len(got) != 1 || got[planted.KeyTag()] != "" {
				t.Errorf("%s: followed: %v", what, got)
			}
			synctest.Wait()
			r.Close()
			if now := string(keep.Load()); !strings.Contains(now, s.anchor(t).String()) {
				t.Errorf("%s: it was not replaced: %s", what, now)
			}
		}
	})
}

func anchorText(k *zoneKey) string {
	a, err := dnssec.ParseAnchor(k.DNSKEY.String())
	if err != nil {
		panic(err)
	}
	return a.String()
}
