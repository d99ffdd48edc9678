package gateway

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"watertight/client"
	"watertight/fault"
	"watertight/gate"
)

// How a client says who it is. Its Authorization is the origin's, unless the entry sets its own.
const (
	// CredentialsPrefix begins a path that goes on with USER or USER:TOKEN, and then with the path proper.
	CredentialsPrefix = "/~"
	// credentialsField has credentials of the scheme Basic (RFC 7617).
	credentialsField = "Watertight-Authorization"
)

// maxCredentials bounds what a client says of itself, as it is written, in octets.
const maxCredentials = 2048

// cutCredentials takes what stands before a path to say who the client is, with a slash before it and none at its end. The
// fault shows nothing of it.
func cutCredentials(path string) (said, rest string, f *fault.Error) {
	after, ok := strings.CutPrefix(path, CredentialsPrefix)
	if !ok {
		return "", path, nil
	}
	segment, rest, whole := strings.Cut(after, "/")
	if !whole || segment == "" || len(segment) > maxCredentials {
		return "", "", &fault.Error{
			Code: fault.BadRequest, Message: "a path that begins with " + CredentialsPrefix + " says who the client is, and this one does not",
			Hint: "write " + CredentialsPrefix + "USER:TOKEN before the path; an origin's own path that begins so is written /%7E",
		}
	}
	return CredentialsPrefix + segment, "/" + rest, nil
}

// ofPath reads the segment that stands before a path. A password does not stand there: programs log their URLs.
func ofPath(said string) (gate.Credentials, *fault.Error) {
	plain, err := url.PathUnescape(strings.TrimPrefix(said, CredentialsPrefix))
	user, secret, _ := strings.Cut(plain, ":")
	switch {
	case err != nil || user == "":
		return gate.Credentials{}, &fault.Error{
			Code: fault.BadRequest, Message: "what stands in the path to say who the client is cannot be read",
			Hint: "write " + CredentialsPrefix + "USER:TOKEN, with other octets than letters, digits and - . _ ~ as % and two hexadecimal digits",
		}
	case secret != "" && !gate.IsToken(secret):
		return gate.Credentials{}, &fault.Error{
			Code: fault.AuthRequired, Message: "a password does not stand in a path, where programs log it",
			Hint: "take a token of `watertight user token`, or give the password in a field " + credentialsField + ": Basic …",
		}
	}
	return gate.Credentials{Username: user, Password: secret}, nil
}

// ofField reads credentials of a field: Basic, or where bearer says so also USER:SECRET as they are, behind Bearer or alone.
func ofField(value string, bearer bool) (c gate.Credentials, ok bool) {
	if len(value) > maxCredentials {
		return c, false
	}
	scheme, rest, two := strings.Cut(value, " ")
	plain := value
	switch {
	case two && strings.EqualFold(scheme, "Basic"):
		b, err := base64.StdEncoding.DecodeString(strings.Trim(rest, " "))
		if err != nil {
			return c, false
		}
		plain = string(b)
	case !bearer:
		return c, false
	case two && strings.EqualFold(scheme, "Bearer"):
		plain = strings.Trim(rest, " ")
	}
	c.Username, c.Password, ok = strings.Cut(plain, ":")
	return c, ok && c.Username != ""
}

// credentials gives what the client says of itself: in the path, in a field of ours, or, where it has to say something, in a
// field that the entry sets and that the origin therefore never gets, such as the one of an API's key.
func (x *exchange) credentials(m match, found bool) (gate.Credentials, *fault.Error) {
	if x.base != "" {
		return ofPath(x.base)
	}
	if ours := x.r.Header[credentialsField]; len(ours) > 0 {
		c, ok := ofField(ours[0], false)
		if !ok || len(ours) > 1 {
			return gate.Credentials{}, &fault.Error{
				Code: fault.BadRequest, Message: "the field " + credentialsField + " cannot be read",
				Hint: "write it once, as Basic and the base64 of USER:PASSWORD",
			}
		}
		return c, nil
	}
	if found && x.guest.NeedsPassword() {
		for _, f := range m.entry.Fields {
			if v := x.r.Header[http.CanonicalHeaderKey(f.Name)]; len(v) == 1 {
				if c, ok := ofField(v[0], true); ok {
					return c, nil
				}
			}
		}
	}
	return gate.Credentials{}, nil
}

// enter lets the client in, and counts its request: for itself where it said who it is, and else for the user of the entry.
// leave is called at the end of the request.
func (x *exchange) enter(ctx context.Context) (leave func(), f *fault.Error) {
	said, rest, f := cutCredentials(x.path)
	if f != nil {
		return nil, f
	}
	x.base, x.path = said, rest
	t, release := x.g.o.Current()
	m, unfound := t.match(x.path)
	release()
	c, f := x.credentials(m, unfound == nil)
	if f != nil {
		return nil, f
	}
	id, err := x.guest.Admit(ctx, c)
	if err != nil {
		return nil, told(err, c)
	}
	x.identity = id
	if id.User == "" && unfound == nil {
		id = m.entry.Identity
	}
	if leave, err = x.guest.Enter(id); err != nil {
		return nil, fault.Of(err)
	}
	return leave, nil
}

// told makes a refusal of the gate one for programs that have no proxy.
func told(err error, c gate.Credentials) *fault.Error {
	f := *fault.Of(err)
	if f.Code == fault.AuthRequired && c == (gate.Credentials{}) {
		f.Message = "this gateway asks who you are"
		f.Hint = "put a token of `watertight user token` before the path, as " + CredentialsPrefix + "USER:TOKEN/…, or send a field " + credentialsField + ": Basic …"
	}
	return &f
}

// match finds the entry for the path, and says for whom the request is.
func (x *exchange) match(t *Table) (match, *fault.Error) {
	m, f := t.match(x.path)
	if f != nil {
		return m, f
	}
	m.base, m.secure = x.base+m.base, x.r.TLS != nil
	if m.identity = m.entry.Identity; m.identity == (client.Identity{}) {
		m.identity = x.identity
	}
	return m, nil
}
