package httpproxy

import (
	"context"
	"encoding/base64"
	"strings"

	"watertight/fault"
	"watertight/gate"
	"watertight/httphead"
)

// admit says for whom a request is, by its Proxy-Authorization (RFC 9110, section 11.7.2), and notes it.
func (s *session) admit(ctx context.Context, q *httphead.Request) *fault.Error {
	c, f := credentials(q.Fields, s.guest.NeedsPassword())
	if f == nil {
		var err error
		s.identity, err = s.guest.Admit(ctx, c)
		f = fault.Of(err)
	}
	if f != nil && (s.guest.Exhausted() || s.guest.Outdated()) {
		s.last = true
	}
	return f
}

// credentials reads user and password of the scheme Basic (RFC 7617). Where none are needed other schemes say nothing.
func credentials(fields []httphead.Field, needed bool) (c gate.Credentials, f *fault.Error) {
	found := false
	for i := range fields {
		if !strings.EqualFold(fields[i].Name, "Proxy-Authorization") {
			continue
		}
		if found {
			return gate.Credentials{}, badRequest("the request has two Proxy-Authorization fields", "send one")
		}
		found = true
		if c, f = basic(fields[i].Value, needed); f != nil {
			return gate.Credentials{}, f
		}
	}
	return c, nil
}

func basic(value string, needed bool) (gate.Credentials, *fault.Error) {
	scheme, rest, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Basic") {
		if needed {
			return gate.Credentials{}, &fault.Error{
				Code: fault.AuthRequired, Message: "this proxy takes user and password by the scheme Basic alone",
				Hint: "give them in the proxy's URL, as https://USER:PASSWORD@HOST:PORT",
			}
		}
		return gate.Credentials{}, nil
	}
	octets, err := base64.StdEncoding.DecodeString(strings.Trim(rest, " "))
	user, password, ok := strings.Cut(string(octets), ":")
	if err != nil || !ok {
		return gate.Credentials{}, badRequest("the Proxy-Authorization holds no user and password", "send Basic and, in base64, USER:PASSWORD")
	}
	return gate.Credentials{Username: user, Password: password}, nil
}
