package socks

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"watertight/name"
)

func TestAClientWritesWhatTheStandardsSay(t *testing.T) {
	password, err := AppendPassword(nil, "user", "pass")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		title     string
		got, want []byte
	}{
		{"greeting", AppendGreeting(nil, MethodNone), octets(5, 1, 0)},
		{"greeting with password", AppendGreeting(nil, MethodPassword), octets(5, 1, 2)},
		{"password", password, octets(1, 4, "user", 4, "pass")},
		{"name", AppendRequest(nil, Connect, name.Must("a.example:443")), octets(5, 1, 0, 3, 9, "a.example", 1, 0xbb)},
		{"IPv4", AppendRequest(nil, Connect, name.Must("192.0.2.1:80")), octets(5, 1, 0, 1, 192, 0, 2, 1, 0, 80)},
		{"IPv6", AppendRequest(nil, Connect, name.Must("[2001:db8::1]:80")), octets(5, 1, 0, 4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 80)},
	} {
		t.Run(tt.title, func(t *testing.T) {
			if !bytes.Equal(tt.got, tt.want) {
				t.Errorf("got %x, want %x", tt.got, tt.want)
			}
		})
	}
}

func TestCredentialsThatHaveNoRoomAreRefused(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, c := range [][2]string{{"", "p"}, {long, "p"}, {"u", long}} {
		if _, err := AppendPassword(nil, c[0], c[1]); !errors.Is(err, ErrCredentials) {
			t.Errorf("user of %d and password of %d octets: %v", len(c[0]), len(c[1]), err)
		}
	}
}

func TestAReplyIsReadToItsLastOctetAndNoFurther(t *testing.T) {
	const after = "the far side speaks first"
	for _, tt := range []struct {
		title string
		sent  []byte
		want  Bound
	}{
		{"IPv4", octets(5, 0, 0, 1, 192, 0, 2, 1, 1, 2), Bound{Addr: netip.MustParseAddrPort("192.0.2.1:258")}},
		{"IPv6", octets(5, 0, 0, 4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 80), Bound{Addr: netip.MustParseAddrPort("[2001:db8::1]:80")}},
		{"a name stays a name", octets(5, 0, 0, 3, 9, "a.example", 0, 80), Bound{Name: "a.example"}},
		{"even one that is none", octets(5, 0, 0, 3, 3, "\x00 \n", 0, 80), Bound{Name: "\x00 \n"}},
		{"empty name", octets(5, 0, 0, 3, 0, 0, 80), Bound{}},
		{"longest name", octets(5, 0, 0, 3, 255, strings.Repeat("a", 255), 0, 80), Bound{Name: strings.Repeat("a", 255)}},
		{"reserved is not looked at", octets(5, 0, 9, 1, 192, 0, 2, 1, 1, 2), Bound{Addr: netip.MustParseAddrPort("192.0.2.1:258")}},
	} {
		t.Run(tt.title, func(t *testing.T) {
			for _, slow := range []bool{false, true} {
				all := strings.NewReader(string(tt.sent) + after)
				var r io.Reader = all
				if slow {
					r = iotest.OneByteReader(all)
				}
				code, bound, err := ReadReply(r, new(Buffer))
				if err != nil || code != Succeeded {
					t.Fatal(code, err)
				}
				if bound != tt.want {
					t.Errorf("got %+v, want %+v", bound, tt.want)
				}
				if rest, _ := io.ReadAll(all); string(rest) != after {
					t.Errorf("%q is left", rest)
				}
			}
		})
	}
}

func TestAFailureIsUnderstoodEvenWhenItIsCutShort(t *testing.T) {
	for _, sent := range [][]byte{octets(5, 5), octets(5, 5, 0), octets(5, 5, 0, 1, 0, 0, 0, 0, 0, 0), octets(5, 5, 0, 99, 0, 0, 0)} {
		code, _, err := ReadReply(bytes.NewReader(sent), new(Buffer))
		if err != nil || code != ConnectionRefused {
			t.Errorf("%x: %v, %v", sent, code, err)
		}
	}
}

