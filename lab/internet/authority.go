package internet

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"watertight/dnswire"
)

// Authority is the authoritative name server of every zone. It writes down who asks for what.
type Authority struct {
	*Host

	mu        sync.Mutex
	records   []published
	log       []Asked
	delegated map[string]netip.AddrPort // the name servers of zones that are not its own
}

// published is a record in presentation form, cut in two behind its owner.
type published struct{ owner, data string }

// apex is what makes negative answers cacheable, for a second.
const apex = ". 60 SOA ns.example.net. hostmaster.example.net. 1 7200 3600 1209600 1"

func newAuthority(h *Host) (*Authority, error) {
	a := &Authority{Host: h}
	soa, err := dnswire.ParseRecord(apex)
	if err != nil {
		return nil, err
	}
	return a, servePlain(h, func(q asked) []byte {
		a.mu.Lock()
		a.log = append(a.log, record(q))
		a.mu.Unlock()
		return a.answer(q.Message, soa)
	})
}

// Add publishes records in presentation form with absolute names, as in "api.example.net. 60 A 192.0.2.1". An owner
// that begins with "*." stands for every name below it that has no records of its own (RFC 4592).
func (a *Authority) Add(records ...string) error {
	for _, text := range records {
		r, err := dnswire.ParseRecord(text)
		if err != nil {
			return fmt.Errorf("internet: %s: %w", text, err)
		}
		a.mu.Lock()
		a.records = append(a.records, published{r.Name, text[strings.IndexAny(text, " \t"):]})
		a.mu.Unlock()
	}
	return nil
}

// Publish gives a name the addresses of a host, for a minute.
func (a *Authority) Publish(name string, h *Host) error {
	for _, addr := range h.Addrs() {
		kind := "A"
		if addr.Is6() {
			kind = "AAAA"
		}
		if err := a.Add(fmt.Sprintf("%s. 60 %s %s", name, kind, addr)); err != nil {
			return err
		}
	}
	return nil
}

// Delegate leaves a zone to the name server at an address: resolvers ask that one.
func (a *Authority) Delegate(zone string, to netip.AddrPort) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.delegated == nil {
		a.delegated = map[string]netip.AddrPort{}
	}
	a.delegated[zone] = to
}

// serverOf gives the name server that a resolver finds for the question of a message.
func (a *Authority) serverOf(message []byte) netip.AddrPort {
	if r, err := dnswire.ParseRequest(message); err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		for zone, to := range a.delegated {
			if r.Name == zone || strings.HasSuffix(r.Name, "."+zone) {
				return to
			}
		}
	}
	return a.At(dnsPort)
}

// Log gives every question so far, oldest first.
func (a *Authority) Log() []Asked {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Asked(nil), a.log...)
}

// LogOf gives every question so far for a name or a name below it.
func (a *Authority) LogOf(name string) []Asked {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	var out []Asked
	for _, q := range a.Log() {
		if q.Name == name || strings.HasSuffix(q.Name, "."+name) {
			out = append(out, q)
		}
	}
	return out
}

func (a *Authority) answer(message []byte, soa dnswire.Record) []byte {
	r, err := dnswire.ParseRequest(message)
	if err != nil {
		return nil
	}
	b, err := r.Pack(a.find(r.Question, soa))
	if err != nil {
		return refusal(message, dnswire.ServFail)
	}
	const authoritative, recursionAvailable = 1 << 2, 1 << 7 // AA and RA, RFC 1035, section 4.1.1
	b[2] |= authoritative
	b[3] &^= recursionAvailable
	return b
}

func (a *Authority) find(q dnswire.Question, soa dnswire.Record) dnswire.Reply {
	var reply dnswire.Reply
	for range dnswire.MaxChain {
		here := a.at(q.Name)
		var alias *dnswire.Record
		for _, r := range here {
			switch r.Type {
			case q.Type:
				reply.Answer = append(reply.Answer, r)
			case dnswire.CNAME:
				alias = &r
			}
		}
		if len(reply.Answer) > 0 && reply.Answer[len(reply.Answer)-1].Type == q.Type {
			return reply
		}
		if alias == nil {
			reply.Authority = []dnswire.Record{soa}
			if len(here) == 0 && q.Name != "" {
				reply.RCode = dnswire.NXDomain
			}
			return reply
		}
		reply.Answer = append(reply.Answer, *alias)
		q.Name = alias.Host
	}
	return dnswire.Reply{RCode: dnswire.ServFail}
}

// at gives the records of a name, or of the wildcard that stands for it.
func (a *Authority) at(name string) []dnswire.Record {
	a.mu.Lock()
	defer a.mu.Unlock()
	for owner := name; ; {
		var out []dnswire.Record
		for _, r := range a.records {
			if r.owner != owner {
				continue
			}
			if here, err := dnswire.ParseRecord(name + "." + r.data); err == nil {
				out = append(out, here)
			}
		}
		if len(out) > 0 {
			return out
		}
		_, rest, ok := strings.Cut(strings.TrimPrefix(owner, "*."), ".")
		if !ok {
			return nil
		}
		owner = "*." + rest
	}
}
