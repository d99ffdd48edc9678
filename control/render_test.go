//go:build unix

package control

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const rendered = `Watertight 0.1.0, NOT READY, up 2h 3m, pid 1234

listening      proxy    127.0.0.1:8080
               proxy    [::1]:8080
               admin    127.0.0.1:9053

channel        direct: ready
  resolver     quad9                  up    120 questions, 0 failures, DoH over HTTP/3 with ECH
               https://dns.example/q  DOWN  2 questions, 1 failure
                                      tls: bad?[31m
  names        seen by 2 of 2 resolvers (race)
  dnssec       validate: 10 secure, 3 insecure, 1 bogus, 0 without a verdict
               the keys of the root were not seen: no?[31m
  cache        42 answers in 1.5 of 16.0 MiB, 90% of questions answered
               1 answer given that had expired

channel        office: NOT READY: not yet
  over         direct
  through      socks5://u:***@192.0.2.1:1080
  resolver     the exit

connections    12 open
tunnels        3 open, 1200 in all
requests       1300, 34 refused
               DNS_NXDOMAIN       4
               POLICY_PLAIN_HTTP  30
DNS queries    70, 2 under way, 3 answers cut short
               tls        20
               udp        50
DNS dropped    9
               rate       9
configuration  /etc/watertight/watertight.yaml, loaded 2026-03-04 05:06:07, 2 reloads
               the last reload FAILED and changed nothing:
                 watertight.yaml:1:1: no
                     mend it
host look-ups  1 trapped
               this is a fault of Watertight; please report it (nothing left this host)
`

func TestRenderStatus_IsForPeopleAndSafeForATerminal(t *testing.T) {
	var b strings.Builder
	if err := RenderStatus(&b, example()); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != rendered {
		t.Errorf("got:\n%s\nwant:\n%s", got, rendered)
	}
}

func TestRenderStatus_OfAProgramThatHasJustStarted(t *testing.T) {
	var b strings.Builder
	if err := RenderStatus(&b, Status{Version: "0.1.0", Ready: true, Config: Config{LoadedAt: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"0.1.0, ready, up 0s", "0, 0 refused", "the defaults", "0 trapped\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &b)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestRenderStatus_TellsThatItCouldNotWrite(t *testing.T) {
	if err := RenderStatus(full{}, Status{}); err == nil {
		t.Error("no error")
	}
}
