// Package wireguard is a way out through WireGuard (https://www.wireguard.com/protocol/), in user space: the tunnel,
// and a network stack of its own inside it. Nothing of the host is changed, and no privilege is needed.
//
// It promises that what is dialled through a tunnel leaves as datagrams of WireGuard to an endpoint of its peers and in
// no other form, and that these travel by the channel underneath, which also looks the names of endpoints up. Where no
// peer is for an address, or the peer does not answer, dialling fails and says so. It dials addresses only, resolves
// nothing, and has no listening socket, neither inside the tunnel nor outside. No key stands in an error.
package wireguard
