package interop

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"watertight/dnswire"
	"watertight/front/dns"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/wire"
)

// known is a handler of a DNS door that has its answers from a list of records.
type known struct{ dnstest.Handler }

func (k known) Exchange(ctx context.Context, _ dns.Client, q dns.Query) (*dnswire.Answer, error) {
	asked := &dnstest.Query{Request: dnswire.Request{Question: q.Question, RecursionDesired: true, EDNS: true}}
	return dnswire.ParseAnswer(k.Handler(ctx, asked).Wire, q.Question, 0)
}

// kdig brings an implementation of QUIC (ngtcp2) that has nothing in common with the one that the door uses.
func TestDoor_KdigIsAnsweredOverQUIC(t *testing.T) {
	lab.Need(t, "kdig")
	s := lab.NewScene(t, internet.Dual)
	if r := lab.Run(t, s.Client.Program("kdig", "--help")); !strings.Contains(r.Text(), "+[no]quic ") {
		lab.Lacking(t, "this kdig was built without QUIC")
	}
	cert := s.CA.Issue([]string{doorName}, nil)
	door := lab.Must(dns.New(dns.Options{Handler: known{dnstest.Zone(records(s)).Handler()}, Logger: slog.New(slog.DiscardHandler)}))(t)
	var socket *net.UDPConn
	must(t, s.Client.Do(func() (err error) {
		socket, err = wire.ListenUDP(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), doorTLS))
		return err
	}))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- door.ServeQUIC(ctx, socket, func() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{cert}} })
	}()
	kdig := func(name string) asker { // in this order: options of TLS after it would take it back to TCP
		return asker{"kdig", port(doorTLS, "+tls-ca="+s.CAFile, "+tls-hostname="+name, "+quic")}
	}
	for _, q := range inquiries {
		q.check(t, kdig(doorName).ask(t, s, q.host(s), q.kind))
	}
	if r := kdig("other.door.example").ask(t, s, "a-"+s.Canary, "A"); strings.Contains(r.Text(), "status: ") {
		t.Errorf("the door's certificate was taken for another's:\n%s", r.Text())
	}
	stop()
	must(t, <-ended)
}
