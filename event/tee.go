package event

import (
	"errors"
	"slices"
)

// Doors gives every door, for sinks that count by door and for documentation.
func Doors() []Door {
	return []Door{DoorCONNECT, DoorHTTP, DoorSOCKS4, DoorSOCKS5, DoorResolve, DoorDNS, DoorSOCKS5UDP, DoorConnectUDP, DoorTransparent, DoorTransparentUDP, DoorGateway, DoorExec, DoorExecUDP}
}

// tee gives each event to every one of its sinks.
type tee []Sink

var _ Sink = tee(nil)

// Tee is a sink that gives each event to every one of sinks, in order. A nil sink is an error.
func Tee(sinks ...Sink) (Sink, error) {
	if slices.Contains(sinks, nil) {
		return nil, errors.New("event: one of the sinks is nil")
	}
	return tee(slices.Clone(sinks)), nil
}

func (t tee) Request(r *Request) {
	for _, s := range t {
		s.Request(r)
	}
}

func (t tee) Tunnel(e *Tunnel) {
	for _, s := range t {
		s.Tunnel(e)
	}
}

func (t tee) Lookup(l *Lookup) {
	for _, s := range t {
		s.Lookup(l)
	}
}
