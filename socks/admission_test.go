package socks

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
)

// guard lets in who is in it, and keeps whom it was asked about.
type guard struct {
	in    map[string]string // passwords by user
	asked []string
}

var errStranger = errors.New("a stranger")

func (g *guard) NeedsPassword() bool { return true }

func (g *guard) Admit(user, password string) error {
	g.asked = append(g.asked, user)
	if p, ok := g.in[user]; !ok || p != password {
		return errStranger
	}
	return nil
}

func TestWhoIsNotLetInIsToldSoInItsOwnVersion_AndItsRequestIsNotRead(t *testing.T) {
	request := octets(5, 1, 0, 3, 9, "a.example", 0, 80)
	for _, tt := range []struct {
		title string
		sent  []byte
		want  error
		heard string
	}{
		{"no password offered", octets(5, 1, 0, string(request)), ErrNoMethod, "\x05\xff"},
		{"wrong password", octets(5, 1, 2, 1, 1, "u", 5, "wrong", string(request)), ErrPassword, "\x05\x02\x01\x01"},
		{"wrong password, as .NET", octets(5, 1, 2, 5, 1, "u", 5, "wrong", string(request)), ErrPassword, "\x05\x02\x05\x01"},
		{"nobody", octets(5, 2, 0, 2, 1, 0, 0, string(request)), ErrPassword, "\x05\x02\x01\x01"},
		{"right password", octets(5, 2, 0, 2, 1, 1, "u", 1, "p", string(request)), nil, "\x05\x02\x01\x00"},
		{"version 4", octets(4, 1, 0, 80, 0, 0, 0, 1, "u", 0, "a.example", 0), ErrAuth, "\x00\x5b\x00\x00\x00\x00\x00\x00"},
	} {
		t.Run(tt.title, func(t *testing.T) {
			client := &talk{Reader: bytes.NewReader(tt.sent)}
			g := &guard{in: map[string]string{"u": "p"}}
			req, _, err := ReadRequest(client, nil, new(Buffer), g)
			if !errors.Is(err, tt.want) || (err == nil) != req.Host.IsValid() && req.Version == Version5 {
				t.Fatalf("%+v, %v", req, err)
			}
			if tt.want != nil && tt.want != ErrNoMethod && !errors.Is(err, errStranger) {
				t.Errorf("why it is not let in is lost: %v", err)
			}
			if code, ok := ReplyTo(err); ok {
				client.Write(req.AppendReply(nil, code, netip.AddrPort{}))
			}
			if client.heard.String() != tt.heard {
				t.Errorf("heard %x, want %x", client.heard.String(), tt.heard)
			}
			if len(g.asked) > 1 {
				t.Errorf("asked %q", g.asked)
			}
		})
	}
}
