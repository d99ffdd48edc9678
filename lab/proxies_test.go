package lab

import (
	"context"
	"testing"

	"watertight/dnswire"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
)

func TestSettle_WaitsForTheQuestionThatACallLeftBehind(t *testing.T) {
	s := NewScene(t, internet.Dual)
	StartWatertight(t, s, DirectConfig(s, s.Resolver.DoTURL()))
	release := make(chan struct{})
	held := dnstest.Held(s.Resolver.Recurse, release)
	s.Resolver.Handle(func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
		if q.Type == dnswire.A { // the call is made over IPv6
			return held(ctx, q)
		}
		return s.Resolver.Recurse(ctx, q)
	})
	call := Call{URL: "https://" + s.Canary + "/", Proxy: "http://" + ProxyAddress, CAFile: s.CAFile}
	Curl.Require(t)
	if r := Run(t, Curl.Program(s.Client, call)); r.Code != 0 {
		t.Fatal(r.Text())
	}
	if sent, ended := questions(t, s); ended >= sent {
		t.Errorf("of %d questions %d have ended, and one is held", sent, ended)
	}
	close(release)
	Settle(t, s)
	if sent, ended := questions(t, s); sent < 3 || ended != sent { // the probe's, and one for each family
		t.Errorf("of %d questions %d have ended", sent, ended)
	}
}
