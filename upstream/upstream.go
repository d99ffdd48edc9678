package upstream

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"watertight/dnscrypt"
	"watertight/name"
	"watertight/trust"
)

// Kind is how an upstream speaks.
type Kind string

// The kinds of upstream, each by the scheme of its URLs. Those without a URL of their own are written as stamps.
const (
	DoH  Kind = "https" // DNS over HTTPS (RFC 8484), over HTTP/2 or HTTP/1.1
	DoH3 Kind = "h3"    // DNS over HTTPS over HTTP/3 (RFC 9114), and nothing else
	DoT  Kind = "tls"   // DNS over TLS (RFC 7858)
	DoQ  Kind = "quic"  // DNS over QUIC (RFC 9250)

	DNSCrypt Kind = "dnscrypt" // DNSCrypt version 2, anonymised where there is a relay
	ODoH     Kind = "odoh"     // Oblivious DNS over HTTPS (RFC 9230), always with a relay
)

// traits is what tells kinds apart before anything is sent.
type traits struct {
	name    string // what people call it
	port    uint16 // where it is spoken, unless the URL says otherwise
	path    bool   // its URL has a path
	packets bool   // it travels in datagrams and in nothing else
	stamp   bool   // it has no URL of its own, only a stamp
	tunnel  bool   // it is carried inside a tunnel alone
}

var kinds = map[Kind]traits{
	DoH:  {name: "DNS over HTTPS", port: 443, path: true},
	DoH3: {name: "DNS over HTTPS (HTTP/3)", port: 443, path: true, packets: true},
	DoT:  {name: "DNS over TLS", port: 853},
	DoQ:  {name: "DNS over QUIC", port: 853, packets: true},

	DNSCrypt: {name: "DNSCrypt", port: dnscrypt.Port, stamp: true},
	ODoH:     {name: "ODoH", port: 443, path: true, stamp: true},

	Plain: {name: "plain DNS inside the tunnel", port: 53, packets: true, tunnel: true},
}

// Kinds gives every kind that can be carried over more than one way out, in the order of their schemes.
func Kinds() []Kind {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(kinds)), Kind.Tunnel)
}

// Name is what people call the kind.
func (k Kind) Name() string { return kinds[k].name }

// Form is how an upstream of the kind begins in a configuration.
func (k Kind) Form() string {
	if kinds[k].stamp {
		return stampScheme + " (" + kinds[k].name + ")"
	}
	return string(k) + "://"
}

// Packets says whether the kind travels in datagrams alone, which not every way out carries.
func (k Kind) Packets() bool { return kinds[k].packets }

const defaultPath = "/dns-query"

// Limits of an upstream's description.
const (
	maxURL       = 2048 // octets
	maxAddresses = 16
)

// ErrPlain is returned for an upstream that would send names in clear text.
var ErrPlain = errors.New("names would travel in clear text")

var errPort53 = errors.New("port 53 is for plain DNS, and nothing is encrypted there (RFC 7858, section 3.1)")

