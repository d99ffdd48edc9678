package hop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"watertight/connect"
	"watertight/fault"
	"watertight/name"
	"watertight/socks"
	"watertight/trust"
	"watertight/wire"
)

var (
	errMethod   = errors.New("it chose a method that was not offered")
	errAnswered = errors.New("the proxy answered") // it works, whatever it said
)

// ofGround says in a code why an address could not be dialled.
func ofGround(ctx context.Context, to netip.AddrPort, err error) error {
	var known *fault.Error
	code, what := fault.ConnectUnreachable, "cannot be reached"
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, wire.ErrPlainDNS):
		return fault.New(fault.PolicyForeignResolver, to.String()+" is a name service in clear text", err)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS),
		errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EADDRNOTAVAIL):
		return fault.New(fault.Limit, "this host has no more sockets to give", err)
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		what = "may not be reached: this host forbids it"
	case errors.Is(err, syscall.ECONNREFUSED):
		code, what = fault.ConnectRefused, "refused the connection"
	case errors.Is(err, syscall.ECONNRESET):
		code, what = fault.ConnectRefused, "reset the connection"
	case isTimeout(err), ctx.Err() != nil:
		code, what = fault.ConnectTimeout, "did not answer in time"
	}
	return fault.New(code, to.String()+" "+what, err)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT) || errors.As(err, &timeout) && timeout.Timeout()
}