func TestAReplyThatIsWrongIsAnError(t *testing.T) {
	for _, tt := range []struct {
		title string
		sent  []byte
		want  error
	}{
		{"nothing", nil, io.EOF},
		{"version 4", octets(4, 0, 0, 1, 0, 0, 0, 0, 0, 0), ErrBadReply},
		{"HTTP", octets("HTTP/1.1 400 Bad Request\r\n"), ErrBadReply},
		{"address type 0", octets(5, 0, 0, 0, 0, 0, 0, 0, 0, 0), ErrBadReply},
		{"address type 2", octets(5, 0, 0, 2, 0, 0, 0, 0, 0, 0), ErrBadReply},
		{"one octet", octets(5), io.ErrUnexpectedEOF},
		{"success cut short", octets(5, 0, 0, 1), io.ErrUnexpectedEOF},
		{"IPv4 cut short", octets(5, 0, 0, 1, 192, 0, 2, 1, 1), io.ErrUnexpectedEOF},
		{"IPv6 cut short", octets(5, 0, 0, 4, 0x20, 1, 0xd), io.ErrUnexpectedEOF},
		{"name cut short", octets(5, 0, 0, 3, 9, "a."), io.ErrUnexpectedEOF},
		{"name cut short in the port", octets(5, 0, 0, 3, 9, "a.example", 0), io.ErrUnexpectedEOF},
	} {
		t.Run(tt.title, func(t *testing.T) {
			if _, _, err := ReadReply(bytes.NewReader(tt.sent), new(Buffer)); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestTheChoiceOfAMethodIsRead(t *testing.T) {
	for _, tt := range []struct {
		title  string
		sent   []byte
		method byte
		want   error
		text   string
	}{
		{"none", octets(5, 0), MethodNone, nil, ""},
		{"password", octets(5, 2), MethodPassword, nil, ""},
		{"refused", octets(5, 255), MethodRefused, nil, ""},
		{"HTTP", octets("HTTP/1.1 400"), 0, ErrNotSOCKS, "it seems to speak HTTP"},
		{"version 4", octets(0, 91), 0, ErrNotSOCKS, "its first octet is 0"},
		{"one octet of something else", octets("S"), 0, ErrNotSOCKS, "its first octet is 83"},
		{"one octet", octets(5), 0, io.ErrUnexpectedEOF, ""},
		{"nothing", nil, 0, io.EOF, ""},
	} {
		t.Run(tt.title, func(t *testing.T) {
			method, err := ReadMethod(bytes.NewReader(tt.sent), new(Buffer))
			if method != tt.method || !errors.Is(err, tt.want) {
				t.Fatalf("got %d, %v", method, err)
			}
			if err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%q does not say %q", err, tt.text)
			}
		})
	}
}

func TestTheVerdictOnAPasswordIsRead(t *testing.T) {
	for _, tt := range []struct {
		sent []byte
		want error
	}{
		{octets(1, 0), nil},
		{octets(5, 0), nil},
		{octets(1, 1), ErrAuthFailed},
		{octets(1, 255), ErrAuthFailed},
		{octets(2, 0), ErrBadReply},
		{octets("HT"), ErrBadReply},
		{octets(1), io.ErrUnexpectedEOF},
		{nil, io.EOF},
	} {
		if err := ReadPasswordReply(bytes.NewReader(tt.sent), new(Buffer)); !errors.Is(err, tt.want) {
			t.Errorf("%x: got %v, want %v", tt.sent, err, tt.want)
		}
	}
}

func TestRepliesHaveWords(t *testing.T) {
	if got := ConnectionRefused.String(); got != "connection refused" {
		t.Error(got)
	}
	if got := Reply(0xf4).String(); got != "reply 244" {
		t.Error(got)
	}
}

func TestAServerUnderstandsAClient(t *testing.T) {
	for _, target := range []string{"a.example:443", "192.0.2.1:80", "[2001:db8::1]:65535"} {
		want := name.Must(target)
		sent := AppendGreeting(nil, MethodPassword)
		sent, err := AppendPassword(sent, "user", "")
		if err != nil {
			t.Fatal(err)
		}
		sent = AppendRequest(sent, Connect, want)
		req, rest, err := ReadRequest(&talk{Reader: bytes.NewReader(sent)}, nil, new(Buffer), Everyone{})
		if err != nil || len(rest) > 0 || req != (Request{5, Connect, want.Host(), want.Port()}) {
			t.Errorf("%s: %+v, %v", target, req, err)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	f.Add(octets(5, 0, 0, 1, 192, 0, 2, 1, 1, 2))
	f.Add(octets(5, 0, 0, 4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 80))
	f.Add(octets(5, 0, 0, 3, 9, "a.example", 0, 80, "more"))
	f.Add(octets(5, 5))
	f.Add(octets("HTTP/1.1 200 OK"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		r := bytes.NewReader(sent)
		code, bound, err := ReadReply(r, new(Buffer))
		if err != nil || code != Succeeded {
			return
		}
		length := 10
		switch {
		case sent[3] == atypName:
			length = 7 + len(bound.Name)
		case sent[3] == atypIPv6:
			length = 22
		}
		if r.Len() != len(sent)-length {
			t.Fatalf("%d octets were read of a reply of %d", len(sent)-r.Len(), length)
		}
		method, _ := ReadMethod(bytes.NewReader(sent), new(Buffer))
		if method != sent[1] {
			t.Fatal("the method is not the second octet")
		}
	})
}