// Upstream is a resolver that can be reached without resolving anything, or with what a channel underneath resolves, and that has
// to prove who it is. Make one
// with [Parse] or [Spec.Build]; the zero Upstream is not valid. Two upstreams that are deeply equal are
// interchangeable.
type Upstream struct {
	Text       string // as configured: a URL or a preset's name; it holds no secret
	Kind       Kind
	Host       string           // host and, where it is not the kind's own, port: what messages and the Host header say
	Path       string           // of DNS over HTTPS
	GET        bool             // ask with GET: the URL was a template with {?dns} (RFC 8484, section 4.1)
	ServerName string           // the name, or the address as text, that the certificate has to cover
	Addrs      []netip.AddrPort // what is dialled: the relay, where there is one
	Named      name.Target      // what is looked up in the channel underneath, where there are no Addrs; else not valid
	Pins       [][32]byte       // SHA-256 of a SubjectPublicKeyInfo in the verified chain; any of them will do (RFC 7858, section 4.2)
	CA         [][]byte         // certificates in DER that alone are trusted; none: those that the system trusts
	// Hashes are SHA-256 of a TBSCertificate in the verified chain, from a stamp; any of them will do. Where there are
	// Pins too, one of each has to match.
	Hashes [][32]byte
	// ECH is the ECHConfigList (RFC 9849) that every connection is made with, and none without; nil: none is configured.
	ECH []byte

	// PublicKey is that of the provider (Ed25519), of DNSCrypt; the provider's name is ServerName.
	PublicKey [32]byte
	// Relay is the host of the relay as messages name it, "" where there is none.
	Relay string
	// Behind is where a relay of DNSCrypt is to send questions. It is never dialled.
	Behind netip.AddrPort
	// TargetPath is where the target of ODoH, which Host says, takes questions. ServerName, Path, Pins, CA, Hashes and ECH
	// are the relay's: it alone is spoken with.
	TargetPath string
}

// Validate refuses what neither [Parse] nor [Spec.Build] made. What a kind needs beyond that, its transport checks.
func (u Upstream) Validate() error {
	if (len(u.Addrs) == 0) != u.Named.IsValid() || u.Host == "" || u.Kind == "" {
		return errors.New("it was not made by upstream.Parse or Spec.Build")
	}
	return nil
}

// Parse reads an upstream from one text: a preset's name, `https://HOST[:PORT][/PATH]`, `h3://` the same,
// `tls://HOST[:PORT]` or `quic://HOST[:PORT]`, where HOST is an address or a host name that a preset knows; or a DNS
// stamp, `sdns://…`, of one of these. PATH may end in `{?dns}`: then questions travel by GET.
func Parse(s string) (Upstream, error) { return Spec{URL: s}.Build() }

// Spec is an upstream as a configuration file describes it.
type Spec struct {
	URL       string   // or a preset's name, or a stamp
	Addresses []string // of the host, where the URL names one; tried in this order
	Pins      []string // base64 of the SHA-256 of a SubjectPublicKeyInfo
	CA        string   // path of a PEM file; only the authorities in it are trusted
	Name      string   // the server name to check instead of the URL's host
	Relay     string   // the stamp of a relay, through which everything goes to the upstream
	ECH       string   // base64 of an ECHConfigList (RFC 9849)
	// Below says that a channel underneath looks the host up, where no address of it is given or known.
	Below bool
	// Tunnel says that the upstream is for the resolver of a tunnel that may ask in clear text inside it.
	Tunnel bool
}

// Host gives the host of the spec's URL or stamp where it is a name that needs `addresses`: what a configuration looks up in
// its own table of addresses. It says false for a literal address, for a name that a preset knows, and for a URL that
// is wrong.
func (s Spec) Host() (string, bool) {
	e, err := parseEndpoint(s.URL)
	if err == nil && e.kind == ODoH {
		e, err = s.odohRelay(e)
	}
	if err != nil {
		return "", false
	}
	host, ok := e.host.Name()
	return host, ok && len(e.known) == 0 && !e.at.IsValid()
}

