package wireguard

import (
	"crypto/ecdh"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/device"

	"watertight/name"
	"watertight/wire"
)

// Limits of a tunnel.
const (
	MaxAddresses  = 16   // of this end
	MaxPeers      = 32   // of one tunnel
	MaxAllowedIPs = 1024 // of one peer
	MinMTU        = 576  // octets; MinMTU6 where the tunnel carries IPv6 (RFC 8200, section 5)
	MinMTU6       = 1280
	MaxMTU        = 9000
	DefaultMTU    = 1420 // what is left of 1500 beneath IPv6, UDP and WireGuard
	// MaxKeepalive is the longest pause between two signs of life: it is a number of 16 bits.
	MaxKeepalive = 65535 * time.Second
)

// Config is a tunnel. Two that are deeply equal are interchangeable.
type Config struct {
	PrivateKey PrivateKey
	Addresses  []netip.Addr // of this end, inside the tunnel
	MTU        int          // of the packets inside the tunnel, in octets
	// DNSOverTunnel lets the channel's own resolver ask in clear text inside the tunnel, and nothing else.
	DNSOverTunnel bool
	Peers         []Peer
}

// Peer is a far end of a tunnel.
type Peer struct {
	PublicKey    PublicKey
	PresharedKey PresharedKey // zero for none
	Endpoint     name.Target  // where its datagrams go; a name is looked up in the channel underneath
	// AllowedIPs are the networks behind the peer: what is sent there goes to it, and what comes from it has to come from
	// there. The longest prefix decides.
	AllowedIPs []netip.Prefix
	Keepalive  time.Duration // between two signs of life that nobody asked for, in whole seconds; 0: none
}

// Validate refuses what could not work as it says.
func (c *Config) Validate() error {
	public, err := c.PrivateKey.Public()
	if err != nil {
		return err
	}
	if len(c.Addresses) == 0 || len(c.Addresses) > MaxAddresses {
		return fmt.Errorf("a tunnel has 1 to %d addresses, not %d", MaxAddresses, len(c.Addresses))
	}
	least := MinMTU
	for i, a := range c.Addresses {
		if err := CheckAddress(a); err != nil {
			return err
		}
		if slices.Contains(c.Addresses[:i], a) {
			return fmt.Errorf("the address %v is there twice", a)
		}
		if a.Is6() {
			least = MinMTU6
		}
	}
	if c.MTU < least || c.MTU > MaxMTU {
		return fmt.Errorf("an MTU of %d octets; this tunnel takes %d to %d", c.MTU, least, MaxMTU)
	}
	if len(c.Peers) == 0 || len(c.Peers) > MaxPeers {
		return fmt.Errorf("a tunnel has 1 to %d peers, not %d", MaxPeers, len(c.Peers))
	}
	keys, networks := map[PublicKey]bool{public: true}, map[netip.Prefix]bool{}
	for i := range c.Peers {
		p := &c.Peers[i]
		if err := p.validate(); err != nil {
			return fmt.Errorf("peer %d: %w", i+1, err)
		}
		if keys[p.PublicKey] {
			return fmt.Errorf("peer %d: its key is that of another peer, or of this end", i+1)
		}
		keys[p.PublicKey] = true
		for _, n := range p.AllowedIPs {
			if networks[n] {
				return fmt.Errorf("peer %d: the network %v is there twice", i+1, n)
			}
			networks[n] = true
		}
	}
	return nil
}

func (p *Peer) validate() error {
	switch {
	case p.PublicKey == PublicKey{}:
		return errors.New("it has no public key")
	case !p.Endpoint.IsValid():
		return errors.New("it has no endpoint")
	case wire.PlainDNS(p.Endpoint.Port()):
		return fmt.Errorf("its endpoint has the port %d, on which names travel in clear text: nothing is ever sent there", p.Endpoint.Port())
	case len(p.AllowedIPs) == 0 || len(p.AllowedIPs) > MaxAllowedIPs:
		return fmt.Errorf("it has %d networks, and 1 to %d make sense", len(p.AllowedIPs), MaxAllowedIPs)
	case p.Keepalive < 0 || p.Keepalive > MaxKeepalive || p.Keepalive%time.Second != 0:
		return errors.New("its keepalive is not a number of seconds up to 65535")
	}
	for _, n := range p.AllowedIPs {
		if !n.IsValid() || n != n.Masked() || n.Addr().Is4In6() {
			return fmt.Errorf("%v is not a network", n)
		}
	}
	return nil
}

// CheckAddress refuses what cannot be the address of this end.
func CheckAddress(a netip.Addr) error {
	if !a.IsValid() || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
		return fmt.Errorf("%v cannot be the address of an end of a tunnel", a)
	}
	return nil
}

// Route gives the place among Peers of the one behind which an address is, by the longest prefix.
func (c *Config) Route(to netip.Addr) (int, bool) {
	best, bits := -1, -1
	for i := range c.Peers {
		for _, n := range c.Peers[i].AllowedIPs {
			if n.Bits() > bits && n.Contains(to) {
				best, bits = i, n.Bits()
			}
		}
	}
	return best, best >= 0
}

// Family says whether this end has an address of the family of to.
func (c *Config) Family(to netip.Addr) bool {
	return slices.ContainsFunc(c.Addresses, func(a netip.Addr) bool { return a.Is4() == to.Is4() })
}

// CarriesIPv6 says whether anything of IPv6 can be reached through the tunnel.
func (c *Config) CarriesIPv6() bool {
	return c.Family(netip.IPv6Unspecified()) && slices.ContainsFunc(c.Peers, func(p Peer) bool {
		return slices.ContainsFunc(p.AllowedIPs, func(n netip.Prefix) bool { return n.Addr().Is6() })
	})
}

// Room is how many octets the datagrams take that carry packets of the MTU: a header of 16 octets and a tag of 16 around
// them.
func (c *Config) Room() int { return c.MTU + device.MessageTransportSize }

// Rivals says whether two tunnels cannot be up at once: a peer knows one place for a key, and sends all it has for it
// there.
func (c *Config) Rivals(other *Config) bool {
	if c.PrivateKey != other.PrivateKey {
		return false
	}
	return slices.ContainsFunc(c.Peers, func(p Peer) bool {
		return slices.ContainsFunc(other.Peers, func(o Peer) bool { return o.PublicKey == p.PublicKey })
	})
}

// Public is the public key that belongs to a private one.
func (k PrivateKey) Public() (PublicKey, error) {
	if k == (PrivateKey{}) {
		return PublicKey{}, errors.New("a tunnel needs a private key")
	}
	private, err := ecdh.X25519().NewPrivateKey(k[:])
	if err != nil {
		return PublicKey{}, errors.New("not a private key")
	}
	return PublicKey(private.PublicKey().Bytes()), nil
}
