package daemon

import (
	"crypto/tls"
	"errors"
	"net"
	"strconv"

	"watertight/client"
	"watertight/config"
	"watertight/front/gateway"
	"watertight/gate"
	"watertight/leaktest"
	"watertight/wire"
)

// Doors gives the listeners.
func (s subject) Doors() (all []leaktest.Door) {
	s.d.servingMu.RLock()
	defer s.d.servingMu.RUnlock()
	for _, l := range s.d.serving.all {
		if door, ok := s.door(l); ok {
			all = append(all, door)
		}
	}
	return all
}

// unproven is why a door is not tried that asks for proof, where there is no pass.
const unproven = "it asks for proof of who comes, which the test has not"

// unreached is why a transparent listener is not tried.
const unreached = "it has no `mark`, and is for the hosts behind a router, or for rules that know this program by its user and leave its test alone, too; try it from a client whose packets they take"

// door gives a listener as the test has it. It gives false for what is no door of clients.
func (s subject) door(l *listener) (leaktest.Door, bool) {
	door := leaktest.Door{At: l.address().String(), Address: l.address()}
	w := wayIn{l: l, clients: &s.d.tests.clients}
	proof := false
	switch l.kind {
	case kindProxy:
		way := l.way.Load()
		door.Kind, door.Relay = leaktest.DoorProxy, w.toRelay
		w.secure, w.balancers = way.TLS, way.Balancers
		proof = s.proves(&door, way.Rules)
	case kindGateway:
		terms := l.terms.Load()
		door.Kind, w.secure = leaktest.DoorGateway, terms.TLS
		proof = s.proves(&door, terms.Rules)
		s.entries(&door)
	case kindDNS:
		door.Kind, door.At = leaktest.DoorDNS, l.text()
		w.secure = l.tls.Load()
		proof = w.secure != nil && w.secure.ClientAuth != tls.NoClientCert
		door.HTTPS = l.scheme == config.SchemeHTTPS
		if l.scheme == "" {
			door.Datagrams = func() (net.Conn, error) {
				return s.d.tests.clients.dialled(wire.DialPacketListener(l.packets))
			}
		}
	case kindTransparent:
		if door.Kind, door.Packets = leaktest.DoorTransparent, l.packets != nil; s.d.current().config.Listen.Mark() == 0 {
			door.Unfit = unreached
		}
		return door, true
	default:
		return door, false
	}
	switch {
	case proof && s.pass == nil:
		door.Unfit = unproven
	case proof:
		w.pass = s.pass
	}
	if door.TLS = w.secure != nil; l.socket != nil {
		door.Dial = w.dial
		if door.TLS && (l.kind == kindProxy || door.HTTPS) {
			door.HTTP2 = true
		}
	}
	if door.TLS && l.packets != nil {
		door.QUIC = w.quic
	}
	if s.pass != nil && (l.kind == kindProxy || l.kind == kindGateway) {
		door.As = s.as(door, w)
	}
	return door, true
}

// proves says whether a client has to prove there who it is, and gives the door the password that the test has then; a certificate
// is shown in the handshake.
func (s subject) proves(door *leaktest.Door, r *gate.Rules) bool {
	if r.Unproven() {
		return false
	}
	if s.pass != nil && r.AsksPassword() {
		c := s.pass.Credentials()
		door.Proof = leaktest.Proof{User: c.Username, Password: c.Password}
	}
	return true
}

// entries gives a gateway those of its entries that lead to services of others, and how it is asked where the generic form leads.
func (s subject) entries(door *leaktest.Door) {
	for _, e := range s.d.current().config.Gateway {
		if e.Path == "" {
			door.Generic = s.leadsGeneric
			continue
		}
		door.Entries = append(door.Entries, e.Path)
	}
}

// leadsGeneric says to which channel the gateway leads a request for /https/HOST:PORT/ of a client without a name.
func (s subject) leadsGeneric(host string, port uint16) (string, error) {
	return s.leadsGenericAs(host, port, func() (string, error) { return s.Leads(host) })
}

// leadsGenericAs is leadsGeneric for whom the routes lead as they say.
func (s subject) leadsGenericAs(host string, port uint16, routes func() (string, error)) (string, error) {
	_, entry, who, err := s.d.current().gateway.Locate(gateway.GenericPrefix+net.JoinHostPort(host, strconv.Itoa(int(port)))+"/", client.Identity{})
	switch {
	case err != nil:
		return "", err
	case entry.Channel != "":
		return entry.Channel, nil
	case who != client.Identity{}:
		return "", errors.New("the entry is for a user of its own, whose routes are not the test's")
	}
	return routes()
}
