package canary

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/name"
	"watertight/visit"
)

// Way is by what a check looks from outside: a channel, whose resolver is not the host's.
type Way interface {
	Exchange(ctx context.Context, q dnswire.Question) (*dnswire.Answer, error)
	Dial(ctx context.Context, t name.Target) (net.Conn, error)
}

// CheckOptions are what a check needs.
type CheckOptions struct {
	Zone string
	Way  Way
	// Roots are who may certify the web page; nil: those that the system trusts.
	Roots *x509.CertPool
	// HTTP has the page asked in clear: it is served without TLS.
	HTTP bool
	// Port is where the page is served; 0: 443, or 80 in clear.
	Port uint16
	// Now is the clock by which certificates are checked.
	Now func() time.Time
}

// State is how something was found.
type State string

// The states.
const (
	Fine    State = "ok"
	Warning State = "warning" // it works without, and not all that there is
	Failed  State = "failed"
	Skipped State = "skipped" // it could not be looked at; the fact says why
)

// Finding is one thing that was looked at. The field names are stable.
type Finding struct {
	ID    string `json:"id"`
	State State  `json:"state"`
	Fact  string `json:"fact"`
	Fix   string `json:"fix,omitempty"`
}

// CheckReport is what came of a check. The field names are stable.
type CheckReport struct {
	Zone     string    `json:"zone"`
	OK       bool      `json:"ok"` // nothing failed
	Findings []Finding `json:"findings"`
}

// checkLimit is how long one question or one connection of a check may take.
const checkLimit = 10 * time.Second

// checker is a check under way.
type checker struct {
	o       CheckOptions
	report  *CheckReport
	label   string
	servers []string     // names of the zone's name servers
	addrs   []netip.Addr // of the ordinary name of the visit
	about   *visit.Zone  // what the canary says; nil where it does not
	signed  bool         // the zone above has DS records
}

// Check looks at a canary as its visitors will: whether the zone leads to it, over what it answers, and whether page and API are
// there. What it asks goes through the way that is given and nowhere else. The error is for options that are none.
func Check(ctx context.Context, o CheckOptions) (*CheckReport, error) {
	if o.Way == nil || o.Now == nil {
		return nil, errors.New("canary: a check needs a way and a clock")
	}
	host, err := name.ParseHost(strings.ToLower(strings.TrimSuffix(o.Zone, ".")))
	if err != nil {
		return nil, fmt.Errorf("canary: the zone %q: %w", o.Zone, err)
	}
	zone, ok := host.Name()
	if !ok || !strings.Contains(zone, ".") {
		return nil, fmt.Errorf("canary: %q is no zone that another delegates", o.Zone)
	}
	o.Zone = zone
	c := &checker{o: o, report: &CheckReport{Zone: zone, OK: true}, label: visit.NewLabel()}
	for _, step := range []func(context.Context){
		c.delegation, c.glue, c.names, c.page, c.wildcard, c.seen, c.signatures, c.families, c.encrypted,
	} {
		step(ctx)
	}
	return c.report, ctx.Err()
}

func (c *checker) found(id string, s State, fact, fix string) {
	c.report.Findings = append(c.report.Findings, Finding{ID: id, State: s, Fact: printable(fact), Fix: printable(fix)})
	if s == Failed {
		c.report.OK = false
	}
}

// maxText bounds a fact and a mend, in octets.
const maxText = 600

// printable is a text for a terminal: servers, and whoever stands in for them, have written parts of it.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	return cut(s, maxText)
}

// ask asks the resolver of the way.
func (c *checker) ask(ctx context.Context, host string, t dnswire.Type) (*dnswire.Answer, error) {
	ctx, stop := context.WithTimeout(ctx, checkLimit)
	defer stop()
	return c.o.Way.Exchange(ctx, dnswire.Question{Name: host, Type: t})
}

// answered is the error of a question that has no record for an answer.
func answered(a *dnswire.Answer, err error) error {
	switch {
	case err != nil:
		return err
	case a.RCode != dnswire.NoError:
		return errors.New(dnswire.RCodeText(a.RCode))
	case a.Negative():
		return errors.New("no such record")
	}
	return nil
}

// above is the zone above.
func (c *checker) above() string {
	_, rest, _ := strings.Cut(c.o.Zone, ".")
	return rest
}

func (c *checker) delegation(ctx context.Context) {
	a, err := c.ask(ctx, c.o.Zone, dnswire.NS)
	fix := "add to the zone " + c.above() + " the records that `watertight canary` prints at its start: NS, glue and DS"
	switch {
	case err != nil:
		c.found("delegation", Failed, "the name servers of "+c.o.Zone+" could not be asked for: "+err.Error(), "check the resolver of the channel: `watertight resolve "+c.above()+"`")
		return
	case a.RCode == dnswire.ServFail:
		c.found("delegation", Failed, "the resolver gets no answer for "+c.o.Zone+": the zone leads to servers that do not answer, or the DS records in "+c.above()+" are not those of its key",
			"see that port 53 of the canary can be reached over UDP and TCP, and compare the DS records with those that `watertight canary` prints at its start")
		return
	case answered(a, nil) != nil:
		c.found("delegation", Failed, c.o.Zone+" has no name servers ("+dnswire.RCodeText(a.RCode)+")", fix)
		return
	}
	for _, r := range a.Final() {
		c.servers = append(c.servers, r.Host)
	}
	slices.Sort(c.servers)
	c.found("delegation", Fine, c.o.Zone+" leads to "+strings.Join(c.servers, ", "), "")
}

