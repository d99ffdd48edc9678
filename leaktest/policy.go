package leaktest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/name"
	"watertight/socks"
)

// Targets that a policy refuses before anybody is asked or dialled. The addresses that are no resolvers' are for documentation
// (RFC 5737, RFC 3849); literals are public ones, as another policy refuses those, and lead to sinks for what nobody wants (RFC 7535).
var (
	foreign  = []string{"dns.google:443", "cloudflare-dns.com:443", "8.8.8.8:443", "[2606:4700:4700::1111]:443", "192.0.2.53:853", "[2001:db8::53]:853"}
	plain    = []string{"192.0.2.53:53", "[2001:db8::53]:53", "192.0.2.53:5353", "192.0.2.53:5355", "192.0.2.53:137"}
	literals = []string{"192.31.196.80:443", "[2001:4:112::80]:443"}
)

// tryForeign asks the doors for resolvers of others.
func tryForeign(ctx context.Context, r *run, f *findings) {
	if p := r.about.Policy.ForeignResolvers; p != "refuse" {
		f.skip("`policy.foreign_resolvers` is %s: clients may ask resolvers of their own", p)
		return
	}
	r.mustRefuse(ctx, foreign, fault.PolicyForeignResolver, f)
}

// tryPlain asks the doors for ports on which names travel in clear text.
func tryPlain(ctx context.Context, r *run, f *findings) {
	r.mustRefuse(ctx, plain, fault.PolicyForeignResolver, f)
}

// tryLiterals asks the doors for addresses that were given to nobody.
func tryLiterals(ctx context.Context, r *run, f *findings) {
	if p := r.about.Policy.ClientResolved; p != "refuse" {
		f.skip("`policy.client_resolved` is %s: a request for an address that was never given out is carried", p)
		return
	}
	r.mustRefuse(ctx, literals, fault.PolicyClientResolved, f)
}

// mustRefuse asks every door for targets that have to be refused before anything is sent, by one policy: what is refused for another
// reason, such as that a leak has closed everything, does not show that the policy holds.
func (r *run) mustRefuse(ctx context.Context, targets []string, by fault.Code, f *findings) {
	for _, d := range r.doorsOf(DoorProxy, f) {
		for _, e := range entrancesOf(d, f) {
			for _, text := range targets {
				t := name.Must(text)
				if a, ok := t.Host().Addr(); ok && a.Is6() && e.name == "SOCKS4a" {
					continue // it has no room for one
				}
				pauseBriefly(ctx)
				what := fmt.Sprintf("%s by %s, %s", d.At, e.name, text)
				conn, err := enter(ctx, d, e, t)
				if other := otherwise(err, by); other != "" {
					f.doubt("see `watertight status`, and run it again", "%s: it was refused for another reason, %s, and not by %s", what, other, by)
					continue
				}
				r.wasRefused(what, err, f)
				if err == nil {
					_ = conn.Close()
				}
			}
		}
	}
}

// tryPlainHTTP asks the doors for a URL in clear, by its whole form (RFC 9112, section 3.2.2).
func tryPlainHTTP(ctx context.Context, r *run, f *findings) {
	channel := ""
	if r.noCanary == "" {
		if channel = r.leads(f); channel == "" {
			return
		}
	}
	allowed := r.about.Policy.PlainHTTP != "refuse"
	if allowed && channel == "" {
		f.skip("`policy.plain_http` is %s, and %s", r.about.Policy.PlainHTTP, r.noCanary)
		return
	}
	for _, d := range r.doorsOf(DoorProxy, f) {
		v, host := r.unreachable(d.At + ", asked for http://NAME/")
		err := askPlainHTTP(ctx, d, host)
		if allowed {
			v.channel, v.nobody = channel, false
			if err != nil && !refused(err) {
				f.doubt("see `watertight status`", "%s: %v", v.what, err)
			}
			f.note("%s: carried, as `policy.plain_http` is %s", v.what, r.about.Policy.PlainHTTP)
		} else {
			r.wasRefused(v.what, err, f)
		}
		f.visit(v)
	}
}

