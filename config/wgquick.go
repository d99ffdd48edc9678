package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"watertight/wireguard"
)

// MaxWGQuick bounds a file of wg-quick(8), in octets.
const MaxWGQuick = 256 << 10

// Imported is a tunnel of wg-quick(8) as a channel.
type Imported struct {
	YAML  []byte           // a configuration with the channel and a route to it; no key stands in it but the peers' public ones
	Files []ImportedSecret // that the YAML names
	Notes []Problem        // what was left out
}

// ImportedSecret is a file with a key, for its owner alone. It prints as its name.
type ImportedSecret struct {
	Name string
	key  string
}

// Content is what stands in the file.
func (s ImportedSecret) Content() []byte { return []byte(s.key + "\n") }

// Format prints the name, whatever verb prints it.
func (s ImportedSecret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.Name)) }

// leftOut are keys of wg-quick(8) that mean nothing to a tunnel in user space, or that are never done.
var leftOut = map[string]string{
	"preup": "is a command, and no command is run", "postup": "is a command, and no command is run",
	"predown": "is a command, and no command is run", "postdown": "is a command, and no command is run",
	"saveconfig": "is for wg-quick alone: the file stays as it is", "table": "is about routes of the host, of which none is changed",
	"fwmark": "is about routes of the host, of which none is changed", "listenport": "is left to chance: the tunnel is begun at this end",
}

const wgquickMend = "write the file as wg-quick(8) has it: [Interface] and [Peer], and `Key = value` below"

// wgquick is a file as it is read.
type wgquick struct {
	file, section string
	line          int
	problems      Problems
	notes         []Problem
	interfaces    int
	seen          map[string]bool // keys of the section that may stand once

	key       string
	addresses []string
	dns       []string
	mtu       int
	peers     []wgpeer
}

type wgpeer struct {
	line                                   int
	public, preshared, endpoint, keepalive string
	allowed                                []string
}

func (w *wgquick) problem(what, mend string) {
	w.problems = append(w.problems, Problem{File: w.file, Line: w.line, Column: 1, What: what, Mend: mend})
}

// ImportWGQuick makes a channel of a file of wg-quick(8). files is the directory that its keys will be in, as the YAML has it. The
// error is [Problems], by line, and shows no key.
func ImportWGQuick(file string, text []byte, channel, files string) (*Imported, error) {
	w := &wgquick{file: file, line: 1}
	if why, mend := channelName(channel); why != "" {
		return nil, Problems{{What: "--name: " + why, Mend: mend}}
	}
	if channel == DirectName {
		return nil, Problems{{What: "--name: `direct` has no tunnel: it is the way out without one", Mend: "give the channel another name"}}
	}
	if len(text) > MaxWGQuick || !utf8.Valid(text) {
		w.problem(fmt.Sprintf("not a text of at most %d octets", MaxWGQuick), wgquickMend)
		return nil, w.problems
	}
	w.line = 0
	for raw := range strings.Lines(strings.TrimPrefix(string(text), "\ufeff")) {
		w.line++
		line, _, _ := strings.Cut(raw, "#")
		if line = strings.TrimSpace(line); line != "" {
			w.read(line)
		}
	}
	w.complete()
	if len(w.problems) > 0 {
		return nil, w.problems.err()
	}
	return w.channel(channel, files)
}

func (w *wgquick) read(line string) {
	if line[0] == '[' {
		w.seen = map[string]bool{}
		switch w.section = strings.ToLower(line); w.section {
		case "[interface]":
			if w.interfaces++; w.interfaces > 1 {
				w.problem("a second [Interface]", "a tunnel has one end here: import each file by itself")
			}
		case "[peer]":
			if w.peers = append(w.peers, wgpeer{line: w.line}); len(w.peers) == wireguard.MaxPeers+1 {
				w.problem(fmt.Sprintf("a tunnel has at most %d peers", wireguard.MaxPeers), "write fewer")
			}
		default:
			w.problem("a section that wg-quick does not know", wgquickMend)
		}
		return
	}
	key, value, found := strings.Cut(line, "=")
	name, value := strings.TrimSpace(key), strings.TrimSpace(value)
	key = strings.ToLower(name)
	switch {
	case !found || key == "":
		w.problem("neither a section nor `Key = value`", wgquickMend)
	case value == "":
		w.problem(fmt.Sprintf("`%s` has no value", told(name)), "write one, or remove the line")
	case w.section == "[interface]":
		w.ofInterface(key, name, value)
	case w.section == "[peer]":
		w.ofPeer(&w.peers[len(w.peers)-1], key, name, value)
	case w.section == "":
		w.problem("a key before any section", wgquickMend)
	}
}

// once says whether a key stands for the first time in its section.
func (w *wgquick) once(key, name string) bool {
	if w.seen[key] {
		w.problem(fmt.Sprintf("`%s` is written twice", told(name)), "keep one of the two")
		return false
	}
	w.seen[key] = true
	return true
}

