package config

import (
	"fmt"
	"strings"

	"watertight/dnssec"
	"watertight/name"
	"watertight/resolve"
)

// Limits of the anchors of one resolver.
const (
	maxTrustAnchors    = 16 // as package dnssec takes
	maxNegativeAnchors = 256
)

// trustAnchors reads trust anchors of the root. It gives them with references filled in, and as they were written.
func (l *loader) trustAnchors(n *node, path string) (value []dnssec.Anchor, written []string) {
	if !l.fewer(n.pos, path, len(n.list), maxTrustAnchors) {
		return nil, nil
	}
	l.items(n, path, func(n *node, path string) {
		t, ok := l.text(n, path)
		if !ok {
			return
		}
		a, err := dnssec.ParseAnchor(t.value)
		if err != nil {
			l.foreign(t, path, "a trust anchor of the root", err, "write a DS or DNSKEY record of the root, such as \". IN DS 38696 8 2 683D...\"")
			return
		}
		value, written = append(value, a), append(written, t.written)
	})
	return value, written
}

// negativeAnchors reads names that are exempt from validation. It gives them canonical, and as they were written.
func (l *loader) negativeAnchors(n *node, path string) (value, written []string) {
	if !l.fewer(n.pos, path, len(n.list), maxNegativeAnchors) {
		return nil, nil
	}
	l.items(n, path, func(n *node, path string) {
		t, ok := l.text(n, path)
		if !ok {
			return
		}
		h, err := name.ParseHost(strings.TrimPrefix(t.value, "."))
		canonical, isName := h.Name()
		if err != nil || !isName {
			l.problem(n.pos, fmt.Sprintf("`%s` is not a name", l.say(path, t.value)), "write a name such as corp.example: it and all below it are then not validated")
			return
		}
		value, written = append(value, canonical), append(written, t.written)
	})
	return value, written
}

// checkDNSSEC takes the mode that was read, and refuses anchors that would never be used. A mode that is written but
// wrong says nothing about them.
func (l *loader) checkDNSSEC(mode resolve.Mode, d *resolve.DNSSEC, path string) {
	written := l.stands(path + ".dnssec")
	if mode == "" && written {
		return
	}
	if written {
		d.Mode = mode
	}
	idle := func(key, why, mend string) {
		if l.stands(path + "." + key) {
			l.problem(l.at(path+"."+key), fmt.Sprintf("`%s.%s` %s", path, key, why), mend)
		}
	}
	switch d.Mode {
	case resolve.Off:
		why := "would never be used: nothing is validated"
		idle("trust_anchors", why, "write `dnssec: validate` too, or remove the key")
		idle("negative_anchors", why, "write `dnssec: validate` too, or remove the key")
	case resolve.RequireSecure:
		idle("negative_anchors", "names what is not validated, and `dnssec: require-secure` takes nothing else", "write `dnssec: validate`, or remove the key")
	}
}
