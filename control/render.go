package control

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// labelWidth is the width of the first column, in characters.
const labelWidth = 15

// RenderStatus writes a status for people: a word on the left, what there is to say on the right.
func RenderStatus(w io.Writer, s Status) error {
	v := &view{}
	state := "ready"
	if !s.Ready {
		state = "NOT READY"
	}
	v.line("Watertight %s, %s, up %s, pid %d", s.Version, state, uptime(s.UptimeSeconds), s.PID)
	v.line("")
	for _, l := range s.Listeners {
		v.row("listening", "%-8s %s", l.Kind, l.Address)
	}
	for _, c := range s.Channels {
		v.line("")
		v.channel(c)
	}
	for _, c := range s.Certificates {
		v.line("")
		v.certificate(c)
	}
	v.line("")
	v.row("connections", "%d open", s.Connections)
	v.row("tunnels", "%d open, %d in all", s.Tunnels.Active, s.Tunnels.Total)
	v.requests(s.Requests)
	v.dns(s.DNS)
	v.contained(s.Contained)
	v.leakTest(s.LeakTest)
	v.guard(s.Guard)
	v.config(s.Config)
	v.row("host look-ups", "%d trapped", s.TrappedHostLookups)
	if s.TrappedHostLookups > 0 {
		v.row("", "this is a fault of Watertight; please report it (nothing left this host)")
	}
	_, err := io.WriteString(w, v.b.String())
	return err
}

// view is the text as it grows. A label is written once for the rows that share it.
type view struct {
	b    strings.Builder
	last string
}

func (v *view) line(format string, args ...any) {
	v.b.WriteString(clean(fmt.Sprintf(format, args...)))
	v.b.WriteByte('\n')
	v.last = ""
}

func (v *view) row(label, format string, args ...any) {
	shown := label
	if label == v.last {
		shown = ""
	}
	text := fmt.Sprintf(format, args...)
	v.line("%s", strings.TrimRight(fmt.Sprintf("%-*s%s", labelWidth, shown, text), " "))
	v.last = label
}

// certificate shows a certificate that is obtained.
func (v *view) certificate(c Certificate) {
	state := "NONE"
	if c.NotAfter != nil {
		state = "until " + c.NotAfter.UTC().Format(time.RFC3339)
	}
	v.row("certificate", "%s: %s", strings.Join(c.Names, ", "), state)
	if c.LastError != "" {
		v.row("  error", "%s", c.LastError)
	}
	if c.Next != nil {
		v.row("  next", "the authority is asked at %s", c.Next.UTC().Format(time.RFC3339))
	}
}

func (v *view) channel(c Channel) {
	if c.Ready {
		v.row("channel", "%s: ready", c.Name)
	} else {
		v.row("channel", "%s: NOT READY: %s", c.Name, c.Reason)
	}
	if c.Over != "" {
		v.row("  over", "%s", c.Over)
	}
	for _, h := range c.Hops {
		v.row("  through", "%s", h)
	}
	v.pool(c.Pool)
	if c.Identities > 0 {
		v.row("  identities", "%d in use, each with a cache and connections of its own", c.Identities)
	}
	for _, p := range c.WireGuard {
		age := "no handshake yet"
		if p.HandshakeSeconds != nil {
			age = fmt.Sprintf("handshake %d seconds ago", *p.HandshakeSeconds)
		}
		v.row("  peer", "%s: %s, %d octets sent, %d received", p.Endpoint, age, p.SentBytes, p.ReceivedBytes)
	}
	if len(c.Resolver.Upstreams) == 0 {
		v.row("  resolver", "the exit")
		return
	}
	width := 0
	for _, u := range c.Resolver.Upstreams {
		width = max(width, utf8.RuneCountInString(u.Name))
	}
	for _, u := range c.Resolver.Upstreams {
		state := "up"
		if !u.Healthy {
			state = "DOWN"
		}
		v.row("  resolver", "%-*s  %-4s  %s, %s%s", width, u.Name, state, count(u.Queries, "question"), count(u.Failures, "failure"), u.speaks())
		if !u.Healthy && u.LastError != "" {
			v.row("  resolver", "%*s  %s", width, "", u.LastError)
		}
	}
	if all := len(c.Resolver.Upstreams); all > 1 {
		v.row("  names", "seen by %d of %d resolvers (%s)", c.Resolver.SeesName, all, c.Resolver.Strategy)
	}
	if d := c.Resolver.DNSSEC; d != nil {
		v.row("  dnssec", "%s: %d secure, %d insecure, %d bogus, %d without a verdict", d.Mode, d.Secure, d.Insecure, d.Bogus, d.Indeterminate)
		if d.LastError != "" {
			v.row("  dnssec", "the keys of the root were not seen: %s", d.LastError)
		}
	}
	v.row("  cache", "%s in %s of %s MiB, %d%% of questions answered",
		count(uint64(max(c.Cache.Entries, 0)), "answer"), mebibytes(c.Cache.Bytes), mebibytes(c.Cache.LimitBytes), share(c.Cache.Hits, c.Cache.Misses))
	if c.Cache.Stale > 0 {
		v.row("  cache", "%s given that had expired", count(c.Cache.Stale, "answer"))
	}
}