// Build checks the spec and reads its CA file. Every error in the spec is reported, each as a [*SpecError], joined.
func (s Spec) Build() (Upstream, error) {
	e, err := s.endpoint()
	if err != nil {
		return Upstream{}, &SpecError{Field: "url", Err: err}
	}
	u := Upstream{Text: s.URL, Kind: e.kind, Host: e.display()}
	if e.kind == ODoH {
		u.TargetPath = e.path
		if e, err = s.odohRelay(e); err != nil {
			return Upstream{}, &SpecError{Field: "relay", Err: err}
		}
		u.Relay = e.display()
	}
	u.Path, u.GET, u.ServerName, u.Hashes = e.path, e.get, e.host.String(), e.hashes
	if e.kind == DNSCrypt {
		u.ServerName, u.PublicKey = e.provider, e.key
	}
	var errs []error
	if u.Addrs, errs = s.addresses(e); len(u.Addrs) == 0 && len(errs) == 0 {
		u.Named, err = name.New(e.host, e.port)
		if err != nil {
			errs = append(errs, &SpecError{Field: "url", Err: err})
		}
	}
	if e.kind == Plain {
		return s.plain(u, errs)
	}
	errs = append(errs, s.through(e, &u)...)
	if e.kind == DNSCrypt {
		errs = append(errs, s.withoutTLS()...)
	}
	pins, pinErrs := trust.ParsePins(s.Pins)
	u.Pins = pins
	errs = append(errs, pinErrs...)
	if s.CA != "" {
		if u.CA, err = trust.ReadCA(s.CA); err != nil {
			errs = append(errs, &SpecError{Field: "ca", Err: err})
		}
	}
	if s.ECH != "" {
		if u.ECH, err = parseECH(s.ECH); err != nil {
			errs = append(errs, &SpecError{Field: "ech", Err: err})
		}
	}
	if s.Name != "" && e.stamp {
		err := errors.New("a stamp says whom to expect by itself; leave `name` out")
		errs = append(errs, &SpecError{Field: "name", Err: err})
	} else if s.Name != "" {
		h, err := name.ParseHost(s.Name)
		if err != nil {
			errs = append(errs, &SpecError{Field: "name", Err: err})
		}
		u.ServerName = h.String()
	}
	if len(errs) > 0 {
		return Upstream{}, errors.Join(errs...)
	}
	return u, nil
}

// addresses gives where the upstream is: the address of a stamp, a literal host, else what the spec lists, else what a preset
// knows. It gives none where the channel underneath is to say it.
func (s Spec) addresses(e endpoint) (list []netip.AddrPort, errs []error) {
	fail := func(i int, err error) { errs = append(errs, &SpecError{Field: "addresses", Index: i, Err: err}) }
	a, ok := e.host.Addr()
	if e.at.IsValid() {
		a, ok = e.at, true
	}
	if ok {
		switch {
		case len(s.Addresses) > 0 && e.at.IsValid():
			fail(0, fmt.Errorf("the stamp has the address %v already; leave `addresses` out", a))
		case len(s.Addresses) > 0:
			fail(0, fmt.Errorf("%v is an address already; leave `addresses` out", a))
		case nobodys(a):
			errs = append(errs, &SpecError{Field: "url", Err: noServer(a)})
		}
		return []netip.AddrPort{netip.AddrPortFrom(a, e.port)}, errs
	}
	if len(s.Addresses) > maxAddresses {
		fail(maxAddresses, fmt.Errorf("more than %d addresses", maxAddresses))
		return nil, errs
	}
	for i, text := range s.Addresses {
		a, err := netip.ParseAddr(text)
		switch {
		case err != nil:
			fail(i, fmt.Errorf("%.60q is not an IP address", text))
		case a.Zone() != "":
			fail(i, name.ErrZone)
		case nobodys(a):
			fail(i, noServer(a))
		default:
			list = append(list, netip.AddrPortFrom(a.Unmap(), e.port))
		}
	}
	if len(s.Addresses) == 0 {
		for _, a := range e.known {
			list = append(list, netip.AddrPortFrom(a, e.port))
		}
	}
	if len(list) == 0 && len(errs) == 0 && !s.Below {
		fail(0, fmt.Errorf("%s is a name, and looking it up would need another resolver: give its addresses under "+
			"`addresses: {%s: [IP]}`, or use a resolver by its literal address (`--resolver tls://IP`) or a preset (%s)",
			e.host, e.host, presetNames(3)))
	}
	return list, errs
}

// nobodys says that an address is that of no host. The kernel takes the unspecified one for this host.
func nobodys(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func noServer(a netip.Addr) error {
	return fmt.Errorf("no server has the address %v; write the resolver's own, 127.0.0.1 or ::1 if it runs on this host", a)
}
