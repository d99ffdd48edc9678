package socks

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"watertight/name"
)

func TestADatagramIsWrittenAndReadAsTheStandardSays(t *testing.T) {
	for target, header := range map[string]string{
		"192.0.2.7:853":      "\x00\x00\x00\x01\xc0\x00\x02\x07\x03\x55",
		"[2001:db8::7]:443":  "\x00\x00\x00\x04\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x07\x01\xbb",
		"dns.example.net:53": "\x00\x00\x00\x03\x0fdns.example.net\x00\x35",
	} {
		to := name.Must(target)
		if got := string(AppendDatagramHeader(nil, to)); got != header {
			t.Errorf("%s: %q", target, got)
		}
		d, err := ParseDatagram([]byte(header + "payload"))
		if err != nil || d.Fragment != 0 || d.Host != to.Host() || d.Port != to.Port() || string(d.Payload) != "payload" {
			t.Errorf("%s: %+v, %v", target, d, err)
		}
		for cut := range len(header) {
			if _, err := ParseDatagram([]byte(header[:cut])); err == nil {
				t.Errorf("%s: %d octets of the header are enough", target, cut)
			}
		}
	}
}

func TestADatagramOfAnotherKindIsAnError(t *testing.T) {
	for sent, want := range map[string]error{
		"": ErrDatagram,
		"\x00\x00\x00\x02\xc0\x00\x02\x07\x03\x55x": ErrDatagram,
		"\x00\x00\x00\x03\x00\x03\x55x":             ErrHost,
		"\x00\x00\x00\x03\x04a b.\x03\x55x":         ErrHost,
	} {
		if _, err := ParseDatagram([]byte(sent)); !errors.Is(err, want) {
			t.Errorf("%q: %v", sent, err)
		}
	}
}

func TestAFragmentIsToldByItsNumber(t *testing.T) {
	d, err := ParseDatagram([]byte("\x00\x00\x81\x01\xc0\x00\x02\x07\x03\x55x"))
	if err != nil || d.Fragment != 0x81 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestAnAssociationIsAskedForWithoutAnAddress(t *testing.T) {
	if got := AppendAssociateFrom(nil, 0x1234); string(got) != "\x05\x03\x00\x01\x00\x00\x00\x00\x12\x34" {
		t.Errorf("% x", got)
	}
	if got := AppendAssociate(nil); string(got) != "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00" {
		t.Errorf("%q", got)
	}
}

func FuzzParseDatagram(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\xc0\x00\x02\x07\x03\x55payload"))
	f.Add([]byte("\x00\x00\x01\x03\x0fdns.example.net\x00\x35"))
	f.Add([]byte("\x00\x00\x00\x04" + strings.Repeat("\x20", 18)))
	f.Fuzz(func(t *testing.T, sent []byte) {
		d, err := ParseDatagram(sent)
		if err != nil {
			return
		}
		if !d.Host.IsValid() || !bytes.HasSuffix(sent, d.Payload) || len(sent)-len(d.Payload) > MaxDatagramHeader {
			t.Errorf("%q gave %+v", sent, d)
		}
		to, err := name.New(d.Host, d.Port)
		if err != nil {
			return
		}
		again, err := ParseDatagram(append(AppendDatagramHeader(nil, to), d.Payload...))
		if err != nil || again.Host != d.Host || again.Port != d.Port || !bytes.Equal(again.Payload, d.Payload) {
			t.Errorf("%q came back as %+v, %v", sent, again, err)
		}
	})
}
