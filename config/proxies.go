package config

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"watertight/credential"
	"watertight/hop"
	"watertight/trust"
)

const proxyMend = "write SCHEME://[USER:PASSWORD@]HOST[:PORT] with the scheme socks5, http, https, h2, h3, socks5+tls or socks4a; several as a list are a chain"

// proxySource is what a proxy was made from, as the file has it: what Show prints.
type proxySource struct {
	spec   hop.Spec // with references filled in
	shown  hop.Spec // the same as it was written
	secret bool     // the two differ in something else than the URL
}

// proxies reads one proxy or a chain of them.
func (l *loader) proxies(n *node, path string) (chain []hop.Proxy, from []proxySource) {
	if !l.fewer(n.pos, path, len(n.list), maxChain) {
		return nil, nil
	}
	l.items(n, path, func(n *node, path string) {
		if p, s, ok := l.proxy(n, path); ok {
			chain, from = append(chain, p), append(from, s)
		}
	})
	return chain, from
}

// proxy reads one proxy: a URL, or a map with how it has to prove who it is.
func (l *loader) proxy(n *node, path string) (p hop.Proxy, s proxySource, ok bool) {
	if n.kind != kindMap {
		p, s.spec.URL, ok = l.proxyURL(n, path)
		s.shown.URL = p.String()
		return p, s, ok
	}
	before := len(l.problems)
	l.fields(n, "channels.*.proxy", path, func(key string, n *node, path string) {
		switch {
		case key == "url":
			p, s.spec.URL, ok = l.proxyURL(n, path)
			s.shown.URL = p.String()
		case key == "template":
			l.word(n, path, &s, &s.spec.Template, &s.shown.Template)
		case l.proof(key, n, path, &s):
		case slices.Contains(poolKeys, key):
			l.problem(n.pos, fmt.Sprintf("`%s`: a pool cannot be one of a chain", path), "give the pool a channel of its own, and let the other stand `over` it")
		}
	})
	if !l.stands(path+".url") && len(l.problems) == before {
		l.problem(n.pos, fmt.Sprintf("`%s` has no `url`", path), "write `url: https://[USER:PASSWORD@]HOST[:PORT]`")
	}
	if len(l.problems) > before || !ok {
		return p, s, false
	}
	p, ok = l.proved(s, path, trust.Server{})
	return p, s, ok
}

// word reads a text of a proxy.
func (l *loader) word(n *node, path string, s *proxySource, value, shown *string) {
	t, _ := l.text(n, path)
	*value, *shown, s.secret = t.value, t.written, s.secret || t.secret
}

// proof reads a key about how a proxy over TLS has to prove who it is, and what it is shown. It says false for any other key.
func (l *loader) proof(key string, n *node, path string, s *proxySource) bool {
	switch key {
	case "ca":
		l.word(n, path, s, &s.spec.CA, &s.shown.CA)
	case "pins":
		l.items(n, path, func(n *node, path string) {
			t, _ := l.text(n, path)
			s.spec.Pins, s.shown.Pins, s.secret = append(s.spec.Pins, t.value), append(s.shown.Pins, t.written), s.secret || t.secret
		})
	case "name":
		l.word(n, path, s, &s.spec.Name, &s.shown.Name)
	case "cert":
		l.word(n, path, s, &s.spec.Cert, &s.shown.Cert)
	case "key":
		l.word(n, path, s, &s.spec.Key, &s.shown.Key)
	default:
		return false
	}
	return true
}

// proxyURL reads the URL of a proxy.
func (l *loader) proxyURL(n *node, path string) (p hop.Proxy, url string, ok bool) {
	t, ok := l.text(n, path)
	if !ok {
		return p, "", false
	}
	// The shape has no secret in it but what stands outside the user information, and hop promises that its errors
	// show nothing of their input that could be one.
	if _, err := hop.ParseProxy(t.shape); t.safe && err != nil {
		l.problem(n.pos, fmt.Sprintf("`%s`: %s", path, strings.TrimSuffix(clipError(err), ": "+hop.ErrScheme.Error())), proxyMend)
		return p, "", false
	}
	p, err := hop.ParseProxy(t.value)
	if err != nil {
		l.foreign(t, path, "a proxy", err, proxyMend)
		return p, "", false
	}
	return p, t.value, true
}

// proved makes a proxy that has to prove who it is, and reads its files: relative paths begin at the configuration. What it does not
// say itself, it shares with others.
func (l *loader) proved(s proxySource, path string, shared trust.Server) (hop.Proxy, bool) {
	p, err := l.placed(s.spec).BuildOver(shared)
	return p, l.isProved(s, path, err)
}

