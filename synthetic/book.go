// Package synthetic gives names addresses that stand for them: a program connects to the address, and the connection is
// carried by the name.
//
// It promises that an address stands for one name for as long as the book lives, and is never given to another; that nobody
// is asked about a name to give it one; and that an address which stands for nothing is known as such. It never reaches the
// network.
package synthetic

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"sync"

	"watertight/fault"
	"watertight/name"
)

// MaxNames is how many names a book has room for: the addresses of 198.18.0.0/15 without those that end in 0 or 255, which some
// programs take for networks and broadcasts.
const MaxNames = blocks * perBlock

const (
	blocks   = 2 << 8 // of 256 addresses
	perBlock = 254
)

// network4 is the network of RFC 2544: no host on the internet has an address of it, and few in private networks.
var network4 = netip.MustParsePrefix("198.18.0.0/15")

// Book holds which address stands for which name. Its methods may be called from many goroutines.
type Book struct {
	network6 netip.Prefix

	mu      sync.RWMutex
	numbers map[name.Host]uint32
	names   []name.Host // by number
}

// New gives an empty book, whose IPv6 addresses are of a network chosen at random (RFC 4193, section 3.2).
func New() *Book {
	var b [16]byte
	b[0] = 0xfd
	_, _ = rand.Read(b[1:8]) // it never fails
	return &Book{network6: netip.PrefixFrom(netip.AddrFrom16(b), 64), numbers: map[name.Host]uint32{}}
}

// Networks gives those of all the addresses, an IPv4 and an IPv6 one.
func (b *Book) Networks() []netip.Prefix { return []netip.Prefix{network4, b.network6} }

// both gives the addresses at a place of the networks. The IPv6 address ends in the IPv4 address.
func (b *Book) both(at uint32) (v4, v6 netip.Addr) {
	four := network4.Addr().As4()
	binary.BigEndian.PutUint32(four[:], binary.BigEndian.Uint32(four[:])+at)
	six := b.network6.Addr().As16()
	copy(six[12:], four[:])
	return netip.AddrFrom4(four), netip.AddrFrom16(six)
}

// place is where in the networks the addresses of a number are; numberAt is the way back.
func place(number uint32) uint32 { return (number/perBlock)<<8 + number%perBlock + 1 }

func numberAt(place uint32) (number uint32, ok bool) {
	block, at := place>>8, place&0xff
	if at == 0 || at > perBlock {
		return 0, false
	}
	return block*perBlock + at - 1, true
}

// Addrs gives the two addresses that stand for a name, the same ones whenever it is asked. An address has none of its own
// here. The error is a [*fault.Error] with LIMIT: there is an address for each of [MaxNames] names, and none is used twice.
func (b *Book) Addrs(h name.Host) (v4, v6 netip.Addr, err error) {
	if _, named := h.Name(); !named {
		return v4, v6, fault.New(fault.Internal, "an address is no name that another could stand for", nil)
	}
	b.mu.RLock()
	number, ok := b.numbers[h]
	b.mu.RUnlock()
	if !ok {
		if number, ok = b.add(h); !ok {
			return v4, v6, &fault.Error{
				Code: fault.Limit, Message: "as many names were asked for as there are addresses that can stand for one",
				Hint: "start the program anew: an address that was given out is never given to another name",
			}
		}
	}
	v4, v6 = b.both(place(number))
	return v4, v6, nil
}

func (b *Book) add(h name.Host) (number uint32, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if number, ok := b.numbers[h]; ok {
		return number, true
	}
	if len(b.names) >= MaxNames {
		return 0, false
	}
	number = uint32(len(b.names))
	b.numbers[h] = number
	b.names = append(b.names, h)
	return number, true
}

// Name gives the name that an address stands for, or the zero Host where it stands for none. It says false for an address that
// is not of the book's networks.
func (b *Book) Name(addr netip.Addr) (h name.Host, mine bool) {
	addr = addr.Unmap().WithZone("")
	var four [4]byte
	switch {
	case network4.Contains(addr):
		four = addr.As4()
	case b.network6.Contains(addr):
		six := addr.As16()
		four = [4]byte(six[12:])
		if binary.BigEndian.Uint32(six[8:]) != 0 || !network4.Contains(netip.AddrFrom4(four)) {
			return name.Host{}, true
		}
	default:
		return name.Host{}, false
	}
	base := network4.Addr().As4()
	number, ok := numberAt(binary.BigEndian.Uint32(four[:]) - binary.BigEndian.Uint32(base[:]))
	b.mu.RLock()
	defer b.mu.RUnlock()
	if !ok || int64(number) >= int64(len(b.names)) {
		return name.Host{}, true
	}
	return b.names[number], true
}

// Len is how many names have addresses.
func (b *Book) Len() int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.names)
}
