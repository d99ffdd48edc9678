package hop

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"watertight/client"
	"watertight/credential"
)

// ErrTemplates is for a proxy that two templates would fit.
var ErrTemplates = errors.New("two templates fit: the user and password have places already")

// WithTemplate gives a proxy whose user and password are those of an account with a provider, and are written by the
// provider's template. The error shows neither.
func (p Proxy) WithTemplate(provider string) (Proxy, error) {
	if !p.Template.IsZero() {
		return Proxy{}, ErrTemplates
	}
	t, err := credential.ForAccount(provider, p.User, p.Password)
	if err != nil {
		return Proxy{}, err
	}
	p.User, p.Password, p.Template = "", "", t
	return p, nil
}

// readTemplate reads a user and a password that have places in them.
func (p *Proxy) readTemplate(user, password string) error {
	var err error
	if p.Template, err = credential.Parse(user, password); err != nil {
		return fmt.Errorf("%w: %w", ErrCredential, err)
	}
	if user == "" {
		return fmt.Errorf("%w: the user is empty", ErrCredential)
	}
	return nil
}

// For gives the proxy as it is asked for an identity: with its template filled in, if it has one. seed is a secret of the
// channel. The error wraps [credential.ErrFill] and shows no value.
func (p Proxy) For(id client.Identity, seed []byte) (Proxy, error) {
	if p.Template.IsZero() {
		return p, nil
	}
	f, err := p.Template.Fill(id, seed)
	if err != nil {
		return Proxy{}, err
	}
	p.User, p.Password, p.Template = f.User, f.Password, credential.Template{}
	if err := p.validate(); err != nil {
		return Proxy{}, fmt.Errorf("%w: %w", credential.ErrFill, err)
	}
	return p, nil
}

// written gives the user information of a proxy with a template, for people, without the password.
func (p Proxy) written() string {
	user, password := p.Template.Written()
	if password == "" {
		return "***@"
	}
	if p.Template.Provider() != "" {
		user = url.User(user).String()
	}
	return strings.TrimSuffix(user, ":") + ":***@"
}