// isClosed says that the other end is gone, in the words of a socket or of a pipe in memory.
func isClosed(err error) bool {
	for _, gone := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

// aboutTheFarSide says that a proxy did its part and what it was asked to reach failed.
func aboutTheFarSide(err error) bool {
	switch fault.Of(err).Code {
	case fault.ConnectRefused, fault.ConnectTimeout, fault.ConnectUnreachable:
		return true
	}
	return false
}

// unreached turns what is wrong with reaching l into a fault that is not about the client's target. What concerns
// neither the proxy nor its name (policy, limits, a resolver that is not ready) stays as it is.
func (l *link) unreached(err error, via string) error {
	what := ""
	switch fault.Of(err).Code {
	case fault.ConnectRefused:
		what = " refused the connection"
	case fault.ConnectTimeout:
		if errors.Is(err, context.Canceled) {
			return err
		}
		what = " did not answer in time"
	case fault.ConnectUnreachable:
		what = " cannot be reached"
	case fault.DNSNXDomain:
		what = " does not exist"
	case fault.DNSNoData:
		what = " has no address"
	case fault.DNSTimeout, fault.DNSServFail, fault.DNSBogus:
		what = " could not be resolved"
	default:
		return err
	}
	return fault.New(fault.HopRefused, l.label+what+via, err)
}

// lost is a conversation that broke off. asked says that the proxy had the request: its silence may be the far
// side's.
func (l *link) lost(err error, asked bool) error {
	switch {
	case trust.Refused(err):
		return l.unwelcome(err)
	case isTimeout(err) && asked:
		f := fault.New(fault.ConnectTimeout, l.label+" did not connect in time", err)
		f.Hop = l.at.String()
		return f
	case isTimeout(err):
		return fault.New(fault.HopRefused, l.label+" accepts connections but does not answer", err)
	case isClosed(err):
		return fault.New(fault.HopRefused, l.label+" closed the connection instead of answering", err)
	}
	return fault.New(fault.HopRefused, "the connection to "+l.label+" failed", err)
}

// nonsense is an answer that the protocol does not allow.
func (l *link) nonsense(err error) error {
	kind := schemes[l.Scheme].kind
	f := fault.New(fault.HopRefused, l.label+" does not answer as "+kind+" should", err)
	f.Hint = "check the scheme and the port of the channel's upstream proxy"
	return f
}

// noMethod is a SOCKS server that wants no method of ours (RFC 1928, section 3).
func (l *link) noMethod() error {
	if l.User == "" {
		return fault.New(fault.HopAuth, l.label+" asks for a user and a password", nil)
	}
	f := fault.New(fault.HopAuth, l.label+" takes no user and password", nil)
	f.Hint = "remove user and password from the channel's upstream proxy, or choose a proxy that takes them"
	return f
}

func (l *link) wrongPassword(err error) error {
	return fault.New(fault.HopAuth, l.label+" refused user and password", err)
}

// refusedSOCKS maps a reply (RFC 1928, section 6). SOCKS cannot say that a name does not resolve: servers answer
// "host unreachable" or "general failure" then, and it stays at what they said.
func (l *link) refusedSOCKS(code socks.Reply) error {
	cause := fmt.Errorf("%w: socks reply %d", errAnswered, code)
	switch code {
	case socks.NetworkUnreachable:
		return fault.New(fault.ConnectUnreachable, l.label+" has no route to the destination", cause)
	case socks.HostUnreachable:
		return fault.New(fault.ConnectUnreachable, l.label+" cannot reach or resolve the destination", cause)
	case socks.ConnectionRefused:
		return fault.New(fault.ConnectRefused, "the destination refused the connection of "+l.label, cause)
	case socks.TTLExpired:
		return fault.New(fault.ConnectTimeout, "the destination did not answer "+l.label+" in time", cause)
	}
	return fault.New(fault.HopRefused, l.label+" refused the request: "+code.String(), cause)
}

// noDatagrams is a proxy that does not do what DNS over QUIC and HTTP/3 need of it. It is not about the target.
func (l *link) noDatagrams(why string, cause error) error {
	f := fault.New(fault.HopRefused, l.label+" refused to carry datagrams: "+why, cause)
	f.Hint = "choose a proxy that carries UDP, or upstreams that travel in connections (https://, tls://)"
	return f
}

// refusedHTTP maps a response that is not 2xx: by its Proxy-Status if it has one that says enough, else by status.
func (l *link) refusedHTTP(resp connect.Response, t name.Target) error {
	said := strconv.Itoa(resp.Status)
	if reason := l.harmless(resp.Reason, t); reason != "" {
		said += " " + reason
	}
	cause := fmt.Errorf("%w: http status %d, proxy-status error %q", errAnswered, resp.Status, l.harmless(resp.Error, t))
	// A refusal of the login is 407; some releases of tinyproxy say 401, which no other answer to CONNECT is.
	if resp.Status == 407 || resp.Status == 401 {
		if l.User == "" {
			return fault.New(fault.HopAuth, l.label+" asks for a user and a password: "+said, cause)
		}
		return fault.New(fault.HopAuth, l.label+" refused user and password: "+said, cause)
	}
	_, isName := t.Host().Name()
	code := ofProxyStatus(resp, isName)
	if code == "" {
		code = ofStatus(resp.Status)
	}
	what := " refused the request: "
	switch code {
	case fault.ConnectRefused:
		what = " was refused by the destination: "
	case fault.ConnectTimeout:
		what = " had no answer from the destination in time: "
	case fault.ConnectUnreachable:
		what = " cannot reach the destination: "
	case fault.DNSNXDomain:
		what = " says that the name does not exist: "
	case fault.DNSNoData:
		what = " says that the name has no address: "
	case fault.DNSTimeout, fault.DNSServFail:
		what = " could not resolve the name: "
	}
	return fault.New(code, l.label+what+said, cause)
}

// ofStatus is for proxies that say no more than a status. 502 and 503 are what squid, tinyproxy and privoxy answer
// when the far side cannot be reached.
func ofStatus(status int) fault.Code {
	switch status {
	case 502, 503:
		return fault.ConnectUnreachable
	case 504:
		return fault.ConnectTimeout
	}
	return fault.HopRefused
}

// ofProxyStatus maps an error type (RFC 9209, section 2.3). It gives nothing for types that say no more than the
// status does. What is said about a name counts only where a name was asked for.
func ofProxyStatus(resp connect.Response, isName bool) fault.Code {
	switch resp.Error {
	case "connection_refused", "connection_terminated":
		return fault.ConnectRefused
	case "connection_timeout", "connection_read_timeout", "connection_write_timeout":
		return fault.ConnectTimeout
	case "destination_ip_unroutable", "destination_unavailable":
		return fault.ConnectUnreachable
	case "destination_ip_prohibited", "http_request_denied", "connection_limit_reached":
		return fault.HopRefused
	}
	if !isName {
		return ""
	}
	switch {
	case resp.Error == "dns_timeout":
		return fault.DNSTimeout
	case resp.Error != "dns_error":
		return ""
	case strings.EqualFold(resp.RCode, "NXDOMAIN") || resp.RCode == "3":
		return fault.DNSNXDomain
	case strings.EqualFold(resp.RCode, "NOERROR") || resp.RCode == "0":
		return fault.DNSNoData
	}
	return fault.DNSServFail
}

// maxSaid bounds how much of a reason phrase is shown.
const maxSaid = 60

// harmless gives a reason phrase for people to read, unless it repeats what must not be shown: a credential, or the
// name that was asked for.
func (l *link) harmless(reason string, t name.Target) string {
	reason = strings.TrimSpace(reason)
	lower := strings.ToLower(reason)
	for _, secret := range []string{l.User, l.Password, strings.TrimPrefix(l.credentials, "Basic "), t.Host().String()} {
		if secret != "" && strings.Contains(lower, strings.ToLower(secret)) {
			return ""
		}
	}
	if len(reason) > maxSaid {
		reason = reason[:maxSaid-3] + "..."
	}
	return strings.ToValidUTF8(reason, "?")
}
