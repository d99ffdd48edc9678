package acme

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// records are TXT records that are published.
type records struct {
	mu   sync.Mutex
	full bool
	text map[string]string
	ever []string
}

func (r *records) publish(name, text string) (func(), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full {
		return nil, errors.New("the zone takes no records")
	}
	r.text[name] = text
	r.ever = append(r.ever, name)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.text, name)
	}, nil
}

// byDNS has the world's names validated by records.
func (w *world) byDNS() *records {
	r := &records{text: map[string]string{}}
	w.setting.Publish = r.publish
	w.setting.Names = [][]string{{"*." + host, host}}
	w.authority.Validate = func(kind, name, _, answer string) error {
		sum := sha256.Sum256([]byte(answer))
		r.mu.Lock()
		defer r.mu.Unlock()
		if kind != "dns-01" || r.text["_acme-challenge."+strings.TrimPrefix(name, "*.")] != base64.RawURLEncoding.EncodeToString(sum[:]) {
			return errors.New("the record is another")
		}
		return nil
	}
	return r
}

func TestByDNSAWildcardIsObtainedAndItsRecordsAreWithdrawn(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.byDNS()
		w.run()
		w.after(time.Minute)
		s := w.m.Status()
		if len(s) != 1 || s[0].NotAfter.IsZero() || s[0].LastError != "" {
			t.Fatalf("%+v\n%s", s, &w.log)
		}
		if want := "_acme-challenge." + host; !slices.Equal(r.ever, []string{want, want}) || len(r.text) > 0 {
			t.Errorf("%v were published, and %v are", r.ever, r.text)
		}
		c, err := w.m.Secure(w.listener.Clone(), w.setting.Names[0]).GetCertificate(nil)
		if err != nil || c.Leaf.VerifyHostname("any."+host) != nil || c.Leaf.VerifyHostname(host) != nil {
			t.Errorf("%v", err)
		}
	})
}

func TestWhereNoRecordCanBePublishedThereIsNoCertificate(t *testing.T) {
	inWorld(t, func(w *world) {
		w.byDNS().full = true
		w.run()
		w.after(time.Minute)
		if s := w.m.Status()[0]; !s.NotAfter.IsZero() || !strings.Contains(s.LastError, "takes no records") {
			t.Errorf("%+v", s)
		}
	})
}

func TestAWildcardWithoutRecordsIsNoSetting(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.byDNS()
		w.setting.Publish = nil
		if s := *w.setting; s.validate() == nil {
			t.Error("a wildcard is to be validated by TLS")
		}
		w.setting.Publish, w.setting.HTTP = r.publish, true
		if s := *w.setting; s.validate() == nil {
			t.Error("validation is to be by DNS and by HTTP")
		}
	})
}
