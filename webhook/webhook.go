// Package webhook tells a server of what has happened, by an HTTP request with JSON in it.
//
// It promises that it reaches the host of the URL through the dial function that it is given, over TLS, and no other host;
// that what it has to tell waits in a short queue, and is tried a few times; and that neither the URL nor a field, which may
// be secrets, stands in an error. It never follows a redirect, and takes nothing from the answer but its status.
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"watertight/name"
)

// Limits of what is told.
const (
	MaxBody = 256 << 10 // octets

	queue     = 16 // messages that wait; more of them push out the oldest
	tryLimit  = 20 * time.Second
	maxAnswer = 64 << 10
)

// patience are the pauses before each attempt.
func patience() []time.Duration {
	return []time.Duration{0, 5 * time.Second, 30 * time.Second, 2 * time.Minute}
}

// Field is a field of the request.
type Field struct{ Name, Value string }

// Server is who is told. URL and Dial must be given.
type Server struct {
	URL    string // https
	Fields []Field
	Roots  *x509.CertPool // who may certify it; nil: those whom the system trusts
	// Dial connects to its host.
	Dial func(ctx context.Context, t name.Target) (net.Conn, error)
}

func (s Server) validate() error {
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || s.Dial == nil {
		return errors.New("webhook: it needs an https:// URL, and a way there")
	}
	return nil
}

type message struct {
	to   Server
	body []byte
}

// Teller tells. Its methods may be called from many goroutines.
type Teller struct {
	log    *slog.Logger
	pauses []time.Duration // before each attempt
	waits  chan message
	failed atomic.Uint64
}

// New makes one.
func New(log *slog.Logger) (*Teller, error) {
	if log == nil {
		return nil, errors.New("webhook: it needs a log")
	}
	return &Teller{log: log, pauses: patience(), waits: make(chan message, queue)}, nil
}

// Failed counts what could not be told.
func (t *Teller) Failed() uint64 { return t.failed.Load() }

// Tell puts a message in the queue. It does not wait.
func (t *Teller) Tell(to Server, body []byte) error {
	if err := to.validate(); err != nil {
		return err
	}
	if len(body) > MaxBody {
		return fmt.Errorf("webhook: the message has %d octets, and at most %d are sent", len(body), MaxBody)
	}
	for {
		select {
		case t.waits <- message{to, body}:
			return nil
		default:
		}
		select {
		case <-t.waits:
			t.gaveUp(errors.New("too much has to be told"))
		default:
		}
	}
}

func (t *Teller) gaveUp(err error) {
	t.failed.Add(1)
	t.log.Warn("the webhook could not be told", "error", err)
}

// Run tells, one message after the other, until ctx ends.
func (t *Teller) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-t.waits:
			if err := m.send(ctx, t.pauses); err != nil && ctx.Err() == nil {
				t.gaveUp(err)
			}
		}
	}
}

// final is an answer that would not be another the next time.
type final struct{ error }

// send tries a few times.
func (m message) send(ctx context.Context, pauses []time.Duration) (err error) {
	for _, pause := range pauses {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		err = m.try(ctx)
		if err == nil || errors.As(err, new(final)) {
			return err
		}
	}
	return err
}

func (m message) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, m.to.URL, bytes.NewReader(m.body))
	if err != nil {
		return final{errors.New("the URL cannot be asked")}
	}
	for _, f := range m.to.Fields {
		request.Header.Set(f.Name, f.Value)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "watertight")
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			t, err := name.Parse(address)
			if err != nil {
				return nil, err
			}
			return m.to.Dial(ctx, t)
		},
		TLSClientConfig:     &tls.Config{RootCAs: m.to.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: tryLimit, ForceAttemptHTTP2: true, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxAnswer,
	}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(request)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok { // it would show the URL
			err = u.Err
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // what it says is of no use here
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return nil
	case resp.StatusCode == http.StatusRequestTimeout, resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode >= 500:
		return fmt.Errorf("it answers HTTP %d", resp.StatusCode)
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return final{fmt.Errorf("it redirects to another place (HTTP %d), and redirects are never followed", resp.StatusCode)}
	}
	return final{fmt.Errorf("it answers HTTP %d", resp.StatusCode)}
}
