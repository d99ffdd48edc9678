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

// talk is a client that says all at once, and hears what is written to it.
type talk struct {
	io.Reader
	heard bytes.Buffer
}

func (t *talk) Write(b []byte) (int, error) { return t.heard.Write(b) }

func octets(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case string:
			b = append(b, p...)
		}
	}
	return b
}

func connect5(rest ...any) []byte {
	return append([]byte{5, 1, 0, 5, 1, 0}, octets(rest...)...)
}

// readings are the ways in which octets can arrive; the result must not depend on them.
var readings = map[string]func(all []byte) (io.Reader, []byte){
	"at once":           func(all []byte) (io.Reader, []byte) { return bytes.NewReader(all), nil },
	"one by one":        func(all []byte) (io.Reader, []byte) { return iotest.OneByteReader(bytes.NewReader(all)), nil },
	"first octet read":  func(all []byte) (io.Reader, []byte) { return bytes.NewReader(all[1:]), all[:1] },
	"half read":         func(all []byte) (io.Reader, []byte) { return bytes.NewReader(all[len(all)/2:]), all[:len(all)/2] },
	"all read":          func(all []byte) (io.Reader, []byte) { return bytes.NewReader(nil), all },
	"read, end with it": func(all []byte) (io.Reader, []byte) { return iotest.DataErrReader(bytes.NewReader(all)), nil },
}

func TestARequestIsReadHoweverItArrives(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 62)+".", 4)[:252]
	for _, tt := range []struct {
		title string
		sent  []byte
		want  Request
		heard string
	}{
		{"name", connect5(3, 15, "API.Example.COM", 1, 0xbb), Request{5, Connect, name.MustHost("api.example.com"), 443}, "\x05\x00"},
		{"root dot", connect5(3, 9, "a.example", 0, 80), Request{5, Connect, name.MustHost("a.example."), 80}, "\x05\x00"},
		{"longest name", connect5(3, 252, long, 0, 80), Request{5, Connect, name.MustHost(long), 80}, "\x05\x00"},
		{"IPv4", connect5(1, 192, 0, 2, 1, 0, 80), Request{5, Connect, name.MustHost("192.0.2.1"), 80}, "\x05\x00"},
		{"IPv6", connect5(4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 80), Request{5, Connect, name.MustHost("2001:db8::1"), 80}, "\x05\x00"},
		{"IPv4 in IPv6", connect5(4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1, 0, 80), Request{5, Connect, name.MustHost("127.0.0.1"), 80}, "\x05\x00"},
		{"a literal as a name", connect5(3, 9, "192.0.2.1", 0, 80), Request{5, Connect, name.MustHost("192.0.2.1"), 80}, "\x05\x00"},
		{"an IPv6 literal as a name", connect5(3, 11, "2001:db8::1", 0, 80), Request{5, Connect, name.MustHost("2001:db8::1"), 80}, "\x05\x00"},
		{"port 0 is for the caller to judge", connect5(3, 1, "a", 0, 0), Request{5, Connect, name.MustHost("a"), 0}, "\x05\x00"},
		{"a name is resolved", octets(5, 1, 0, 5, 0xf0, 0, 3, 9, "a.example", 0, 0), Request{5, Resolve, name.MustHost("a.example"), 0}, "\x05\x00"},
		{"an address is resolved", octets(5, 1, 0, 5, 0xf1, 0, 1, 192, 0, 2, 1, 0, 0), Request{5, ResolvePTR, name.MustHost("192.0.2.1"), 0}, "\x05\x00"},
		{"password before none", octets(5, 3, 1, 0, 2, 1, 1, "u", 0, 5, 1, 0, 3, 1, "a", 0, 80), Request{5, Connect, name.MustHost("a"), 80}, "\x05\x02\x01\x00"},
		{"password", octets(5, 1, 2, 1, 4, "user", 4, "pass", 5, 1, 0, 3, 1, "a", 0, 80), Request{5, Connect, name.MustHost("a"), 80}, "\x05\x02\x01\x00"},
		{"empty user and password", octets(5, 1, 2, 1, 0, 0, 5, 1, 0, 3, 1, "a", 0, 80), Request{5, Connect, name.MustHost("a"), 80}, "\x05\x02\x01\x00"},
		{"password in version 5", octets(5, 1, 2, 5, 1, "u", 1, "p", 5, 1, 0, 3, 1, "a", 0, 80), Request{5, Connect, name.MustHost("a"), 80}, "\x05\x02\x05\x00"},
		{
			"longest user and password", octets(5, 1, 2, 1, 255, strings.Repeat("u", 255), 255, strings.Repeat("p", 255), 5, 1, 0, 3, 1, "a", 0, 80),
			Request{5, Connect, name.MustHost("a"), 80},
			"\x05\x02\x01\x00",
		},
		{"version 4", octets(4, 1, 0, 80, 192, 0, 2, 1, "me", 0), Request{4, Connect, name.MustHost("192.0.2.1"), 80}, ""},
		{"version 4 without a user", octets(4, 1, 0, 80, 192, 0, 2, 1, 0), Request{4, Connect, name.MustHost("192.0.2.1"), 80}, ""},
		{"version 4, 0.0.0.0 is no sign of a name", octets(4, 1, 0, 80, 0, 0, 0, 0, 0), Request{4, Connect, name.MustHost("0.0.0.0"), 80}, ""},
		{"version 4a", octets(4, 1, 0, 80, 0, 0, 0, 255, "me", 0, "a.example", 0), Request{4, Connect, name.MustHost("a.example"), 80}, ""},
		{"version 4a, longest user", octets(4, 1, 0, 80, 0, 0, 0, 1, strings.Repeat("u", 255), 0, "a", 0), Request{4, Connect, name.MustHost("a"), 80}, ""},
		{"version 4a, a literal as a name", octets(4, 1, 0, 80, 0, 0, 0, 1, 0, "192.0.2.1", 0), Request{4, Connect, name.MustHost("192.0.2.1"), 80}, ""},
		{"version 4a resolves", octets(4, 0xf0, 0, 0, 0, 0, 0, 1, 0, "a.example", 0), Request{4, Resolve, name.MustHost("a.example"), 0}, ""},
	} {
		for reading, arrive := range readings {
			for _, early := range []string{"", "\x16\x03\x01 early data"} {
				t.Run(tt.title+"/"+reading, func(t *testing.T) {
					r, head := arrive(append(bytes.Clone(tt.sent), early...))
					client := &talk{Reader: r}
					got, rest, err := ReadRequest(client, head, new(Buffer), Everyone{})
					if err != nil {
						t.Fatal(err)
					}
					if got != tt.want {
						t.Errorf("got %+v, want %+v", got, tt.want)
					}
					if client.heard.String() != tt.heard {
						t.Errorf("the client heard %x, want %x", client.heard.String(), tt.heard)
					}
					unread, _ := io.ReadAll(r)
					if after := string(rest) + string(unread); after != early {
						t.Errorf("after the request comes %q, want %q", after, early)
					}
				})
			}
		}
	}
}

