package gateway

import (
	"crypto/tls"
	"net/http"
	"slices"
	"strings"
	"testing"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/dnstest"
)

// records answers with these, or with none.
func records(t *testing.T, rcode int, texts ...string) func(dnswire.Question) (*dnswire.Answer, error) {
	var all []dnswire.Record
	for _, s := range texts {
		r, err := dnswire.ParseRecord(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return func(q dnswire.Question) (*dnswire.Answer, error) {
		return dnswire.Local(q, dnswire.Reply{RCode: rcode, Answer: all})
	}
}

// takes makes the origin take hellos that are hidden by these keys.
func takes(keys ...*dnstest.ECH) option {
	return func(_ *world, c *tls.Config, _ *Entry) { dnstest.Takes(keys...)(c) }
}

func TestTheHelloIsHiddenWhereTheOriginsOwnRecordAsksForIt(t *testing.T) {
	keys, other := dnstest.NewECH(publicName, 1), dnstest.NewECH(publicName, 2)
	record := func(e *dnstest.ECH, more string) string {
		return originName + ". 300 HTTPS 1 . alpn=h2 " + more + " ech=" + e.Text()
	}
	for _, c := range []struct {
		name    string
		takes   []*dnstest.ECH
		rcode   int
		records []string
		served  bool
		hidden  bool
		hellos  []string
	}{
		{"no record", nil, 0, nil, true, false, []string{originName}},
		{"no such name", nil, 3, nil, true, false, []string{originName}},
		{"its keys", []*dnstest.ECH{keys}, 0, []string{record(keys, "")}, true, true, []string{publicName}},
		{"its keys behind a record that is not understood", []*dnstest.ECH{keys}, 0, []string{originName + ". 300 HTTPS 1 . mandatory=key65280 key65280=x ech=" + other.Text(), originName + ". 300 HTTPS 2 . ech=" + keys.Text()}, true, true, []string{publicName}},
		{"those that the server sends in their place", []*dnstest.ECH{keys}, 0, []string{record(other, "")}, true, true, []string{publicName, publicName}},
		{"keys that the server rejects, without others", nil, 0, []string{record(keys, "")}, false, false, []string{publicName}},
		{"keys of another port", []*dnstest.ECH{keys}, 0, []string{record(keys, "port=8443")}, true, true, []string{publicName}},
		{"keys of another server", []*dnstest.ECH{keys}, 0, []string{originName + ". 300 HTTPS 1 other.example.com. ech=" + keys.Text()}, true, true, []string{publicName}},
		{"keys of a port that is not for HTTPS", []*dnstest.ECH{keys}, 0, []string{record(keys, "port=25")}, false, false, nil},
		{"keys of one server of two", []*dnstest.ECH{keys}, 0, []string{originName + ". 300 HTTPS 1 . alpn=h2", originName + ". 300 HTTPS 2 . ech=" + keys.Text()}, true, true, []string{publicName}},
		{"a record that cannot be had", nil, 2, nil, false, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(http.ResponseWriter, *http.Request) {}, takes(c.takes...))
			w.answer = records(t, c.rcode, c.records...)
			resp, body := w.get("/openai/")
			if c.served != (resp.StatusCode == 200) {
				t.Errorf("%s %s", resp.Status, body)
			}
			if c.served && !slices.Equal(w.ech, []bool{c.hidden}) {
				t.Errorf("the origin took a hidden hello: %v", w.ech)
			}
			if !slices.Equal(w.hellos, c.hellos) {
				t.Errorf("an onlooker reads %q, want %q", w.hellos, c.hellos)
			}
			for _, q := range w.asks {
				if q != (dnswire.Question{Name: originName, Type: dnswire.HTTPS}) {
					t.Errorf("asked for %v", q)
				}
			}
		})
	}
}

func TestTheRecordIsAskedForByThePort_andNotForAnAddress(t *testing.T) {
	w := newWorld(t, func(http.ResponseWriter, *http.Request) {}, func(_ *world, _ *tls.Config, e *Entry) { e.Hosts = nil })
	w.answer = records(t, 0)
	w.get("/https/" + originName + ":8443/")
	if len(w.asks) != 1 || w.asks[0].Name != "_8443._https."+originName {
		t.Errorf("asked for %v", w.asks)
	}
}

func TestAFaultOfTheResolverEndsTheRequest(t *testing.T) {
	w := newWorld(t, func(http.ResponseWriter, *http.Request) { t.Error("the origin was asked") })
	w.answer = func(dnswire.Question) (*dnswire.Answer, error) {
		return nil, fault.New(fault.ResolverUnreachable, "the resolver is gone", nil)
	}
	resp, body := w.get("/openai/")
	w.refusal(resp, body, fault.ResolverUnreachable)
	if len(w.hellos) != 0 {
		t.Errorf("an onlooker reads %q", w.hellos)
	}
}

func TestARejectionOfTheKeysSaysWhatItIs(t *testing.T) {
	w := newWorld(t, func(http.ResponseWriter, *http.Request) {})
	w.answer = records(t, 0, originName+". 300 HTTPS 1 . ech="+dnstest.NewECH(publicName, 1).Text())
	resp, body := w.get("/openai/")
	w.refusal(resp, body, fault.OriginFailed)
	if !strings.Contains(body, "rejected Encrypted Client Hello") {
		t.Error(body)
	}
}