func (w *wgquick) ofInterface(key, name, value string) {
	if why, out := leftOut[key]; out {
		w.notes = append(w.notes, Problem{File: w.file, Line: w.line, Column: 1, What: fmt.Sprintf("`%s` %s", told(name), why), Mend: "it is left out"})
		return
	}
	switch key {
	case "privatekey":
		if _, err := wireguard.ParsePrivateKey(value); err != nil {
			w.problem("`PrivateKey` is "+clipError(err), "write the key of this end, as `wg genkey` prints it")
		} else if w.once(key, name) {
			w.key = value
		}
	case "address":
		for part := range strings.SplitSeq(value, ",") {
			p, err := network(strings.TrimSpace(part))
			if err == nil {
				err = wireguard.CheckAddress(p.Addr())
			}
			if err != nil {
				w.problem(fmt.Sprintf("`%s` cannot be the address of an end of a tunnel", told(part)), "write an address such as 10.2.0.2/32 or fd00:2::2/128")
				continue
			}
			w.addresses = append(w.addresses, p.String())
		}
	case "dns":
		for part := range strings.SplitSeq(value, ",") {
			if a, err := netip.ParseAddr(strings.TrimSpace(part)); err == nil && a.Zone() == "" {
				w.dns = append(w.dns, a.String())
				continue
			}
			w.notes = append(w.notes, Problem{File: w.file, Line: w.line, Column: 1, What: fmt.Sprintf("`%s` is a search domain, and names are resolved as they are written", told(part)), Mend: "it is left out"})
		}
	case "mtu":
		row := keyAt(wireguardRow + ".mtu")
		n, err := strconv.Atoi(value)
		if err != nil || n < int(row.min) || n > int(row.max) {
			w.problem(fmt.Sprintf("`%s` is no MTU", told(value)), fmt.Sprintf("write %d to %d", row.min, row.max))
		} else if w.once(key, name) {
			w.mtu = n
		}
	default:
		w.problem(fmt.Sprintf("`%s` is no key of [Interface]", told(name)), wgquickMend)
	}
}

func (w *wgquick) ofPeer(p *wgpeer, key, name, value string) {
	switch key {
	case "publickey":
		if _, err := wireguard.ParsePublicKey(value); err != nil {
			w.problem("`PublicKey` is "+clipError(err), publicMend)
		} else if w.once(key, name) {
			p.public = value
		}
	case "presharedkey":
		if _, err := wireguard.ParsePresharedKey(value); err != nil {
			w.problem("`PresharedKey` is "+clipError(err), "write it as `wg genpsk` prints it, or remove the line")
		} else if w.once(key, name) {
			p.preshared = value
		}
	case "endpoint":
		if what, mend := wrongEndpoint(value); what != "" {
			w.problem(what, mend)
		} else if w.once(key, name) {
			p.endpoint = value
		}
	case "allowedips":
		for part := range strings.SplitSeq(value, ",") {
			n, err := network(strings.TrimSpace(part))
			if err != nil {
				w.problem(fmt.Sprintf("`%s` is no network", told(part)), "write a network such as 10.1.0.0/16, or one address")
				continue
			}
			if text := n.Masked().String(); !slices.Contains(p.allowed, text) {
				p.allowed = append(p.allowed, text)
			}
		}
	case "persistentkeepalive":
		seconds, err := strconv.ParseUint(value, 10, 16)
		if value != "off" && err != nil {
			w.problem(fmt.Sprintf("`%s` is no number of seconds", told(value)), "write 0 to 65535, or off")
		} else if w.once(key, name) && seconds > 0 {
			p.keepalive = short(time.Duration(seconds) * time.Second)
		}
	default:
		w.problem(fmt.Sprintf("`%s` is no key of [Peer]", told(name)), wgquickMend)
	}
}

// told gives a text of the file for people. What could be a key of WireGuard, or a part of one, is not told.
func told(text string) string {
	run := 0
	for _, r := range text {
		if run++; r < '+' || r > 'z' || strings.ContainsRune(".:-[]_", r) {
			run = 0
		}
		if run > 20 {
			return "***"
		}
	}
	return clip(strings.TrimSpace(text))
}

// network reads a network, or an address as the network of it alone.
func network(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

// complete looks for what is missing.
func (w *wgquick) complete() {
	missing := func(line int, name, mend string) {
		w.line = max(line, 1)
		w.problem("`"+name+"` is missing", mend)
	}
	switch {
	case w.interfaces == 0:
		missing(1, "[Interface]", wgquickMend)
	case len(w.problems) > 0: // a key that is wrong is not missing
	case w.key == "":
		missing(1, "PrivateKey", "write the key of this end below [Interface]")
	case len(w.addresses) == 0:
		missing(1, "Address", "write the address of this end inside the tunnel below [Interface]")
	case len(w.peers) == 0:
		missing(1, "[Peer]", wgquickMend)
	}
	for _, p := range w.peers {
		switch {
		case len(w.problems) > 0:
		case p.public == "":
			missing(p.line, "PublicKey", publicMend)
		case p.endpoint == "":
			missing(p.line, "Endpoint", "write where the peer is: a tunnel begins at this end")
		case len(p.allowed) == 0:
			missing(p.line, "AllowedIPs", "write the networks behind the peer, such as 0.0.0.0/0, ::/0")
		}
	}
}