func TestAnAssociationIsAskedForWhateverAddressStandsThere(t *testing.T) {
	for _, where := range [][]byte{octets(1, 0, 0, 0, 0), octets(1, 192, 0, 2, 1), octets(3, 0), octets(3, 1, "0"), octets(4, strings.Repeat("\x00", 16))} {
		sent := octets(5, 1, 0, 5, 3, 0, string(where), 0x13, 0xc4)
		client := &talk{Reader: bytes.NewReader(sent)}
		req, _, err := ReadRequest(client, nil, new(Buffer), Everyone{})
		if want := (Request{Version: Version5, Command: Associate, Port: 5060}); err != nil || req != want {
			t.Errorf("%x: %+v, %v", sent, req, err)
		}
	}
}

func TestARequestThatIsWrongIsRefusedInTheClientsLanguage(t *testing.T) {
	for _, tt := range []struct {
		title string
		sent  []byte
		want  error
		reply string // what the client hears in the end
	}{
		{"no SOCKS", octets("GET / HTTP/1.1\r\n"), ErrVersion, ""},
		{"version 0", octets(0), ErrVersion, ""},
		{"no methods", octets(5, 0), ErrNoMethod, "\x05\xff"},
		{"GSSAPI only", octets(5, 1, 1), ErrNoMethod, "\x05\xff"},
		{"password in version 2", octets(5, 1, 2, 2, 1, "u", 1, "p"), ErrAuthMessage, "\x05\x02\x01\x01"},
		{"bind", octets(5, 1, 0, 5, 2, 0, 1, 192, 0, 2, 1, 0, 80), ErrCommand, "\x05\x00\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"version 4, associate", octets(4, 3, 0, 80, 192, 0, 2, 1, 0), ErrCommand, "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		{"associate with an address of no type", octets(5, 1, 0, 5, 3, 0, 2, 0, 0, 0, 0), ErrAddressType, "\x05\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"command 0", connect5()[:3], io.EOF, "\x05\x00"},
		{"address type 2", connect5(2, 0, 0, 0, 0), ErrAddressType, "\x05\x00\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"request in version 4", octets(5, 1, 0, 4, 1, 0, 1, 192, 0, 2, 1, 0, 80), ErrMalformed, "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"empty name", connect5(3, 0, 0, 80), ErrHost, "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"name of 254 octets", connect5(3, 254, strings.Repeat("a.", 127), 0, 80), nil, ""}, // 253 and the root dot
		{"name of 255 octets", connect5(3, 255, strings.Repeat("a.", 127)+"a", 0, 80), ErrHost, "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"octet 0 in a name", connect5(3, 3, "a\x00b", 0, 80), ErrHost, "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"an address in disguise", connect5(3, 10, "2130706433", 0, 80), ErrHost, "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"IPv6 zone", connect5(3, 8, "fe80::1%1"[:8], 0, 80), ErrHost, "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"user information", connect5(3, 3, "u@a", 0, 80), ErrHost, "\x05\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"cut off in the methods", octets(5, 2, 0), io.ErrUnexpectedEOF, ""},
		{"cut off in the password", octets(5, 1, 2, 1, 4, "us"), io.ErrUnexpectedEOF, "\x05\x02"},
		{"cut off in the request", connect5(3, 9, "a.exa"), io.ErrUnexpectedEOF, "\x05\x00"},
		{"nothing", nil, io.EOF, ""},
		{"version 4, bind", octets(4, 2, 0, 80, 192, 0, 2, 1, 0), ErrCommand, "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		{"version 4, reverse look-up", octets(4, 0xf1, 0, 80, 192, 0, 2, 1, 0), ErrCommand, "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		{"version 4, user too long", octets(4, 1, 0, 80, 192, 0, 2, 1, strings.Repeat("u", 256), 0), ErrTooLong, "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		{"version 4a, name too long", octets(4, 1, 0, 80, 0, 0, 0, 1, 0, strings.Repeat("a", 256), 0), ErrTooLong, "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		{"version 4a, empty name", octets(4, 1, 0, 80, 0, 0, 0, 1, 0, 0), ErrHost, "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		{"version 4, no end", octets(4, 1, 0, 80, 192, 0, 2, 1, "me"), io.ErrUnexpectedEOF, ""},
	} {
		for reading, arrive := range readings {
			if len(tt.sent) == 0 && reading == "first octet read" {
				continue
			}
			t.Run(tt.title+"/"+reading, func(t *testing.T) {
				r, head := arrive(tt.sent)
				client := &talk{Reader: r}
				req, _, err := ReadRequest(client, head, new(Buffer), Everyone{})
				if !errors.Is(err, tt.want) && !(tt.want == io.EOF && errors.Is(err, io.ErrUnexpectedEOF)) {
					t.Fatalf("got %v, want %v", err, tt.want)
				}
				if tt.want == nil {
					return
				}
				if code, ok := ReplyTo(err); ok {
					client.Write(req.AppendReply(nil, code, netip.AddrPort{}))
				}
				if client.heard.String() != tt.reply {
					t.Errorf("the client heard %x, want %x", client.heard.String(), tt.reply)
				}
			})
		}
	}
}

func TestEarlyDataLongerThanTheBufferIsLeftInTheConnection(t *testing.T) {
	early := strings.Repeat("x", 4*bufferSize)
	sent := append(connect5(3, 1, "a", 0, 80), early...)
	client := &talk{Reader: bytes.NewReader(sent)}
	_, rest, err := ReadRequest(client, nil, new(Buffer), Everyone{})
	if err != nil {
		t.Fatal(err)
	}
	if len(rest) > bufferSize {
		t.Errorf("%d octets were read ahead, more than the buffer holds", len(rest))
	}
	unread, _ := io.ReadAll(client.Reader)
	if string(rest)+string(unread) != early {
		t.Error("early data was lost")
	}
}

func TestAReaderThatGivesNothingIsGivenUp(t *testing.T) {
	client := &talk{Reader: nothing{}}
	if _, _, err := ReadRequest(client, nil, new(Buffer), Everyone{}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v", err)
	}
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

func TestRepliesAreInTheClientsVersion(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("192.0.2.1:258"), netip.MustParseAddrPort("[2001:db8::1]:0")
	five, four := Request{Version: 5}, Request{Version: 4}
	for _, tt := range []struct {
		title     string
		got, want []byte
	}{
		{"success discloses nothing", five.AppendReply(nil, Succeeded, netip.AddrPort{}), octets(5, 0, 0, 1, 0, 0, 0, 0, 0, 0)},
		{"IPv4", five.AppendReply(nil, Succeeded, v4), octets(5, 0, 0, 1, 192, 0, 2, 1, 1, 2)},
		{"IPv6", five.AppendReply(nil, Succeeded, v6), octets(5, 0, 0, 4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0)},
		{"refused", five.AppendReply(nil, ConnectionRefused, netip.AddrPort{}), octets(5, 5, 0, 1, 0, 0, 0, 0, 0, 0)},
		{"version 4", four.AppendReply(nil, Succeeded, v4), octets(0, 90, 1, 2, 192, 0, 2, 1)},
		{"version 4 has no room for IPv6", four.AppendReply(nil, Succeeded, v6), octets(0, 90, 0, 0, 0, 0, 0, 0)},
		{"version 4, refused", four.AppendReply(nil, NotAllowed, netip.AddrPort{}), octets(0, 91, 0, 0, 0, 0, 0, 0)},
		{"a name", five.AppendNameReply(nil, "a.example"), octets(5, 0, 0, 3, 9, "a.example", 0, 0)},
		{"a name without room", five.AppendNameReply(nil, strings.Repeat("a", 256)), octets(5, 4, 0, 1, 0, 0, 0, 0, 0, 0)},
		{"no name", five.AppendNameReply(nil, ""), octets(5, 4, 0, 1, 0, 0, 0, 0, 0, 0)},
		{"version 4 has no room for a name", four.AppendNameReply(nil, "a.example"), octets(0, 91, 0, 0, 0, 0, 0, 0)},
	} {
		t.Run(tt.title, func(t *testing.T) {
			if !bytes.Equal(tt.got, tt.want) {
				t.Errorf("got %x, want %x", tt.got, tt.want)
			}
		})
	}
}

func TestReadingARequestForAnAddressAllocatesNothing(t *testing.T) {
	sent := octets(5, 1, 0, 5, 1, 0, 1, 192, 0, 2, 1, 0, 80)
	buf, r := new(Buffer), bytes.NewReader(nil)
	client := &quiet{Reader: r}
	allocs := testing.AllocsPerRun(100, func() {
		r.Reset(sent)
		if _, _, err := ReadRequest(client, nil, buf, Everyone{}); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}

type quiet struct{ io.Reader }

func (*quiet) Write(b []byte) (int, error) { return len(b), nil }

func FuzzReadRequest(f *testing.F) {
	f.Add(connect5(3, 9, "a.example", 1, 0xbb, "early"), 0)
	f.Add(connect5(1, 192, 0, 2, 1, 0, 80), 1)
	f.Add(connect5(4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 80), 5)
	f.Add(octets(5, 1, 2, 1, 4, "user", 4, "pass", 5, 1, 0, 3, 1, "a", 0, 80), 3)
	f.Add(octets(5, 1, 0, 5, 0xf1, 0, 1, 192, 0, 2, 1, 0, 0), 0)
	f.Add(octets(4, 1, 0, 80, 0, 0, 0, 1, "me", 0, "a.example", 0, "early"), 2)
	f.Add(octets(4, 1, 0, 80, 192, 0, 2, 1, 0), 9)
	f.Add(octets(5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0), 1)
	f.Fuzz(func(t *testing.T, sent []byte, cut int) {
		if len(sent) > 1<<16 {
			return
		}
		cut = max(0, min(cut, len(sent)))
		r := bytes.NewReader(sent[cut:])
		client := &talk{Reader: r}
		req, rest, err := ReadRequest(client, sent[:cut], new(Buffer), Everyone{})
		byOne := &talk{Reader: iotest.OneByteReader(bytes.NewReader(sent))}
		req1, _, err1 := ReadRequest(byOne, nil, new(Buffer), Everyone{})
		if req != req1 || (err == nil) != (err1 == nil) {
			t.Fatalf("it depends on how the octets arrive: %+v %v, %+v %v", req, err, req1, err1)
		}
		if client.heard.String() != byOne.heard.String() {
			t.Fatalf("heard %x and %x", client.heard.String(), byOne.heard.String())
		}
		if err != nil {
			return
		}
		if req.Host.IsValid() == (req.Command == Associate) { // of that one the port alone is read
			t.Fatalf("%+v", req)
		}
		unread, _ := io.ReadAll(r)
		if after := append(bytes.Clone(rest), unread...); !bytes.HasSuffix(sent, after) || len(after) >= len(sent) {
			t.Fatalf("what follows is not the end of what was sent: %x", after)
		}
	})
}
