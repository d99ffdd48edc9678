package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"watertight/dnscrypt"
	"watertight/name"
	"watertight/stamp"
)

const stampScheme = "sdns://"

// stampKinds are the kinds of stamp that say everything about an upstream.
var stampKinds = map[stamp.Kind]Kind{
	stamp.DoH:      DoH,
	stamp.DoT:      DoT,
	stamp.DoQ:      DoQ,
	stamp.DNSCrypt: DNSCrypt,

	stamp.ODoHTarget: ODoH,
}

// relayKinds are the kinds of upstream that a relay leads to, each with the kind of its relay's stamp.
var relayKinds = map[Kind]stamp.Kind{
	DNSCrypt: stamp.DNSCryptRelay,
	ODoH:     stamp.ODoHRelay,
}

// parseStamp reads a DNS stamp. Its address, port, host, path and hashes are honoured; the resolvers in clear that it
// may offer for looking its host up are never asked.
func parseStamp(s string) (endpoint, error) {
	st, err := stamp.Parse(s)
	if err != nil {
		return endpoint{}, errors.New(err.Error()) // one error, and not the two that it wraps
	}
	if st.Kind == stamp.Plain {
		return endpoint{}, fmt.Errorf("the stamp leads to plain DNS, %w; write tls://%s", ErrPlain, withoutPort(st.Addr))
	}
	kind, ok := stampKinds[st.Kind]
	switch {
	case !ok && st.Kind.IsRelay():
		return endpoint{}, fmt.Errorf("the stamp is of a relay (%s), and a relay answers no questions; give the stamp of a resolver as `url` and this one as `relay`", st.Kind)
	case !ok:
		return endpoint{}, fmt.Errorf("stamps of the kind %s lead to no resolver that is known", st.Kind)
	case kind == DNSCrypt:
		return cryptEndpoint(st)
	}
	return tlsEndpoint(st, kind)
}

// tlsEndpoint is the endpoint of a stamp whose server speaks TLS.
func tlsEndpoint(st stamp.Stamp, kind Kind) (endpoint, error) {
	e := endpoint{
		stamp: true, kind: kind, host: st.Host.Host(), port: st.Host.Port(), path: st.Path, at: st.Addr.Addr(), hashes: st.Hashes,
	}
	if e.port == 53 {
		return endpoint{}, errPort53
	}
	if host, ok := e.host.Name(); ok && !e.at.IsValid() {
		e.known = slices.Clone(presetAddrs(host))
	}
	return e, nil
}

func cryptEndpoint(st stamp.Stamp) (endpoint, error) {
	if err := cryptPort(st.Addr.Port()); err != nil {
		return endpoint{}, err
	}
	provider, err := dnscrypt.ProviderName(st.Provider)
	if err != nil {
		return endpoint{}, err
	}
	host, err := name.FromAddr(st.Addr.Addr())
	return endpoint{
		stamp: true, kind: DNSCrypt, host: host, port: st.Addr.Port(), at: st.Addr.Addr(), provider: provider, key: st.PublicKey,
	}, err
}

// cryptPort refuses the ports on which nothing is ever sent, because names travel there in clear.
func cryptPort(port uint16) error {
	switch port {
	case 53, 137, 5353, 5355:
		return fmt.Errorf("port %d is for names in clear text, and nothing is ever sent there; DNSCrypt is usually spoken on port %d", port, dnscrypt.Port)
	}
	return nil
}

// withoutPort is an address for the URL that is to be written instead of one of plain DNS.
func withoutPort(a netip.AddrPort) string {
	if a.Addr().Is6() {
		return "[" + a.Addr().String() + "]"
	}
	return a.Addr().String()
}

// through puts the relay of the spec before the upstream: from then on, only the relay is dialled.
func (s Spec) through(e endpoint, u *Upstream) []error {
	if s.Relay == "" || e.kind == ODoH {
		return nil
	}
	relay, err := parseRelay(s.Relay, e.kind)
	if err != nil {
		return []error{&SpecError{Field: "relay", Err: err}}
	}
	u.Relay = relay.Addr.String()
	if relay.Addr.Port() == kinds[e.kind].port {
		u.Relay = relay.Addr.Addr().String()
	}
	u.Behind, u.Addrs = netip.AddrPortFrom(e.at, e.port), []netip.AddrPort{relay.Addr}
	if u.Behind == relay.Addr {
		return []error{&SpecError{Field: "relay", Err: errors.New("the relay and the resolver are one server, which would learn who asks for what; give another")}}
	}
	return nil
}

func parseRelay(s string, kind Kind) (stamp.Stamp, error) {
	want, ok := relayKinds[kind]
	if !ok {
		return stamp.Stamp{}, fmt.Errorf("%s goes through no relay; leave `relay` out, or use a channel with a proxy", kind.Name())
	}
	relay, err := stamp.Parse(s)
	switch {
	case err != nil:
		return stamp.Stamp{}, errors.New(err.Error())
	case relay.Kind != want:
		return stamp.Stamp{}, fmt.Errorf("the stamp is of the kind %s; %s goes through one of the kind %s", relay.Kind, kind.Name(), want)
	}
	if relay.Kind == stamp.DNSCryptRelay {
		return relay, cryptPort(relay.Addr.Port())
	}
	return relay, nil
}

// odohRelay is the endpoint of the relay of a target of ODoH: what is dialled and authenticated. Without one the target
// would learn both who asks and what is asked, which ODoH is there to keep apart.
func (s Spec) odohRelay(target endpoint) (endpoint, error) {
	if s.Relay == "" {
		return endpoint{}, errors.New("a target of ODoH that is asked without a relay learns who asks for what; give the stamp of an ODoH relay as `relay`")
	}
	relay, err := parseRelay(s.Relay, ODoH)
	if err != nil {
		return endpoint{}, err
	}
	e, err := tlsEndpoint(relay, ODoH)
	at, literal := target.host.Addr()
	if err == nil && (e.host == target.host || literal && e.at == at) {
		err = errors.New("the relay and the target are one host, which would learn who asks for what; give another")
	}
	return e, err
}

// withoutTLS refuses what only a server with a certificate of X.509 has.
func (s Spec) withoutTLS() (errs []error) {
	for _, f := range []struct {
		field string
		given bool
	}{{"pins", len(s.Pins) > 0}, {"ca", s.CA != ""}} {
		if f.given {
			err := fmt.Errorf("a resolver of DNSCrypt proves who it is by the key in its stamp, and has nothing that this would be compared with; leave `%s` out", f.field)
			errs = append(errs, &SpecError{Field: f.field, Err: err})
		}
	}
	if s.ECH != "" {
		err := errors.New("DNSCrypt has no TLS whose hello could be encrypted; leave `ech` out")
		errs = append(errs, &SpecError{Field: "ech", Err: err})
	}
	return errs
}
