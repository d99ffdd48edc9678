package dnstest

import (
	"context"
	"fmt"
	"slices"

	"watertight/dnswire"
)

// Zone is all the data that a well-behaved resolver knows: records in presentation form with absolute names, such as
// "api.example.com. 60 A 192.0.2.1". CNAME records are followed. A name without records does not exist.
type Zone []string

// rootSOA is what makes a negative answer cacheable, for a minute.
const rootSOA = ". 3600 SOA ns.zone.example. admin.zone.example. 1 7200 3600 1209600 60"

// Handler answers from the zone. It panics on a record that cannot be read: the text stands in a test.
func (z Zone) Handler() Handler {
	records := make([]dnswire.Record, len(z))
	for i, line := range z {
		records[i] = mustRecord(line)
	}
	soa := mustRecord(rootSOA)
	return func(_ context.Context, q *Query) Reply {
		return q.Send(resolve(records, soa, q.Question))
	}
}

func mustRecord(line string) dnswire.Record {
	r, err := dnswire.ParseRecord(line)
	if err != nil {
		panic(fmt.Sprintf("dnstest: %v", err))
	}
	return r
}

func resolve(records []dnswire.Record, soa dnswire.Record, q dnswire.Question) dnswire.Reply {
	var reply dnswire.Reply
	for range dnswire.MaxChain {
		var here []dnswire.Record
		for _, r := range records {
			if r.Name == q.Name {
				here = append(here, r)
			}
		}
		found := false
		for _, r := range here {
			if r.Type == q.Type || q.Type == dnswire.ANY {
				reply.Answer = append(reply.Answer, r)
				found = true
			}
		}
		if found {
			return reply
		}
		i := slices.IndexFunc(here, func(r dnswire.Record) bool { return r.Type == dnswire.CNAME })
		if i < 0 {
			reply.Authority = []dnswire.Record{soa}
			if len(here) == 0 && q.Name != "" {
				reply.RCode = dnswire.NXDomain
			}
			return reply
		}
		reply.Answer = append(reply.Answer, here[i])
		q.Name = here[i].Host
	}
	return dnswire.Reply{RCode: dnswire.ServFail}
}

// Send packs a reply to q. It panics where the reply does not fit into a message.
func (q *Query) Send(p dnswire.Reply) Reply {
	b, err := q.Pack(p)
	if err != nil {
		panic(fmt.Sprintf("dnstest: %v", err))
	}
	return Reply{Wire: b}
}