// shared reads what all members of a pool have to prove that are over TLS.
func (l *loader) shared(s proxySource, path string) (trust.Server, bool) {
	server, err := l.placed(s.spec).Proof()
	return server, l.isProved(s, path, err)
}

// placed gives a spec with its paths as they are opened.
func (l *loader) placed(spec hop.Spec) hop.Spec {
	for _, file := range []*string{&spec.CA, &spec.Cert, &spec.Key} {
		if *file != "" {
			*file = l.relative(*file)
		}
	}
	return spec
}

// isProved reports what is wrong with a spec.
func (l *loader) isProved(s proxySource, path string, err error) bool {
	if err == nil {
		if key := l.placed(s.spec).Key; key != "" && l.host.Exposed(key) {
			l.warn(l.at(path+".key"), fmt.Sprintf("every user of this host may read or change the key %s", s.shown.Key), "chmod 600 "+s.shown.Key)
		}
		return true
	}
	for _, f := range split(err) {
		what, mend := s.told(f)
		if s.secret {
			what, mend = fmt.Sprintf("`%s` of a proxy is not valid once its references are filled in", f.field), "look at what they stand for: it is not shown here"
		}
		at := l.at(path + "." + f.field)
		if p, ok := l.places[fmt.Sprintf("%s.%s[%d]", path, f.field, f.index)]; ok {
			at = p
		}
		l.problem(at, what, mend)
	}
	return false
}

// told says what is wrong with a field, and how to mend it.
func (s proxySource) told(f specFault) (what, mend string) {
	text := clipError(f.err)
	files := map[string]string{"ca": s.shown.CA, "cert": s.shown.Cert, "key": s.shown.Key}
	var path *fs.PathError
	switch {
	case f.field == "template":
		return templateFault(f.err)
	case strings.Contains(text, "has no TLS"):
		return text, fmt.Sprintf("remove `%s`, or use a proxy over TLS: https://, h2://, h3:// or socks5+tls://", f.field)
	case errors.As(f.err, &path):
		return fmt.Sprintf("the file %s of `%s` cannot be read: %s", clip(files[f.field]), f.field, reason(f.err)), "check the path: a relative one begins at the directory of the configuration file"
	case f.field == "ca":
		return text, "give a file with certificates in PEM form"
	case f.field == "pins":
		return text, "write the SHA-256 of the proxy's public key (SPKI) in base64, 44 characters"
	case f.field == "name":
		return "`name` of a proxy: " + text, "write the host name that the proxy's certificate has"
	}
	if before, after, ok := strings.Cut(text, "; "); ok {
		return before, after
	}
	return text, "give PEM files: the certificate with its chain, and the key that belongs to it"
}

// templateFault says what is wrong with a proxy's template.
func templateFault(err error) (what, mend string) {
	switch {
	case errors.Is(err, credential.ErrProvider):
		return "`template`: there is no such template", "write one of " + strings.Join(credential.Providers(), ", ") + "; or the provider's form itself in the user and password of the URL, with {session} and the like"
	case errors.Is(err, hop.ErrTemplates):
		return "two templates fit: `template`, and the places in the user and password of the URL", "keep one of the two: give the bare user and password of the account, or remove `template`"
	}
	return "`template`: " + strings.TrimPrefix(clipError(err), credential.ErrTemplate.Error()+": "), "give the user and password of the account in the URL: http://USER:PASSWORD@HOST:PORT"
}

// tree gives one text where that says it all, and else a map. url is the URL as it is to be shown.
func (s proxySource) tree(url string) any {
	m := entries{{"url", url}}
	if s.shown.Template != "" {
		m = append(m, entry{"template", s.shown.Template})
	}
	if m = append(m, s.proofTree()...); len(m) == 1 {
		return url
	}
	return m
}

// proofTree is how a proxy over TLS has to prove who it is.
func (s proxySource) proofTree() (m entries) {
	add := func(key, value string) {
		if value != "" {
			m = append(m, entry{key, value})
		}
	}
	add("ca", s.shown.CA)
	if len(s.shown.Pins) > 0 {
		m = append(m, entry{"pins", texts(s.shown.Pins, same)})
	}
	add("name", s.shown.Name)
	add("cert", s.shown.Cert)
	add("key", s.shown.Key)
	return m
}

// proxiesTree is the chain of a channel.
func (c *Config) proxiesTree(ch Channel) []any {
	var list []any
	for i, p := range ch.Proxies {
		at := fmt.Sprintf("channels.%s.proxy[%d]", ch.Name, i)
		list = append(list, ch.proxySources[i].tree(c.text(at, c.text(at+".url", p.String()))))
	}
	return list
}
