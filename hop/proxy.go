package hop

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"strings"

	"watertight/credential"
	"watertight/name"
	"watertight/socks"
	"watertight/trust"
)

// maxProxy bounds a proxy in text: two credentials with every octet escaped, a name, and room.
const maxProxy = 2*3*socks.MaxCredential + 4*name.MaxName + 64

// Proxy is an upstream proxy. Two that are deeply equal are interchangeable. It prints without its password, whatever
// verb prints it.
type Proxy struct {
	Scheme   string // one of Schemes
	Host     name.Host
	Port     uint16
	User     string // empty for none; at most 255 octets
	Password string // at most 255 octets
	// Server is whom the proxy has to prove to be; zero where the scheme has no TLS.
	Server trust.Server
	// Template writes User and Password, which are empty then; the zero Template is none. See [Proxy.For].
	Template credential.Template
}

// Errors of [ParseProxy]. None of them shows a part of its input that could be a credential.
var (
	ErrScheme     = errors.New("write socks5://HOST:PORT, http://HOST:PORT or https://HOST, h2://, h3://, socks5+tls:// or socks4a://")
	ErrProxy      = errors.New("not a valid proxy")
	ErrCredential = errors.New("not a valid user or password")
)

// ParseProxy reads `SCHEME://[USER[:PASSWORD]@]HOST[:PORT]`. `socks5h` is the same as `socks5`: no name is resolved here in
// either. User and password are percent-decoded; a port that is not given is 1080 for SOCKS and 443 for HTTP over TLS. A
// proxy over TLS has to prove that it is HOST to an authority that the system trusts; see [Spec] for more.
func ParseProxy(s string) (Proxy, error) {
	if len(s) > maxProxy {
		return Proxy{}, fmt.Errorf("%w: %d octets, and at most %d make sense", ErrProxy, len(s), maxProxy)
	}
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		return Proxy{}, fmt.Errorf("%w: the scheme is missing: %w", ErrProxy, ErrScheme)
	}
	p := Proxy{Scheme: strings.ToLower(scheme)}
	if same, ok := aliases[p.Scheme]; ok {
		p.Scheme = same
	}
	if _, ok := schemes[p.Scheme]; !ok {
		if why, known := unsupported[p.Scheme]; known {
			return Proxy{}, fmt.Errorf("%w: %s://: %s: %w", ErrProxy, p.Scheme, why, ErrScheme)
		}
		return Proxy{}, fmt.Errorf("%w: unknown scheme: %w", ErrProxy, ErrScheme)
	}
	authority := strings.TrimSuffix(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		if err := p.readCredentials(authority[:i]); err != nil {
			return Proxy{}, err
		}
		authority = authority[i+1:]
	}
	if err := p.readHost(authority); err != nil {
		return Proxy{}, err
	}
	if p.Encrypted() {
		p.Server.Name = p.Host.String()
	}
	return p, p.validate()
}

func (p *Proxy) readCredentials(userinfo string) error {
	// A password with a bare slash or question mark in it would be cut in two by other programs.
	if strings.ContainsAny(userinfo, "/?#@") {
		return fmt.Errorf("%w: write / ? # and @ as %%2F %%3F %%23 and %%40", ErrCredential)
	}
	user, password, _ := strings.Cut(userinfo, ":")
	if credential.IsTemplate(userinfo) {
		return p.readTemplate(user, password)
	}
	var err error
	if p.User, err = url.PathUnescape(user); err != nil {
		return fmt.Errorf("%w: a percent sign in the user is not followed by two hexadecimal digits; write it as %%25", ErrCredential)
	}
	if p.Password, err = url.PathUnescape(password); err != nil {
		return fmt.Errorf("%w: a percent sign in the password is not followed by two hexadecimal digits; write it as %%25", ErrCredential)
	}
	if p.User == "" {
		return fmt.Errorf("%w: the user is empty", ErrCredential)
	}
	return nil
}

