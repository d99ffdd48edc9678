package daemon

import (
	"slices"

	"watertight/channel"
	"watertight/client"
	"watertight/config"
	"watertight/event"
	"watertight/fault"
	"watertight/front/gateway"
	"watertight/name"
	"watertight/route"
)

// IsGateway says whether a target is a listener of the gateway of a configuration, as a client calls it that speaks clear
// text, where plain says so, or TLS.
func IsGateway(c *config.Config, t name.Target, plain bool) bool {
	return slices.ContainsFunc(c.Listen.Gateway, func(l config.GatewayListener) bool {
		called := func(host string) bool {
			return host == t.Host().String() && t.Port() == l.Address.Port() || host == t.String()
		}
		return plain != l.Speaks() && (isAt(l.Address, t) || slices.ContainsFunc(l.Hosts, called))
	})
}

// ExplainGateway is [ExplainFor] for a request to the gateway, with its path as it is written: of the request that the gateway
// would send on. A user of the entry goes before the client, and so does one whom the path names.
func ExplainGateway(c *config.Config, path string, id client.Identity) (*Explanation, error) {
	g, err := buildNowhere(c)
	if err != nil {
		return nil, err
	}
	defer g.discard(nil)
	target, entry, id, err := g.gateway.Locate(path, id)
	if err != nil {
		e := newExplanation(target)
		if !target.IsValid() {
			e.Target = ""
		}
		e.Verdict, e.Refusal = "refused", answerError(fault.Of(err))
		return e, nil
	}
	e := newExplanation(target)
	e.Gateway = &EntryTaken{Path: entry.Path, Channel: entry.Channel, To: config.Gateway{To: target, ToPath: entry.ToPath}.URL()}
	if entry.Path == "" {
		e.Gateway.Path = gateway.GenericPrefix
		e.Gateway.To = config.Gateway{To: target, ToPath: "/"}.URL()
	}
	var through *channel.Channel
	for _, r := range g.channels {
		if r.Name() == entry.Channel {
			through = r.Channel
		}
	}
	said := g.table.ExplainIn(through, route.Request{Door: event.DoorGateway, Target: target, Identity: id})
	return e.of(g, target, said), nil
}
