package hop

import (
	"errors"
	"fmt"

	"watertight/name"
	"watertight/trust"
)

// Spec is a proxy as a configuration file describes it. All but URL and Template is for a proxy over TLS.
type Spec struct {
	URL string // as ParseProxy reads it
	// Template is the name of a provider by whose template the user and password of the URL are written.
	Template string
	CA       string   // path of a PEM file; only the authorities in it are trusted
	Pins     []string // base64 of the SHA-256 of a SubjectPublicKeyInfo
	Name     string   // the name that its certificate has to cover, instead of the URL's host
	Cert     string   // path of a PEM file: the certificate that the proxy is shown, with its chain
	Key      string   // path of a PEM file: its key
}

// Build checks the spec and reads its files. Every error in the spec is reported, each as a [*trust.FieldError], joined.
// None shows a part of the URL that could be a credential.
func (s Spec) Build() (Proxy, error) { return s.BuildOver(trust.Server{}) }

// BuildOver is Build for a proxy that shares with others what it does not say itself of TLS.
func (s Spec) BuildOver(shared trust.Server) (Proxy, error) {
	p, err := ParseProxy(s.URL)
	if err != nil {
		return Proxy{}, &trust.FieldError{Field: "url", Err: err}
	}
	if s.Template != "" {
		if p, err = p.WithTemplate(s.Template); err != nil {
			return Proxy{}, &trust.FieldError{Field: "template", Err: err}
		}
	}
	if !p.Encrypted() {
		var errs []error
		for _, o := range s.options() {
			if o.set {
				errs = append(errs, &trust.FieldError{Field: o.field, Err: fmt.Errorf("%s:// has no TLS, and `%s` would not be honoured", p.Scheme, o.field)})
			}
		}
		if len(errs) > 0 {
			return Proxy{}, errors.Join(errs...)
		}
		return p, nil
	}
	own, err := s.Proof()
	if err != nil {
		return Proxy{}, err
	}
	return p.Proving(shared).Proving(own), nil
}

// Proof reads what the spec says of TLS, and its files, without a URL: for many proxies that share it. Name is empty unless the
// spec says one. Errors are those of [Spec.Build].
func (s Spec) Proof() (trust.Server, error) {
	var server trust.Server
	var errs, pinErrs []error
	var err error
	fail := func(field string, err error) { errs = append(errs, &trust.FieldError{Field: field, Err: err}) }
	if server.Pins, pinErrs = trust.ParsePins(s.Pins); len(pinErrs) > 0 {
		errs = append(errs, pinErrs...)
	}
	if s.CA != "" {
		if server.CA, err = trust.ReadCA(s.CA); err != nil {
			fail("ca", err)
		}
	}
	if s.Name != "" {
		h, err := name.ParseHost(s.Name)
		if err != nil {
			fail("name", err)
		}
		server.Name = h.String()
	}
	switch {
	case s.Cert == "" && s.Key != "":
		fail("key", errors.New("a key without its certificate; write `cert` too"))
	case s.Cert != "" && s.Key == "":
		fail("cert", errors.New("a certificate without its key; write `key` too"))
	case s.Cert != "":
		if server.Cert, server.Key, err = trust.ReadPair(s.Cert, s.Key); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return trust.Server{}, errors.Join(errs...)
	}
	return server, nil
}

// Proving gives the proxy with what it has to prove, and is shown, as far as s says something of it. One without TLS proves nothing,
// and is given as it is.
func (p Proxy) Proving(s trust.Server) Proxy {
	if !p.Encrypted() {
		return p
	}
	if s.Name != "" {
		p.Server.Name = s.Name
	}
	if len(s.Pins) > 0 {
		p.Server.Pins = s.Pins
	}
	if len(s.CA) > 0 {
		p.Server.CA = s.CA
	}
	if len(s.Cert) > 0 {
		p.Server.Cert, p.Server.Key = s.Cert, s.Key
	}
	return p
}

// option is one field of a spec that only TLS honours.
type option struct {
	field string
	set   bool
}

func (s Spec) options() []option {
	return []option{
		{"ca", s.CA != ""},
		{"pins", len(s.Pins) > 0},
		{"name", s.Name != ""},
		{"cert", s.Cert != ""},
		{"key", s.Key != ""},
	}
}
