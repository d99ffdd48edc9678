package dnswire

import (
	"encoding/binary"
	"testing"
	"time"
)

func TestWhatIsValidatedIsKeptNoLongerThanItsSignaturesSay(t *testing.T) {
	a := whole(t).Aged(20 * time.Second) // 280, 40 and 70 seconds are left
	v, err := a.Validated(false, 50*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if v.TTL != 40*time.Second || v.AD || len(v.EDE) != 1 {
		t.Errorf("%+v", v)
	}
	kept, err := v.Keep()
	if err != nil {
		t.Fatal(err)
	}
	again := must(kept.Answer(question))
	for name, a := range map[string]*Answer{"now": v, "kept": again} {
		for i, want := range []uint32{50, 40, 50} {
			if got := a.Records[i].TTL; got != want {
				t.Errorf("%s: record %d may be kept for %d s", name, i, got)
			}
		}
	}
	if v.TTL = 0; len(v.Records) != 3 || a.Records[0].TTL != 280 {
		t.Errorf("the answer itself was changed: %+v", a.Records)
	}
}

func TestAResolversWordIsNotTheValidators(t *testing.T) {
	for _, secure := range []bool{false, true} {
		a := whole(t)
		a.AD = !secure
		if v := must(a.Validated(secure, MaxTTL)); v.AD != secure || v.TTL != a.TTL || len(v.Records) != 3 {
			t.Errorf("secure %v: %+v", secure, v)
		}
	}
}

func TestAValidatedAnswerIsSaidToClientsWithItsShorterTTL(t *testing.T) {
	v := must(whole(t).Validated(true, 30*time.Second))
	f, err := v.form(false)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range f.ttls {
		if ttl := binary.BigEndian.Uint32(f.b[at:]); ttl > 30 {
			t.Errorf("a client is told %d s", ttl)
		}
	}
}
