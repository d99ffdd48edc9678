package route

import (
	"net/netip"

	"watertight/client"
	"watertight/event"
	"watertight/name"
)

// Request is what a door was asked for.
type Request struct {
	Door   event.Door
	Client netip.AddrPort
	// Identity is who the client is, as the door knows it; zero where it knows nobody.
	Identity client.Identity
	Target   name.Target
	// Original is the address that the client connected to, where the door took its connection from there and found out
	// itself which name is meant; otherwise it is not valid.
	Original netip.Addr
	// PlainHTTP says that the request itself, not only a tunnel, leaves in clear text: an absolute-form http:// URL.
	PlainHTTP bool
}
