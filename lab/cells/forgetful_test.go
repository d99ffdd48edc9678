package cells

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"watertight/daemon"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab"
	"watertight/leaktest"
	"watertight/wire"
)

const forgetfulRole = "forgetful"

// forgetful is a program that refuses, as it says, when the resolver of its channel is dead, and has asked the host's resolver and told
// its hop the name before. An honest one only refuses.
type forgetful struct {
	honest        bool
	resolver, hop netip.AddrPort
}

var errDead = fault.New(fault.ResolverUnreachable, "it cannot be reached", nil)

func (forgetful) About() leaktest.About        { return leaktest.About{Version: "forgetful"} }
func (forgetful) Doors() []leaktest.Door       { return nil }
func (forgetful) Counters() leaktest.Counters  { return leaktest.Counters{} }
func (forgetful) Leads(string) (string, error) { return "out", nil }
func (f forgetful) Channels() []leaktest.Channel {
	return []leaktest.Channel{{Way: f, Name: "out", Over: "direct", Hops: []string{"socks5://" + f.hop.String()}}}
}

func (f forgetful) CopyForResolver(context.Context, string) (leaktest.Copy, error) { return f, nil }

func (forgetful) Copy(context.Context, string) (leaktest.Copy, error) {
	return nil, errors.New("it has no other copies")
}

func (forgetful) CopyUnready(context.Context, string, bool) (leaktest.Copy, error) {
	return nil, errors.New("it has no other copies")
}

// The program is its channel and the copy of it, too.

func (forgetful) Ready() error              { return nil }
func (forgetful) Cut(bool)                  {}
func (forgetful) Restore()                  {}
func (forgetful) Changed()                  {}
func (forgetful) Retire()                   {}
func (forgetful) Tried() []leaktest.Attempt { return nil }
func (forgetful) Close()                    {}

func (f forgetful) Exchange(_ context.Context, q dnswire.Question) (*dnswire.Answer, bool, error) {
	if query, err := dnswire.Query(q, 7, 0); err == nil {
		f.tell("udp", f.resolver, query)
	}
	return nil, false, errDead
}

func (f forgetful) Connect(_ context.Context, host string, _ uint16) (net.Conn, error) {
	f.tell("tcp", f.hop, append([]byte{5, 1, 0, 3, byte(len(host))}, host...))
	return nil, errDead
}

// tell sends what should stay here.
func (f forgetful) tell(network string, to netip.AddrPort, what []byte) {
	if f.honest {
		return
	}
	conn, err := wire.DialContained(network, to)
	if err != nil {
		return
	}
	_, _ = conn.Write(what)
	_ = conn.Close()
}

// forgets has such a program tested, and prints the report.
func forgets(args []string) int {
	report, err := leaktest.Run(context.Background(), leaktest.Options{
		Subject:  forgetful{args[0] == "honest", netip.MustParseAddrPort(args[1]), netip.MustParseAddrPort(args[2])},
		Observer: daemon.Packets(), Only: []string{"CUT-RESOLVER", "PACKETS"}, Limit: time.Minute,
	})
	if err != nil || json.NewEncoder(os.Stdout).Encode(report) != nil {
		return 1
	}
	return 0
}

// forgetfulIsSeen has it tested on the client's host: what it says of itself is sealed either way, and its packets tell.
func (o *onlooker) forgetfulIsSeen(t testing.TB) {
	for how, want := range map[string]leaktest.Verdict{"honest": leaktest.Sealed, "forgetful": leaktest.Leak} {
		result := lab.Run(t, lab.Self(o.s.Client, forgetfulRole, how, netip.AddrPortFrom(o.s.Client.Nameservers()[0], 53).String(), netip.AddrPortFrom(o.s.Origin.Addr(), 443).String()))
		var r leaktest.Report
		if err := json.Unmarshal([]byte(result.Stdout), &r); err != nil {
			t.Fatalf("no report: %v\n%s", err, result.Text())
		}
		own, _ := r.Find("CUT-RESOLVER")
		packets, _ := r.Find("PACKETS")
		said := strings.Join(packets.Evidence, "\n")
		if own.Verdict != leaktest.Sealed || packets.Verdict != want || r.Verdict != want {
			t.Errorf("a program that is %s: %s\n%s", how, r.Verdict, unsealed(&r))
		}
		if want == leaktest.Leak && (packets.Cause != "D5" && packets.Cause != "D4" || !strings.Contains(said, "in a question in clear") || !strings.Contains(said, "(text)")) {
			t.Errorf("both ways are to be seen, by %s:\n%s", packets.Cause, said)
		}
	}
}
