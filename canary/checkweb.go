package canary

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"watertight/dnswire"
	"watertight/name"
	"watertight/visit"
)

// maxAPIAnswer bounds what is read of an answer of the API, in octets.
const maxAPIAnswer = 1 << 20

// Ports at which a canary is found.
const (
	portHTTP  = 80
	portHTTPS = 443
	portDoT   = 853 // RFC 7858
)

func (c *checker) port() uint16 {
	switch {
	case c.o.Port != 0:
		return c.o.Port
	case c.o.HTTP:
		return portHTTP
	}
	return portHTTPS
}

// reach connects to a host of the zone, and speaks TLS where it is to prove its name.
func (c *checker) reach(ctx context.Context, host string, port uint16, secure bool) (net.Conn, error) {
	t, err := name.Parse(net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	conn, err := c.o.Way.Dial(ctx, t)
	if err != nil || !secure {
		return conn, err
	}
	shaken := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: c.o.Roots, MinVersion: tls.VersionTLS12, Time: c.o.Now})
	if err := shaken.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return shaken, nil
}

// fetch gets a path of a host of the zone.
func (c *checker) fetch(ctx context.Context, host, path string) (status int, body []byte, err error) {
	ctx, stop := context.WithTimeout(ctx, checkLimit)
	defer stop()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return c.reach(ctx, host, c.port(), !c.o.HTTP)
		},
		MaxResponseHeaderBytes: 64 << 10, DisableKeepAlives: true,
	}
	at := host
	if c.o.Port != 0 {
		at = net.JoinHostPort(host, strconv.Itoa(int(c.o.Port)))
	}
	// The scheme is for the transport, which must not speak TLS a second time.
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAPIAnswer))
	return resp.StatusCode, body, err
}

// webFix is how to mend a page that cannot be reached, by what went wrong.
func (c *checker) webFix(err error, host string) string {
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &cert):
		return "give `watertight canary` a certificate for " + c.o.Zone + " and *." + c.o.Zone + ": with `--tls-cert` and `--tls-key`, or with `--acme`"
	case c.o.HTTP:
		return fmt.Sprintf("see that `watertight canary` has `--http`, and that port %d of %s can be reached from outside", c.port(), host)
	}
	return fmt.Sprintf("see that `watertight canary` has a certificate, and that port %d of %s can be reached from outside", c.port(), host)
}

func (c *checker) page(ctx context.Context) {
	if len(c.addrs) == 0 {
		c.found("page", Skipped, "names of the zone have no address", "")
		return
	}
	status, body, err := c.fetch(ctx, c.o.Zone, pathAPI+visit.PathZone)
	var z visit.Zone
	switch {
	case err != nil:
		c.found("page", Failed, "the page cannot be reached: "+err.Error(), c.webFix(err, c.o.Zone))
	case status != http.StatusOK || json.Unmarshal(body, &z) != nil:
		c.found("page", Failed, fmt.Sprintf("what answers at %s is no canary (status %d)", c.o.Zone, status), "see which server has the addresses "+text(c.addrs))
	case z.Zone != c.o.Zone:
		c.found("page", Failed, "what answers is the canary of another zone, "+z.Zone, "start it with `--zone "+c.o.Zone+"`")
	default:
		c.about = &z
		c.found("page", Fine, "page and API answer, of version "+z.Version, "")
	}
}

func (c *checker) wildcard(ctx context.Context) {
	if c.about == nil {
		c.found("wildcard", Skipped, "the page cannot be reached", "")
		return
	}
	host := visit.Name(c.label, visit.Plain, c.o.Zone)
	status, _, err := c.fetch(ctx, host, "/")
	switch {
	case err != nil:
		c.found("wildcard", Failed, "a name of a visit cannot be fetched: "+err.Error(), c.webFix(err, host))
	case status != http.StatusOK:
		c.found("wildcard", Failed, fmt.Sprintf("a name of a visit is answered with status %d", status), "see which server has the addresses "+text(c.addrs))
	default:
		c.found("wildcard", Fine, "names of visits can be fetched", "")
	}
}

// seen says what the canary has seen of this very check.
func (c *checker) seen(ctx context.Context) {
	if c.about == nil {
		c.found("udp", Skipped, "the API cannot be asked what came", "")
		c.found("tcp", Skipped, "the API cannot be asked what came", "")
		return
	}
	// The branch is answered over TCP alone.
	tcp, tcpErr := c.ask(ctx, visit.Name(c.label, visit.TCP, c.o.Zone), dnswire.A)
	status, body, err := c.fetch(ctx, c.o.Zone, pathAPI+visit.PathLabel+c.label)
	var s visit.Seen
	if err == nil && status == http.StatusOK {
		err = json.Unmarshal(body, &s)
	}
	if err != nil || len(s.Queries) == 0 {
		c.found("udp", Failed, "the canary has seen no question for a name that was resolved", "the name servers of the zone and its page are to be one program: see where "+strings.Join(c.servers, ", ")+" lead")
		c.found("tcp", Skipped, "the canary has seen no question", "")
		return
	}
	over := map[string]int{}
	for _, q := range s.Queries {
		over[q.Over]++
	}
	if over["udp"] > 0 {
		c.found("udp", Fine, fmt.Sprintf("%d questions came over UDP", over["udp"]), "")
	} else {
		c.found("udp", Warning, "no question came over UDP", "see that port 53/udp of the canary can be reached from outside")
	}
	if err := answered(tcp, tcpErr); err != nil {
		c.found("tcp", Failed, "a name that is answered over TCP alone is not resolved: "+err.Error(), "see that port 53/tcp of the canary can be reached from outside")
		return
	}
	c.found("tcp", Fine, "a name that is answered over TCP alone is resolved", "")
}

// encrypted says whether a name server answers over TLS.
func (c *checker) encrypted(ctx context.Context) {
	if len(c.servers) == 0 {
		c.found("dot", Skipped, "no name server is known", "")
		return
	}
	host := c.servers[0]
	if err := c.askTLS(ctx, host); err != nil {
		c.found("dot", Warning, fmt.Sprintf("%s does not answer over TLS at port %d: %v", host, portDoT, err),
			fmt.Sprintf("give `watertight canary` `--dot` and a certificate, and open port %d/tcp: few resolvers ask so (RFC 9539)", portDoT))
		return
	}
	c.found("dot", Fine, host+" answers over TLS", "")
}

// askTLS asks a name server for a fresh name over TLS (RFC 7858).
func (c *checker) askTLS(ctx context.Context, host string) error {
	ctx, stop := context.WithTimeout(ctx, checkLimit)
	defer stop()
	conn, err := c.reach(ctx, host, portDoT, true)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	q := dnswire.Question{Name: visit.Name(c.label, visit.Plain, c.o.Zone), Type: dnswire.SOA}
	b, err := dnswire.Query(q, 0, 128)
	if err != nil {
		return err
	}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
		return err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	answer := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	_, err = dnswire.ParseAnswer(answer, q, 0)
	return err
}