// askPlainHTTP asks for the root of a host. The error is a *refusedError where the door, or who stands behind it, says no.
func askPlainHTTP(ctx context.Context, d Door, host string) error {
	ctx, cancel := context.WithTimeout(ctx, doorLimit)
	defer cancel()
	conn, err := d.Dial(ctx)
	if err != nil {
		return fmt.Errorf("the door %s cannot be reached: %w", d.At, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := fmt.Fprintf(conn, "GET http://%s/ HTTP/1.1\r\nHost: %[1]s\r\n%[2]sConnection: close\r\n\r\n", host, d.Proof.field("Proxy-Authorization")); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(io.LimitReader(conn, apiHead), apiHead), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusProxyAuthRequired {
		return errStranger
	}
	if response.StatusCode >= http.StatusBadRequest {
		return &refusedError{response.Status}
	}
	return nil
}

var codeIn = regexp.MustCompile(`\(([A-Z][A-Z_]+)\)`)

// dialled are the codes of what was tried and failed.
var dialled = []fault.Code{fault.ConnectRefused, fault.ConnectTimeout, fault.ConnectUnreachable, fault.HopRefused, fault.OriginFailed}

// failed are the replies of SOCKS5 to the same. That a host is unreachable it says of a name, too.
var failed = []string{socks.ConnectionRefused.String(), socks.NetworkUnreachable.String(), socks.TTLExpired.String()}

// otherwise gives the reason of a refusal that is not by this policy, where it is known; of what was dialled it says nothing.
func otherwise(err error, by fault.Code) string {
	if err == nil || !refused(err) {
		return ""
	}
	if m := codeIn.FindStringSubmatch(err.Error()); m != nil && fault.Code(m[1]) != by && !slices.Contains(dialled, fault.Code(m[1])) {
		return m[1]
	}
	if err.Error() == socks.GeneralFailure.String() {
		return err.Error()
	}
	return ""
}

// wasRefused says whether a door refused before it dialled.
func (r *run) wasRefused(what string, err error, f *findings) {
	switch {
	case err == nil:
		f.leak("", "", "%s: connected", what)
	case !refused(err):
		f.doubt("see `watertight status`", "%s: %v", what, err)
	default:
		m := codeIn.FindStringSubmatch(err.Error())
		if m != nil && slices.Contains(dialled, fault.Code(m[1])) || slices.Contains(failed, err.Error()) {
			f.leak("", "", "%s: it was dialled before it failed (%s)", what, err)
			return
		}
		f.held("%s: refused (%s)", what, err)
	}
}

// specials are names that nobody outside may be asked for, each behind a fresh label (RFC 6761, 6762, 7686, 8375, 9476, and
// `internal`, which ICANN reserved).
var specials = []string{"local", "onion", "test", "invalid", "alt", "internal", "lan", "home.arpa", "10.in-addr.arpa", "resolver.arpa", ""}

// trySpecial asks channels and doors for names that are answered here.
func trySpecial(ctx context.Context, r *run, f *findings) {
	for _, c := range r.channels {
		for _, suffix := range specials {
			if slices.ContainsFunc(c.Forward, func(s string) bool { return suffix == s || strings.HasSuffix(suffix, "."+s) }) {
				f.skip("channel %s: `forward` sends names under %s to its resolver", c.Name, suffix)
				continue
			}
			host := strings.TrimSuffix(r.label()+"."+suffix, ".")
			what := fmt.Sprintf("channel %s, a name under %s", c.Name, orElse(suffix, "the root"))
			_, local, err := c.Exchange(ctx, dnswire.Question{Name: host, Type: dnswire.A})
			switch {
			case local:
				f.held("%s: answered here", what)
			case err != nil:
				f.leak("B7", "", "%s: it was asked of the channel's resolver, and refused with %s", what, fault.Of(err).Code)
			default:
				f.leak("B7", "", "%s: it was asked of the channel's resolver", what)
			}
		}
	}
	for _, d := range r.doorsOf(DoorProxy, f) {
		for _, suffix := range []string{".local", ".onion", ""} {
			t, err := name.New(name.MustHost(r.label()+suffix), 443)
			if err != nil {
				f.doubt("", "%v", err)
				continue
			}
			pauseBriefly(ctx)
			conn, err := enter(ctx, d, connecting, t)
			r.wasRefused(fmt.Sprintf("%s by HTTP CONNECT, a name under %s", d.At, orElse(strings.TrimPrefix(suffix, "."), "the root")), err, f)
			if err == nil {
				_ = conn.Close()
			}
		}
	}
}