// pool shows a pool, and its members where they were asked for.
func (v *view) pool(p *Pool) {
	if p == nil {
		return
	}
	v.row("  pool", "%d of %d members can be used, %d stuck to, %s refused for want of one", p.Usable, p.Members, p.Stuck, count(p.Refused, "connection"))
	for _, m := range p.List {
		state := "up"
		if !m.Usable {
			state = fmt.Sprintf("DOWN for %.0fs", m.RetrySeconds)
		}
		v.row("  member", "%-5d %s://%s  %s, %s, %s", m.Index, m.Scheme, m.Host, state, count(m.Dials, "connection"), count(m.Failures, "failure"))
		if m.LastError != "" {
			v.row("  member", "%-5s %s", "", m.LastError)
		}
	}
}

// speaks is how the connection in use is spoken over, where there is one.
func (u Upstream) speaks() string {
	switch {
	case u.Protocol == "":
		return ""
	case u.ECH:
		return ", " + u.Protocol + " with ECH"
	}
	return ", " + u.Protocol
}

func (v *view) requests(r Requests) {
	refused := uint64(0)
	width := 0
	for code, n := range r.Refused {
		refused += n
		width = max(width, len(code))
	}
	v.row("requests", "%d, %d refused", r.Total, refused)
	for _, code := range slices.Sorted(maps.Keys(r.Refused)) {
		v.row("", "%-*s  %d", width, code, r.Refused[code])
	}
}

func (v *view) dns(d *DNS) {
	if d == nil {
		return
	}
	sum := func(m map[string]uint64) (n uint64) {
		for _, count := range m {
			n += count
		}
		return n
	}
	said := func(label string, m map[string]uint64) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if m[key] > 0 {
				v.row(label, "%-9s  %d", key, m[key])
			}
		}
	}
	v.row("DNS queries", "%d, %d under way, %d answers cut short", sum(d.Queries), d.Waiting, d.Truncated)
	said("DNS queries", d.Queries)
	if dropped := sum(d.Dropped); dropped > 0 {
		v.row("DNS dropped", "%d", dropped)
		said("DNS dropped", d.Dropped)
	}
}

// contained shows the contained programs.
func (v *view) contained(c *ContainedPrograms) {
	if c == nil {
		return
	}
	v.row("contained", "%s, %d in all", count(uint64(len(c.List)), "program"), c.Total)
	for _, p := range c.List {
		by := "the routes"
		if p.Channel != "" {
			by = p.Channel
		}
		v.row("contained", "pid %d by %s: %s and %s open, %s, %s, datagrams: %d refused, %d dropped", p.PID, by,
			count(uint64(max(p.Connections, 0)), "connection"), count(uint64(max(p.Flows, 0)), "flow"), count(uint64(max(p.Names, 0)), "name"),
			count(p.Queries, "DNS question"), p.Refused, p.Dropped)
	}
}

func (v *view) config(c Config) {
	path := c.Path
	if path == "" {
		path = "the defaults"
	}
	v.row("configuration", "%s, loaded %s, %s", path, c.LoadedAt.Format(time.DateTime), count(c.Reloads, "reload"))
	if c.LastError == "" {
		return
	}
	v.row("", "the last reload FAILED and changed nothing:")
	for text := range strings.Lines(c.LastError) {
		v.row("", "  %s", strings.TrimRight(text, "\n"))
	}
}

func count(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// mebibytes shows octets in MiB.
func mebibytes(octets int) string { return strconv.FormatFloat(float64(octets)/(1<<20), 'f', 1, 64) }

// share is hits in a hundred, rounded down.
func share(hits, misses uint64) uint64 {
	if hits == 0 {
		return 0
	}
	return uint64(100 * float64(hits) / (float64(hits) + float64(misses)))
}

// uptime shows the two largest units.
func uptime(seconds int64) string {
	s := max(seconds, 0)
	switch {
	case s >= 86400:
		return fmt.Sprintf("%dd %dh", s/86400, s%86400/3600)
	case s >= 3600:
		return fmt.Sprintf("%dh %dm", s/3600, s%3600/60)
	case s >= 60:
		return fmt.Sprintf("%dm %ds", s/60, s%60)
	}
	return fmt.Sprintf("%ds", s)
}

// clean makes text safe for a terminal: some of it comes from servers.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
