package masque

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"watertight/name"
)

func TestPayloadsComeOutOfCapsulesAsTheyWentIn(t *testing.T) {
	var stream []byte
	sizes := []int{0, 1, 62, 63, 1200, 1<<14 - 2, 1<<14 - 1, MaxPayload}
	for _, n := range sizes {
		payload := bytes.Repeat([]byte{byte(n)}, n)
		before := len(stream)
		stream = AppendCapsule(stream, payload)
		if over := len(stream) - before - n; over > CapsuleOverhead {
			t.Errorf("%d octets have %d before them", n, over)
		}
	}
	for title, from := range map[string]io.Reader{"whole": bytes.NewReader(stream), "octet by octet": iotest.OneByteReader(bytes.NewReader(stream))} {
		r := NewReader(from)
		for _, n := range sizes {
			got, err := r.Next()
			if err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(n)}, n)) {
				t.Errorf("%s: %d octets came out as %d, %v", title, n, len(got), err)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: the end is %v", title, err)
		}
	}
}

func TestWhatTheStandardsWantPassedOverIs(t *testing.T) {
	stream := "\x17\x03abc" + // a type that nobody knows
		"\x80\x00\x00\x17\x00" + // and another, empty
		"\x00\x03\x02no" + // a context that nobody registered
		"\x00\x05\x00this"
	got, err := NewReader(strings.NewReader(stream)).Next()
	if err != nil || string(got) != "this" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestWhatIsTooLongOrCutOffIsAnError(t *testing.T) {
	for stream, want := range map[string]error{
		"":                                     io.EOF,
		"\x00":                                 io.ErrUnexpectedEOF,
		"\x40":                                 io.ErrUnexpectedEOF,
		"\x00\x05\x00th":                       io.ErrUnexpectedEOF,
		"\x17\x05ab":                           io.ErrUnexpectedEOF,
		"\x00\x00":                             ErrMalformed, // not even a context
		"\x00\x01\x40":                         ErrMalformed,
		"\x00\x80\x01\x00\x00":                 ErrTooLong, // 65536
		"\x17\xc0\x00\x00\x00\xff\xff\xff\xff": ErrTooLong,
		strings.Repeat("\x17\x00", 1000):       ErrTooLong,
	} {
		if _, err := NewReader(strings.NewReader(stream)).Next(); !errors.Is(err, want) {
			t.Errorf("%.20q: %v", stream, err)
		}
	}
}

func TestAnHTTPDatagramIsOfItsContext(t *testing.T) {
	if payload, ok, err := ParseUDP(AppendUDP(nil, []byte("this"))); string(payload) != "this" || !ok || err != nil {
		t.Errorf("%q, %v, %v", payload, ok, err)
	}
	if _, ok, err := ParseUDP([]byte("\x40\x05this")); ok || err != nil {
		t.Errorf("another context: %v, %v", ok, err)
	}
	if payload, ok, err := ParseUDP([]byte("\x40\x00")); len(payload) > 0 || !ok || err != nil {
		t.Errorf("context 0 in two octets, and nothing: %q, %v, %v", payload, ok, err)
	}
	for _, b := range []string{"", "\x40", "\x00" + strings.Repeat("x", MaxPayload+1)} {
		if _, _, err := ParseUDP([]byte(b)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%.10q: %v", b, err)
		}
	}
}

func TestThePathOfATarget(t *testing.T) {
	for target, path := range map[string]string{
		"192.0.2.7:443":        "/.well-known/masque/udp/192.0.2.7/443/",
		"[2001:db8::42]:443":   "/.well-known/masque/udp/2001%3Adb8%3A%3A42/443/", // RFC 9298, section 3
		"target.example.com:1": "/.well-known/masque/udp/target.example.com/1/",
	} {
		to := name.Must(target)
		if got := Path(to); got != path {
			t.Errorf("%s: %s", target, got)
		}
		if got, err := ParsePath(path); got != to || err != nil {
			t.Errorf("%s: %v, %v", path, got, err)
		}
	}
	for _, path := range []string{
		"", "/", "/.well-known/masque/udp/", "/.well-known/masque/udp/a/", "/.well-known/masque/udp/a/443", "/.well-known/masque/udp/a/443/x",
		"/.well-known/masque/udp/a/0/", "/.well-known/masque/udp/a/+1/", "/.well-known/masque/udp//443/", "/.well-known/masque/udp/a%2/443/",
		"/.well-known/masque/udp/[::1]/443/", "/.well-known/masque/udp/127.1/443/", "/.well-known/masque/udp/fe80%3A%3A1%25eth0/443/",
		"/.well-known/masque/udp/*/443/", "/.well-known/masque/ip/a/443/", "/.well-known/masque/udp/" + strings.Repeat("a", 2000) + "/443/",
	} {
		if got, err := ParsePath(path); !errors.Is(err, ErrPath) {
			t.Errorf("%.60s: %v, %v", path, got, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("\x17\x03abc\x00\x05\x00this\x00\x03\x02no"))
	f.Add(AppendCapsule(nil, bytes.Repeat([]byte{7}, 1200)))
	f.Add([]byte("\x00\x80\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		whole, single := NewReader(bytes.NewReader(sent)), NewReader(iotest.OneByteReader(bytes.NewReader(sent)))
		for {
			a, errA := whole.Next()
			b, errB := single.Next()
			if !bytes.Equal(a, b) || (errA == nil) != (errB == nil) {
				t.Fatalf("%q is read as %q, %v and as %q, %v", sent, a, errA, b, errB)
			}
			if errA != nil {
				return
			}
			if len(a) > MaxPayload {
				t.Fatalf("%d octets", len(a))
			}
			again, err := NewReader(bytes.NewReader(AppendCapsule(nil, a))).Next()
			if err != nil || !bytes.Equal(again, a) {
				t.Fatalf("%q came back as %q, %v", a, again, err)
			}
		}
	})
}

func FuzzParsePath(f *testing.F) {
	f.Add("/.well-known/masque/udp/192.0.2.7/443/")
	f.Add("/.well-known/masque/udp/2001%3Adb8%3A%3A42/443/")
	f.Add("/.well-known/masque/udp/a.example/443/")
	f.Fuzz(func(t *testing.T, path string) {
		to, err := ParsePath(path)
		if err != nil {
			return
		}
		if again, err := ParsePath(Path(to)); again != to || err != nil {
			t.Errorf("%q gave %v, and its path %v, %v", path, to, again, err)
		}
	})
}
