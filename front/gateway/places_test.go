package gateway

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"watertight/fault"
	"watertight/lab/dnstest"
	"watertight/name"
)

func TestTheRecordsOfAnOriginLeadToItsServers_andTheOriginProvesItselfThere(t *testing.T) {
	const own = originName + ":443"
	alias := func(from, to string) string { return from + ". 60 HTTPS 0 " + to + "." }
	for what, c := range map[string]struct {
		records []string
		places  string // in their order, with what is spoken there
		asked   int
	}{
		"none":                    {nil, own + " tcp", 1},
		"itself":                  {[]string{originName + ". 60 HTTPS 1 . alpn=h2"}, own + " tcp", 1},
		"HTTP/3 too":              {[]string{offers3}, own + " tcp h3", 1},
		"HTTP/3 alone":            {[]string{originName + ". 60 HTTPS 1 . alpn=h3 no-default-alpn"}, own + " h3 " + own + " tcp", 1},
		"another server":          {[]string{originName + ". 60 HTTPS 1 cdn.example.net. alpn=h2"}, "cdn.example.net:443 tcp " + own + " tcp", 1},
		"another port":            {[]string{originName + ". 60 HTTPS 1 . port=8443"}, originName + ":8443 tcp " + own + " tcp", 1},
		"by preference":           {[]string{originName + ". 60 HTTPS 2 b.example.net.", originName + ". 60 HTTPS 1 a.example.net."}, "a.example.net:443 tcp b.example.net:443 tcp " + own + " tcp", 1},
		"more than are tried":     {[]string{originName + ". 60 HTTPS 1 a.a.", originName + ". 60 HTTPS 2 b.b.", originName + ". 60 HTTPS 3 c.c.", originName + ". 60 HTTPS 4 d.d."}, "a.a:443 tcp b.b:443 tcp c.c:443 tcp " + own + " tcp", 1},
		"nothing that is known":   {[]string{originName + ". 60 HTTPS 1 . alpn=h9 no-default-alpn"}, own + " tcp", 1},
		"a port of another kind":  {[]string{originName + ". 60 HTTPS 1 . port=25"}, own + " tcp", 1},
		"an address for a name":   {[]string{originName + ". 60 HTTPS 1 192.0.2.1."}, own + " tcp", 1},
		"an alias":                {[]string{alias(originName, "cdn.example.net")}, "cdn.example.net:443 tcp " + own + " tcp", 2},
		"an alias with records":   {[]string{alias(originName, "cdn.example.net"), "cdn.example.net. 60 HTTPS 1 . alpn=h3 port=8443"}, "cdn.example.net:8443 tcp h3 " + own + " tcp", 2},
		"an alias to an address":  {[]string{alias(originName, "192.0.2.1")}, own + " tcp", 1},
		"a service that is gone":  {[]string{originName + ". 60 HTTPS 0 ."}, own + " tcp", 1},
		"a few aliases":           {[]string{alias(originName, "a.a"), alias("a.a", "b.b"), alias("b.b", "c.c"), alias("c.c", "d.d")}, "d.d:443 tcp " + own + " tcp", 5},
		"aliases without end":     {[]string{alias(originName, "a.a"), alias("a.a", originName)}, "ORIGIN_FAILED", 5},
		"alias beside a service":  {[]string{originName + ". 60 HTTPS 1 cdn.example.net.", alias(originName, "other.example.net")}, "other.example.net:443 tcp " + own + " tcp", 2},
		"the target behind alias": {[]string{alias(originName, "cdn.example.net"), "cdn.example.net. 60 HTTPS 1 far.example.net."}, "far.example.net:443 tcp " + own + " tcp", 2},
	} {
		w := newWorld(t, func(http.ResponseWriter, *http.Request) {})
		w.records(c.records...)
		x := &exchange{}
		o := newOrigin(match{entry: w.table.entries[0], target: name.Must(own)}, &known{})
		places, err := o.places(t.Context(), x.request(match{entry: o.entry, target: o.target}))
		var got []string
		for _, p := range places {
			got = append(got, p.at.String())
			for _, is := range []struct {
				so   bool
				text string
			}{{p.tcp, "tcp"}, {p.h3, "h3"}} {
				if is.so {
					got = append(got, is.text)
				}
			}
		}
		if err != nil {
			got = []string{string(fault.Of(err).Code)}
		}
		if text := strings.Join(got, " "); text != c.places || len(w.asks) != c.asked {
			t.Errorf("%s: %s, %d questions; want %s, %d", what, text, len(w.asks), c.places, c.asked)
		}
	}
}

