package daemon

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"watertight/config"
	"watertight/dnswire"
	"watertight/hop"
	"watertight/name"
)

// LiveSeen is what the channel's resolver said of a target, when it was asked.
type LiveSeen struct {
	Resolution *Resolution `json:"resolution"`
	// ECH says that the destination has keys for encrypted client hello in its HTTPS record (RFC 9848): a client that uses them
	// does not show the name in its TLS handshake. It is nil where the question for that record had no answer.
	ECH *bool `json:"ech"`
}

// Look asks the resolver of the channel that an explained request takes for the target's addresses and its HTTPS record, as
// [Resolve] does, and adds what it says. A request that is refused, or whose name no resolver is asked for, is left as it is:
// false then.
func (e *Explanation) Look(ctx context.Context, c *config.Config, state string, host name.Host, log *slog.Logger) (bool, error) {
	return e.live(func() (*Resolution, error) {
		return Resolve(ctx, c, state, e.Channel, host, liveTypes, log)
	})
}

// LookOn is [Explanation.Look] over a ground that is given.
func (e *Explanation) LookOn(ctx context.Context, ground hop.Ground, c *config.Config, host name.Host) (bool, error) {
	return e.live(func() (*Resolution, error) {
		return ResolveOn(ctx, ground, c, e.Channel, host, liveTypes)
	})
}

var liveTypes = []dnswire.Type{dnswire.A, dnswire.AAAA, dnswire.HTTPS}

func (e *Explanation) live(look func() (*Resolution, error)) (bool, error) {
	if e.Refusal != nil || e.Name.By != byResolver {
		return false, nil
	}
	found, err := look()
	if err != nil {
		return false, err
	}
	seen := &LiveSeen{Resolution: found}
	for _, a := range found.Answers {
		if a.Type != dnswire.HTTPS.String() || a.RCode != "NOERROR" && a.RCode != "NXDOMAIN" {
			continue // nobody said what there is
		}
		ech := slices.ContainsFunc(a.Records, func(r Record) bool {
			// The record as text: its parameters follow priority and target.
			return r.Type == dnswire.HTTPS.String() && strings.Contains(r.Data, " ech=")
		})
		seen.ECH = &ech
	}
	e.Seen = seen
	return true, nil
}
