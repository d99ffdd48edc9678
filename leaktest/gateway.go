package leaktest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"watertight/visit"
)

// tryGateway asks the gateway for what it does not stand for.
func tryGateway(ctx context.Context, r *run, f *findings) {
	for _, d := range r.doorsOf(DoorGateway, f) {
		label, host := r.name(visit.Plain)
		what := "gateway " + d.At + ", asked for another host"
		answer, err := askGateway(ctx, d, "/", host)
		switch {
		case err != nil:
			f.doubt("see whether the listener answers", "%s: %v", what, err)
			continue
		case answer.status < 400:
			f.leak("D4", "", "%s: it answered with %d", what, answer.status)
		default:
			f.note("%s: refused with %d", what, answer.status)
		}
		f.visit(visited{label: label, what: what, nobody: true})
	}
}

// tryNamesByGateway asks the generic form of every gateway for fresh names, in each family, and lets the canary tell from where they came.
func tryNamesByGateway(ctx context.Context, r *run, f *findings) {
	for _, d := range r.doorsOf(DoorGateway, f) {
		for _, e := range d.Entries {
			f.skip("gateway %s: the entry %s, as it leads to a service of others", d.At, e)
		}
		if d.Generic == nil {
			f.skip("gateway %s: it has no entry of the generic form", d.At)
			continue
		}
		reached, led := false, false
		for _, family := range families {
			label, host := r.name(family.branch)
			channel, err := d.Generic(host, r.api.port)
			if err == nil && r.known[channel] == nil {
				err = errors.New("its channel is not known")
			}
			if err != nil {
				f.skip("gateway %s: the generic form, for names of the canary: %s; an entry `{hosts: [\"*.%s\"]}` lets it be tried", d.At, err, r.o.Canary.Zone)
				break
			}
			led = true
			r.mu.Lock()
			r.shown[label] = channel
			r.mu.Unlock()
			v := visited{label: label, channel: channel, what: fmt.Sprintf("gateway %s, asked for /https/NAME/, %s only", d.At, family.branch), cause: causeOf(family.kind)}
			reached = r.throughGateway(ctx, d, v, host, f) || reached
		}
		if led && !reached {
			f.doubt(fixGateway, "gateway %s: no request for a name of the canary came to it", d.At)
		}
	}
}

const fixGateway = "see the evidence for why the canary was not reached: it has to have a certificate for the names below its zone, by an authority that the entry trusts (`ca`)"

// throughGateway asks for one name, and notes what came of it. It says false where the canary did not get the request.
func (r *run) throughGateway(ctx context.Context, d Door, v visited, host string, f *findings) bool {
	a, err := askGateway(ctx, d, "/https/"+net.JoinHostPort(host, strconv.Itoa(int(r.api.port)))+"/", "")
	if err != nil {
		f.doubt("see whether the listener answers", "%s: %v", v.what, err)
		return false
	}
	v.must = !a.ours // else the canary was reached, and by its name
	f.visit(v)
	if a.ours {
		f.note("%s: refused with %d%s", v.what, a.status, a.code)
		return false
	}
	f.held("%s: the canary answered", v.what)
	return true
}

// answered is what a gateway said, or an origin through it.
type answered struct {
	status int
	ours   bool   // the gateway says it, and no origin
	code   string // of its refusal, in brackets
}

// askGateway asks a gateway, in clear or over TLS, for a path of a host; an empty one is the gateway itself, by the address where it
// was reached.
func askGateway(ctx context.Context, d Door, path, host string) (a answered, err error) {
	conn, err := d.Dial(ctx)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(doorLimit)); err != nil {
		return a, err
	}
	host = orElse(host, conn.RemoteAddr().String())
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n", path, host, d.Proof.field("Watertight-Authorization")); err != nil {
		return a, err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, apiHead), nil)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	a.status = response.StatusCode
	a.ours = slices.ContainsFunc(response.Header.Values("Proxy-Status"), func(s string) bool { return strings.HasPrefix(s, "watertight;") })
	var said struct {
		Code string `json:"error"`
	}
	if a.ours && json.NewDecoder(io.LimitReader(response.Body, apiHead)).Decode(&said) == nil && said.Code != "" {
		a.code = " (" + said.Code + ")"
	}
	if a.ours && a.status == http.StatusUnauthorized {
		return a, errStranger
	}
	return a, nil
}
