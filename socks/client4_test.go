package socks

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"watertight/name"
)

func TestAClientOfVersion4WritesWhatTheProtocolSays(t *testing.T) {
	for _, tt := range []struct {
		to, user string
		want     []byte
	}{
		{"192.0.2.1:80", "", octets(4, 1, 0, 80, 192, 0, 2, 1, 0)},
		{"192.0.2.1:80", "jo", octets(4, 1, 0, 80, 192, 0, 2, 1, "jo", 0)},
		{"[::ffff:192.0.2.1]:80", "", octets(4, 1, 0, 80, 192, 0, 2, 1, 0)},
		{"a.b:258", "jo", octets(4, 1, 1, 2, 0, 0, 0, 1, "jo", 0, "a.b", 0)},
	} {
		got, err := AppendConnect4(nil, name.Must(tt.to), tt.user)
		if err != nil || !bytes.Equal(got, tt.want) {
			t.Errorf("%s as %q: got %v, %v", tt.to, tt.user, got, err)
		}
	}
}

func TestWhatVersion4CannotSayIsAnErrorAndNothingIsWritten(t *testing.T) {
	for _, tt := range []struct {
		to, user string
		want     error
	}{
		{"[2001:db8::1]:80", "", ErrIPv6},
		{"a.example:80", "a\x00b", ErrCredentials},
		{"a.example:80", strings.Repeat("u", MaxCredential+1), ErrCredentials},
	} {
		got, err := AppendConnect4([]byte("x"), name.Must(tt.to), tt.user)
		if !errors.Is(err, tt.want) || string(got) != "x" {
			t.Errorf("%s: got %q, %v", tt.to, got, err)
		}
	}
}

func TestAReplyOfVersion4IsReadToItsLastOctetAndNoFurther(t *testing.T) {
	r := bytes.NewReader(octets(0, 90, 1, 2, 3, 4, 5, 6, "x"))
	if err := ReadReply4(r, new(Buffer)); err != nil || r.Len() != 1 {
		t.Errorf("got %v, and %d octets are left", err, r.Len())
	}
	for _, tt := range []struct {
		said []byte
		want error
	}{
		{octets(0, 91, 0, 0, 0, 0, 0, 0), ErrRejected},
		{octets(0, 91), ErrRejected},
		{octets(0, 92, 0, 0, 0, 0, 0, 0), ErrIdent},
		{octets(0, 93, 0, 0, 0, 0, 0, 0), ErrIdent},
		{octets(0, 94, 0, 0, 0, 0, 0, 0), ErrBadReply},
		{octets(4, 90, 0, 0, 0, 0, 0, 0), ErrBadReply},
		{[]byte("HTTP/1.1 400 Bad Request"), ErrBadReply},
		{octets(0, 90, 0, 0), io.ErrUnexpectedEOF},
		{nil, io.EOF},
	} {
		if err := ReadReply4(bytes.NewReader(tt.said), new(Buffer)); !errors.Is(err, tt.want) {
			t.Errorf("%v: got %v", tt.said, err)
		}
	}
}

func TestAServerUnderstandsAClientOfVersion4(t *testing.T) {
	for _, to := range []string{"a.example:443", "192.0.2.1:80"} {
		said, err := AppendConnect4(nil, name.Must(to), "jo")
		if err != nil {
			t.Fatal(err)
		}
		req, early, err := ReadRequest(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(said), io.Discard}, nil, new(Buffer), Everyone{})
		if err != nil || len(early) > 0 || req.Command != Connect || req.Host != name.Must(to).Host() || req.Port != name.Must(to).Port() {
			t.Errorf("%s: got %+v, %q, %v", to, req, early, err)
		}
	}
}

func FuzzReadReply4(f *testing.F) {
	f.Add(octets(0, 90, 1, 2, 3, 4, 5, 6, "x"))
	f.Add(octets(0, 91))
	f.Add([]byte("HTTP/1.1 400 Bad Request"))
	f.Fuzz(func(t *testing.T, said []byte) {
		r := bytes.NewReader(said)
		err := ReadReply4(r, new(Buffer))
		if len(said)-r.Len() > reply4Size {
			t.Fatalf("it read %d octets", len(said)-r.Len())
		}
		if err == nil && (len(said) < reply4Size || said[0] != 0 || said[1] != granted4) {
			t.Fatalf("%v is taken for granted", said)
		}
	})
}
