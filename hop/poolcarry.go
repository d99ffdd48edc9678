package hop

import (
	"context"
	"fmt"
	"hash/fnv"
	"net"
	"strconv"

	"watertight/name"
)

// Least gives the one of proxies that carries the least: it says what can be asked of all of them. One that cannot be asked for
// IPv6 carries no datagrams either, of those that carry datagrams one over HTTP/3 leaves the least room in them, and one that takes
// them in its connection asks the least of what the pool stands on.
func Least(proxies []Proxy) (least Proxy) {
	for i, p := range proxies {
		if i == 0 || p.rank() < least.rank() {
			least = p
		}
	}
	return least
}

// rank orders proxies by how much they carry.
func (p Proxy) rank() int {
	switch {
	case !p.CarriesIPv6():
		return 0
	case !p.CarriesDatagrams():
		return 1
	case p.Scheme == SchemeH3:
		return 2
	case !schemes[p.Scheme].inStream:
		return 3
	}
	return 4
}

// CarriesLike says whether a pool of which a is the least carries as much as one of which b is.
func CarriesLike(a, b Proxy) bool { return a.rank() == b.rank() }

// lesser refuses a pool whose least member carries less than before: what stands on the pool counts on that.
func lesser(before, now Proxy) error {
	var less string
	switch {
	case now.rank() >= before.rank():
		return nil
	case before.CarriesIPv6() && !now.CarriesIPv6():
		less = "cannot be asked for an IPv6 address"
	case before.CarriesDatagrams() && !now.CarriesDatagrams():
		less = "carries no datagrams"
	case schemes[before.Scheme].inStream && !schemes[now.Scheme].inStream:
		less = "takes no datagrams in its connection"
	default:
		less = "leaves less room in datagrams"
	}
	return fmt.Errorf("hop: the proxy %v %s, and what stands on the pool counts on members that all do better: reload to have it decided anew", now, less)
}

// Quick gives a ground for the member of a pool, which has no more than a moment to be reached.
func (u Under) Quick() Under {
	first := u.First
	u.Reach = reachLimit
	u.First = DialerFunc(func(ctx context.Context, t name.Target) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, reachLimit)
		defer cancel()
		return first.Dial(ctx, t)
	})
	return u
}

// keyOf tells proxies apart, credentials included, and shows none of them.
func keyOf(p Proxy) string {
	user, password := p.Template.Written()
	h := fnv.New128a()
	write := func(part string) { fmt.Fprintf(h, "%d:%s", len(part), part) }
	for _, part := range []string{p.Scheme, p.Host.String(), strconv.Itoa(int(p.Port)), p.User, p.Password, user, password, p.Template.Provider(), p.Server.Name} {
		write(part)
	}
	for _, pin := range p.Server.Pins {
		write(string(pin[:]))
	}
	for _, certs := range [][][]byte{p.Server.CA, p.Server.Cert, {p.Server.Key}} {
		write(strconv.Itoa(len(certs)))
		for _, der := range certs {
			write(string(der))
		}
	}
	return string(h.Sum(nil))
}