func (c *checker) glue(ctx context.Context) {
	if len(c.servers) == 0 {
		c.found("glue", Skipped, "no name server is known", "")
		return
	}
	var known, lost []string
	for _, s := range c.servers {
		addrs := c.addresses(ctx, s)
		if len(addrs) == 0 {
			lost = append(lost, s)
			continue
		}
		known = append(known, s+" at "+text(addrs))
	}
	if len(lost) > 0 {
		c.found("glue", Failed, "no address is known of "+strings.Join(lost, ", "), "add A and AAAA records for it to the zone "+c.above()+" (glue), as `watertight canary` prints them at its start")
		return
	}
	c.found("glue", Fine, strings.Join(known, "; "), "")
}

func (c *checker) addresses(ctx context.Context, host string) (all []netip.Addr) {
	for _, t := range []dnswire.Type{dnswire.A, dnswire.AAAA} {
		if a, err := c.ask(ctx, host, t); err == nil {
			all = append(all, a.Addrs()...)
		}
	}
	return all
}

func text(addrs []netip.Addr) string {
	var all []string
	for _, a := range addrs {
		all = append(all, a.String())
	}
	return strings.Join(all, ", ")
}

func (c *checker) names(ctx context.Context) {
	if len(c.servers) == 0 {
		c.found("names", Skipped, "the zone leads nowhere", "")
		return
	}
	host := visit.Name(c.label, visit.Plain, c.o.Zone)
	if c.addrs = c.addresses(ctx, host); len(c.addrs) == 0 {
		why := "neither of IPv4 nor of IPv6"
		if err := answered(c.ask(ctx, host, dnswire.A)); err != nil {
			why = err.Error()
		}
		c.found("names", Failed, "a fresh name has no address: "+why, "see that `watertight canary` runs with `--zone "+c.o.Zone+"`, and that port 53 of its addresses can be reached from outside")
		return
	}
	c.found("names", Fine, "a fresh name leads to "+text(c.addrs), "")
}

func (c *checker) families(context.Context) {
	switch {
	case len(c.addrs) == 0:
		c.found("ipv6", Skipped, "the page's addresses are not known", "")
	case !slices.ContainsFunc(c.addrs, netip.Addr.Is6):
		c.found("ipv6", Warning, "the page has no IPv6 address: whether visitors leak over IPv6 does not show", "give the host an IPv6 address, and `watertight canary` an `--address` of it")
	case !slices.ContainsFunc(c.addrs, netip.Addr.Is4):
		c.found("ipv6", Warning, "the page has no IPv4 address: visitors without IPv6 cannot come", "give the host an IPv4 address, and `watertight canary` an `--address` of it")
	default:
		c.found("ipv6", Fine, "the page has addresses of both families", "")
	}
}

func (c *checker) signatures(ctx context.Context) {
	if len(c.servers) == 0 {
		c.found("ds", Skipped, "the zone leads nowhere", "")
		return
	}
	a, err := c.ask(ctx, c.o.Zone, dnswire.DS)
	if err != nil {
		c.found("ds", Failed, "the DS records of "+c.o.Zone+" could not be asked for: "+err.Error(), "check the resolver of the channel")
		return
	}
	var have, want []string
	for _, r := range a.Final() {
		have = append(have, canonicalDS(r.Text()))
	}
	if c.about != nil {
		for _, ds := range c.about.DS {
			if r, err := dnswire.ParseRecord(ds); err == nil {
				want = append(want, canonicalDS(r.Text()))
			}
		}
	}
	c.signed = len(have) > 0
	switch {
	case !c.signed && len(want) > 0:
		c.found("ds", Warning, "the zone "+c.above()+" has no DS record: whether visitors validate does not show", "add to the zone "+c.above()+": "+c.about.DS[0])
	case !c.signed:
		c.found("ds", Warning, "the zone "+c.above()+" has no DS record: whether visitors validate does not show", "add to the zone "+c.above()+" the DS record that `watertight canary` prints at its start")
	case len(want) == 0:
		c.found("ds", Skipped, "the canary does not say which DS records are its own", "")
	case !slices.ContainsFunc(have, func(s string) bool { return slices.Contains(want, s) }):
		c.found("ds", Failed, "the DS records in "+c.above()+" are of another key: validating resolvers refuse the whole zone", "replace them by: "+c.about.DS[0])
	default:
		c.validated(ctx)
	}
}

// validated says whether forged signatures are refused, where the zone is signed from above.
func (c *checker) validated(ctx context.Context) {
	a, err := c.ask(ctx, visit.Name(c.label, visit.Bogus, c.o.Zone), dnswire.A)
	const key = "the DS record is that of the canary's key"
	switch {
	case err == nil && a.RCode == dnswire.NoError:
		c.found("ds", Fine, key+"; the resolver of this channel does not validate", "")
	case err != nil && fault.Of(err).Code != fault.DNSServFail, err == nil && a.RCode != dnswire.ServFail:
		c.found("ds", Fine, key+"; whether the resolver of this channel validates could not be seen", "")
	default:
		c.found("ds", Fine, key+", and a name with forged signatures is refused", "")
	}
}

// canonicalDS is the data of a DS record in one spelling.
func canonicalDS(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }
