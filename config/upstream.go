package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"watertight/name"
	"watertight/upstream"
)

// source is what an upstream was made from, as the file has it: what Show prints.
type source struct {
	spec   upstream.Spec // with references filled in
	shown  upstream.Spec // the same as it was written
	ca     string        // the CA file as --ca has it; empty for an upstream of a file
	secret bool          // the two differ
	broken bool          // something in its map is wrong and reported: the rest of it is looked at all the same
	pos    pos
	path   string
}

// defaultUpstream is the resolver of `direct` where none is written.
func defaultUpstream() (upstream.Upstream, source) {
	u, err := upstream.Parse(DefaultUpstream)
	if err != nil {
		panic("config: the default upstream: " + err.Error()) // the preset is compiled in, and a test reads it
	}
	spec := upstream.Spec{URL: DefaultUpstream}
	return u, source{spec: spec, shown: spec}
}

// upstreams reads one or a list of them, but makes no upstream yet: `addresses` may stand behind it in the file.
func (l *loader) upstreams(n *node, path string) []source {
	if n = asList(n); !l.fewer(n.pos, path, len(n.list), maxUpstreams) {
		return nil
	}
	var found []source
	l.items(n, path, func(n *node, path string) {
		s := source{pos: n.pos, path: path}
		ok := true
		if n.kind == kindMap {
			ok = l.upstreamMap(n, path, &s)
		} else {
			ok = l.upstreamURL(n, path, &s)
		}
		if ok {
			found = append(found, s)
		}
	})
	return found
}

func (l *loader) upstreamURL(n *node, path string, s *source) bool {
	t, ok := l.text(n, path)
	s.spec.URL, s.shown.URL, s.pos = t.value, t.written, n.pos
	s.secret = s.secret || t.secret
	return ok
}

func (l *loader) upstreamMap(n *node, path string, s *source) bool {
	before := len(l.problems)
	l.fields(n, "channels.*.resolver.upstreams", path, func(key string, n *node, path string) {
		switch key {
		case "url":
			l.upstreamURL(n, path, s)
		case "addresses":
			s.spec.Addresses, s.shown.Addresses = l.ips(n, path)
		case "pins":
			l.items(n, path, func(n *node, path string) {
				t, _ := l.text(n, path)
				s.spec.Pins, s.shown.Pins = append(s.spec.Pins, t.value), append(s.shown.Pins, t.written)
				s.secret = s.secret || t.secret
			})
		case "ca":
			t, _ := l.text(n, path)
			s.spec.CA, s.shown.CA, s.secret = t.value, t.written, s.secret || t.secret
		case "name":
			t, _ := l.text(n, path)
			s.spec.Name, s.shown.Name, s.secret = t.value, t.written, s.secret || t.secret
		case "relay":
			t, _ := l.text(n, path)
			s.spec.Relay, s.shown.Relay, s.secret = t.value, t.written, s.secret || t.secret
		case "ech":
			t, _ := l.text(n, path)
			s.spec.ECH, s.shown.ECH, s.secret = t.value, t.written, s.secret || t.secret
		}
	})
	if !l.stands(path + ".url") {
		l.problem(n.pos, fmt.Sprintf("`%s` has no `url`", path), "write `url: https://HOST/dns-query`, `url: tls://HOST` or a preset's name")
	}
	s.broken = len(l.problems) > before
	return s.spec.URL != ""
}

// host is the name in the URL, or nothing where the URL has an address or is a preset's name.
func (s source) host() string {
	if strings.HasPrefix(strings.ToLower(s.spec.URL), "sdns:") {
		host, _ := s.spec.Host()
		return host
	}
	u, err := url.Parse(s.spec.URL)
	if err != nil || u.Host == "" {
		return ""
	}
	h, err := name.ParseHost(u.Hostname())
	if err != nil {
		return ""
	}
	n, _ := h.Name()
	return n
}

// finish makes the upstream that was read, now that its addresses are known.
func (l *loader) finish(s source, r *Resolver) {
	spec := s.spec
	if spec.CA != "" {
		spec.CA = l.relative(spec.CA)
	}
	spec.Below = !strings.HasPrefix(s.path, "channels."+DirectName+".")
	spec.Tunnel = r.tunnel
	u, err := spec.Build()
	if err == nil {
		u.Text = s.shown.URL // with references, not with what they stand for: it goes to logs
		r.Upstreams, r.sources = append(r.Upstreams, u), append(r.sources, s)
		if ended := upstream.Ended(spec.URL); ended != "" {
			l.warn(s.pos, "the preset "+spec.URL+" will give no answers: "+ended, "take another preset, such as quad9")
		}
		return
	}
	for _, f := range split(err) {
		what, mend := f.told(s)
		if owner, _, _ := strings.Cut(s.path, ".resolver."); errors.Is(f.err, upstream.ErrPlain) && l.stands(owner+".wireguard") {
			mend += ", or `dns_over_tunnel: true` in `wireguard`: then whoever runs the tunnel sees the names"
		}
		at := l.at(s.path + "." + f.field)
		if p, ok := l.places[fmt.Sprintf("%s.%s[%d]", s.path, f.field, f.index)]; ok {
			at = p
		}
		if s.broken && (f.field == "addresses" || l.reported(at)) {
			continue
		}
		if s.secret {
			what, mend = fmt.Sprintf("`%s` of an upstream is not valid once its references are filled in", f.field), "look at what they stand for: it is not shown here"
		}
		l.problem(at, what, mend)
	}
}

// reported says that something was found wrong at a place already.
func (l *loader) reported(at pos) bool {
	return slices.ContainsFunc(l.problems, func(p Problem) bool { return p.Line == at.line && p.Column == at.column })
}

// specFault is one error of a spec with its field.
type specFault struct {
	field string
	index int
	err   error
}

// split takes apart the joined errors of a spec.
func split(err error) []specFault {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		var all []specFault
		for _, e := range joined.Unwrap() {
			all = append(all, split(e)...)
		}
		return all
	}
	var spec *upstream.SpecError
	if errors.As(err, &spec) {
		return []specFault{{spec.Field, spec.Index, spec.Err}}
	}
	return []specFault{{"url", 0, err}}
}

// told says what is wrong with a field, and how to mend it. Where the error itself ends in an advice, that is the
// mend.
func (f specFault) told(s source) (what, mend string) {
	switch host := s.host(); {
	case f.field == "addresses" && host != "" && len(s.spec.Addresses) == 0:
		return fmt.Sprintf("the resolver %s is given by its name, and looking that up would need another resolver", host),
			fmt.Sprintf("write its addresses under `resolver`, as `addresses: {%s: [IP]}`, or take a preset such as quad9, or a URL with an IP address", host)
	case f.field == "ca":
		return s.toldCA(f.err)
	}
	text := clipError(f.err)
	if before, after, ok := strings.Cut(text, "; "); ok {
		return before, after
	}
	switch f.field {
	case "pins":
		return text, "write the SHA-256 of the server's public key (SPKI) in base64, 44 characters"
	case "addresses":
		return text, "write IP addresses of the host that the URL names"
	case "relay":
		return "`relay` of an upstream: " + text, "write the stamp of a relay, sdns://, that leads to resolvers of this kind"
	case "ech":
		return "`ech` of an upstream: " + text, "write the base64 of an ECHConfigList, as `ech=` of the server's HTTPS record has it"
	case "name":
		return "`name` of an upstream: " + text, "write the host name that the server's certificate has"
	default:
		return text, "write a preset such as quad9, https://HOST[:PORT]/PATH or tls://HOST[:PORT]"
	}
}

// flagSource is an upstream of the command line. Its CA file is shown with its whole path: a relative one begins at
// the working directory there, and at the file in a file.
func flagSource(flag, ca string) (source, error) {
	spec := upstream.Spec{URL: flag}
	if ca != "" {
		abs, err := filepath.Abs(ca)
		if err != nil {
			return source{}, err
		}
		spec.CA = abs
	}
	return source{spec: spec, shown: spec, ca: ca}, nil
}

// toldCA says what is wrong with a CA file, by the name that the user gave it.
func (s source) toldCA(err error) (what, mend string) {
	file, from := s.spec.CA, "the directory of the configuration file"
	if s.ca != "" {
		file, from = s.ca, "the working directory"
	}
	mend = "give a file with certificates in PEM form that this user may read"
	if errors.Is(err, fs.ErrNotExist) {
		mend = "check the path: a relative one begins at " + from
	}
	return fmt.Sprintf("the CA file %s cannot be used: %s", clip(file), reason(err)), mend
}