func TestWhoIsAtTheServerOfARecordHasToBeTheOrigin(t *testing.T) {
	for what, c := range map[string]struct {
		names  []string // of the certificate there
		served bool
	}{
		"the origin":     {[]string{originName}, true},
		"the server":     {[]string{"cdn.example.net"}, false},
		"somebody else":  {[]string{"other.example.com"}, false},
		"all but itself": {[]string{"*.example.net"}, false},
	} {
		w := newWorld(t, func(http.ResponseWriter, *http.Request) {}, func(_ *world, config *tls.Config, _ *Entry) {
			config.Certificates = []tls.Certificate{authorities.Issue(c.names, nil)}
		})
		w.records(originName + ". 60 HTTPS 1 cdn.example.net. alpn=h2")
		resp, body := w.get("/openai/")
		if (resp.StatusCode == 200) != c.served {
			t.Errorf("%s: %s %s", what, resp.Status, body)
		}
		for _, hello := range w.hellos {
			if hello != originName {
				t.Errorf("%s: the hello names %s", what, hello)
			}
		}
	}
}

func TestWhereTheServerOfARecordIsNotThereTheOriginsOwnNameIsTried(t *testing.T) {
	w := newWorld(t, func(http.ResponseWriter, *http.Request) {})
	w.records(originName + ". 60 HTTPS 1 cdn.example.net. alpn=h2")
	w.dialErrOf = map[string]error{"cdn.example.net:443": fault.New(fault.ConnectRefused, "nobody is there", nil)}
	if resp, body := w.get("/openai/"); resp.StatusCode != 200 {
		t.Errorf("%s %s", resp.Status, body)
	}
	keys := dnstest.NewECH(publicName, 1)
	w = newWorld(t, func(http.ResponseWriter, *http.Request) {}, takes(keys))
	w.records(originName + ". 60 HTTPS 1 cdn.example.net. alpn=h2 ech=" + keys.Text())
	w.dialErrOf = map[string]error{"cdn.example.net:443": fault.New(fault.ConnectRefused, "nobody is there", nil)}
	resp, body := w.get("/openai/")
	w.refusal(resp, body, fault.ConnectRefused)
	if slices.Contains(w.hellos, originName) {
		t.Errorf("where the name was to be hidden it was shown: %q", w.hellos)
	}
}

func TestAConnectionMadeBesideTheLookupIsClosedWhereTheRecordsLeadElsewhere(t *testing.T) {
	w := newWorld(t, func(http.ResponseWriter, *http.Request) {})
	w.records(originName + ". 60 HTTPS 1 cdn.example.net. alpn=h2")
	closed := make(chan string, 9)
	w.wrap = func(c net.Conn) net.Conn { return &closing{c, fmt.Sprint(w.dialled()), closed} }
	if resp, body := w.get("/openai/"); resp.StatusCode != 200 {
		t.Fatalf("%s %s", resp.Status, body)
	}
	if first := <-closed; first != "1" || w.dials[0].String() != originName+":443" || w.dials[1].String() != "cdn.example.net:443" {
		t.Errorf("of %v connection %s was closed", w.dials, first)
	}
	w.table.pool(match{entry: w.table.entries[0], target: w.table.entries[0].To}).close()
	w.get("/openai/")
	if n := w.dialled(); n != 3 {
		t.Errorf("%d connections: it is known where the records lead", n)
	}
}

type closing struct {
	net.Conn
	number string
	closed chan string
}

func (c *closing) Close() error {
	c.closed <- c.number
	return c.Conn.Close()
}