// readHost shows nothing of what it reads in an error: it may be half a password.
func (p *Proxy) readHost(authority string) error {
	if strings.ContainsAny(authority, "/?#") {
		return fmt.Errorf("%w: nothing may follow the port", ErrProxy)
	}
	host, port := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, port = authority[:i], authority[i+1:]
		if port == "" {
			return fmt.Errorf("%w: the port is empty", ErrProxy)
		}
	}
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return fmt.Errorf("%w: write an IPv6 address in brackets", ErrProxy)
	}
	var err error
	if p.Host, err = name.ParseHost(host); err != nil {
		return fmt.Errorf("%w: %w", ErrProxy, sentinel(err))
	}
	switch {
	case port != "":
		if p.Port, err = name.ParsePort(port); err != nil {
			return fmt.Errorf("%w: %w", ErrProxy, err)
		}
	case schemes[p.Scheme].port != 0:
		p.Port = schemes[p.Scheme].port
	default:
		return fmt.Errorf("%w: give the port, as in http://HOST:3128", ErrProxy)
	}
	return nil
}

// sentinel gives the constant at the bottom of an error of package name, without what was wrapped around it.
func sentinel(err error) error {
	for _, s := range []error{name.ErrEmpty, name.ErrZone, name.ErrUserinfo} {
		if errors.Is(err, s) {
			return s
		}
	}
	return name.ErrName
}

func (p Proxy) validate() error {
	speaks, known := schemes[p.Scheme]
	switch {
	case !known:
		return fmt.Errorf("%w: unknown scheme: %w", ErrProxy, ErrScheme)
	case !p.Host.IsValid():
		return fmt.Errorf("%w: it has no host", ErrProxy)
	case p.Port == 0:
		return fmt.Errorf("%w: it has no port", ErrProxy)
	case len(p.User) > socks.MaxCredential || len(p.Password) > socks.MaxCredential:
		return fmt.Errorf("%w: at most %d octets each (RFC 1929)", ErrCredential, socks.MaxCredential)
	case p.User == "" && p.Password != "":
		return fmt.Errorf("%w: the user is empty", ErrCredential)
	case p.User != "" && !p.Template.IsZero():
		return fmt.Errorf("%w: %w", ErrCredential, ErrTemplates)
	case p.Password != "" && !speaks.password:
		return fmt.Errorf("%w: %s takes a user and no password; a proxy that wants one speaks socks5:// or http://", ErrCredential, speaks.kind)
	case speaks.tls != (p.Server.Name != ""), !speaks.tls && !p.Server.IsZero():
		return fmt.Errorf("%w: whom it has to prove to be over TLS does not fit its scheme", ErrProxy)
	case speaks.http && strings.Contains(p.User, ":"):
		return fmt.Errorf("%w: a user of HTTP has no colon (RFC 7617)", ErrCredential)
	case strings.ContainsFunc(p.User+p.Password, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%w: a control character", ErrCredential)
	}
	return nil
}

// target gives HOST:PORT, for errors and for dialling.
func (p Proxy) target() (name.Target, error) { return name.New(p.Host, p.Port) }

// String gives the proxy as ParseProxy reads it, with *** for the password. A user without a password is a secret by
// itself: providers give out keys that stand there.
func (p Proxy) String() string {
	var b strings.Builder
	b.WriteString(p.Scheme + "://")
	switch {
	case !p.Template.IsZero():
		b.WriteString(p.written())
	case p.Password != "":
		b.WriteString(url.User(p.User).String() + ":***@")
	case p.User != "":
		b.WriteString("***@")
	}
	if t, err := p.target(); err == nil {
		b.WriteString(t.String())
	} else {
		b.WriteString(p.Host.String() + ":" + strconv.Itoa(int(p.Port)))
	}
	return b.String()
}

// Format prints String for every verb: %#v and %d would show the password.
func (p Proxy) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// LogValue gives String.
func (p Proxy) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalText gives String, so that no encoder sees the password.
func (p Proxy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
