package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"watertight/acme"
	"watertight/canary"
	"watertight/daemon"
	"watertight/name"
	"watertight/state"
	"watertight/wire"
)

// canaryWeb are the flags of a canary's page.
type canaryWeb struct {
	https, http, stun []string

	acme                                 bool
	directory, authority, email, channel string
	way                                  options // by which the authority for certificates is reached
}

func (w *canaryWeb) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&w.https, "https", nil, "serve the page and the API over TLS on `ADDR` (repeatable; it needs a certificate)")
	f.StringArrayVar(&w.http, "http", nil, "serve them in clear on `ADDR` (repeatable); beside --https, send those who want the page there")
	f.StringArrayVar(&w.stun, "stun", nil, "tell browsers their addresses by STUN on `ADDR`, by which the page shows what WebRTC gives away (repeatable, with one port)")
	f.BoolVar(&w.acme, "acme", false, "get the certificate from an authority, which the zone itself proves itself to (ACME, dns-01); this accepts its terms")
	f.StringVar(&w.directory, "acme-directory", acme.LetsEncrypt, "the `URL` of the authority's directory")
	f.StringVar(&w.authority, "acme-ca", "", "trust the authorities of `FILE` for that directory, and no others")
	f.StringVar(&w.email, "acme-email", "", "where the authority may write, an `ADDRESS`")
	f.StringVar(&w.channel, "channel", "", "reach the authority through the channel `NAME`, whatever the routes say")
	w.way.addFile(cmd)
	w.way.addWay(cmd)
	_ = cmd.MarkFlagFilename("acme-ca", "pem", "crt") // the flag is there
}

// validate says what the flags lack. hasFiles is for a certificate in files.
func (w *canaryWeb) validate(cmd *cobra.Command, hasFiles bool) error {
	switch {
	case w.acme && hasFiles:
		return errors.New("the certificate comes from --tls-cert or from --acme, not from both")
	case len(w.https) > 0 && !w.acme && !hasFiles:
		return errors.New("--https needs a certificate for ZONE and *.ZONE: --tls-cert and --tls-key, or --acme; without one, serve the page in clear with --http")
	case len(w.stun) > 0 && len(w.https)+len(w.http) == 0:
		return errors.New("--stun is for the page: serve it with --https or --http")
	case w.acme:
		return nil
	}
	for _, flag := range []string{"acme-directory", "acme-ca", "acme-email", "channel", "config", "resolver", "ca", "via"} {
		if cmd.Flags().Changed(flag) {
			return fmt.Errorf("--%s says how the authority for certificates is reached: it is for --acme", flag)
		}
	}
	return nil
}

// usual says whether the page is served over TLS at the port at which it is looked for.
func (w *canaryWeb) usual() bool {
	const port = 443
	return slices.ContainsFunc(w.https, func(text string) bool {
		at, err := netip.ParseAddrPort(text)
		return err == nil && at.Port() == port
	})
}

// page opens the sockets of the page, and says where they are. secure is what TLS shows; nil where there is no certificate.
func (w *canaryWeb) page(o canary.Options, server *canary.DNS, secure *tls.Config) (parts []part, said []string, err error) {
	var open []interface{ Close() error }
	defer func() {
		if err != nil {
			for _, s := range open {
				_ = s.Close()
			}
		}
	}()
	more := canary.WebOptions{Zone: server.Zone}
	var stun []*net.UDPConn
	for _, text := range w.stun {
		at, err := listenAddress("stun", text)
		if err != nil {
			return nil, nil, usageError{err}
		}
		conn, err := wire.ListenUDP(at)
		if err != nil {
			return nil, nil, cannotListen("stun", text, err)
		}
		open, stun = append(open, conn), append(stun, conn)
		port := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		if more.STUN != 0 && more.STUN != port {
			return nil, nil, usageError{fmt.Errorf("--stun %s: the page asks at one port, and another --stun has %d", text, more.STUN)}
		}
		more.STUN = port
		said = append(said, fmt.Sprintf("stun on %s", conn.LocalAddr()))
	}
	web, err := canary.NewWeb(o, more)
	if err != nil {
		return nil, nil, usageError{err}
	}
	for _, conn := range stun {
		parts = append(parts, func(ctx context.Context) error { return web.ServeSTUN(ctx, conn) })
	}
	var redirect uint16
	serve := func(flag string, list []string, p canary.Port) error {
		for _, text := range list {
			at, err := listenAddress(flag, text)
			if err != nil {
				return usageError{err}
			}
			l, err := wire.ListenTCP(at)
			if err != nil {
				return cannotListen(flag, text, err)
			}
			open = append(open, l)
			p.Socket = l
			if p.TLS != nil && redirect == 0 {
				redirect = netip.MustParseAddrPort(l.Addr().String()).Port()
			}
			mine := p
			parts = append(parts, func(ctx context.Context) error { return web.Serve(ctx, mine) })
			said = append(said, fmt.Sprintf("page on %s://%s", flag, l.Addr()))
		}
		return nil
	}
	if err := serve("https", w.https, canary.Port{TLS: secure}); err != nil {
		return nil, nil, err
	}
	return parts, said, serve("http", w.http, canary.Port{Redirect: redirect})
}

// certified are the names that the certificate of a canary is for.
func certified(zone string) []string { return []string{zone, "*." + zone} }

// obtain gives what TLS shows, and the part that gets its certificate from an authority.
func (w *canaryWeb) obtain(zone string, server *canary.DNS, log *slog.Logger) (*tls.Config, part, error) {
	c, err := w.way.load()
	if err != nil {
		return nil, nil, err
	}
	roots, err := rootsOf(w.authority)
	if err != nil {
		return nil, nil, err
	}
	directory, err := url.Parse(w.directory)
	if err != nil || directory.Scheme != "https" || directory.Host == "" {
		return nil, nil, usageError{fmt.Errorf("--acme-directory %q is no https:// URL", w.directory)}
	}
	host, err := name.ParseHost(directory.Hostname())
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("--acme-directory %s: %w", w.directory, err)}
	}
	if _, ok := c.Channel(w.channel); w.channel != "" && !ok {
		return nil, nil, usageError{fmt.Errorf("there is no channel %q; the configuration has %s", w.channel, strings.Join(channelsOf(c), ", "))}
	}
	dir := state.Default(os.LookupEnv)
	if dir == "" {
		return nil, nil, usageError{errors.New("there is no directory for certificates here: set XDG_STATE_HOME, or give a certificate with --tls-cert")}
	}
	store, err := state.New(dir)
	if err != nil {
		return nil, nil, err
	}
	m, err := acme.New(log)
	if err != nil {
		return nil, nil, err
	}
	s := &acme.Setting{
		Account: acme.Account{Directory: w.directory, Roots: roots, Email: w.email},
		Names:   [][]string{certified(zone)}, Store: store, Publish: new(challenges).publisher(zone, server),
	}
	run := func(ctx context.Context) error {
		return daemon.Through(ctx, c, dir, w.channel, host, log, func(ctx context.Context, way *daemon.Way) error {
			s.Dial, s.Way = way.Dial, way
			s.Await = func(ctx context.Context) error { return awaitWay(ctx, way) }
			if err := m.Set(s); err != nil {
				return err
			}
			m.Run(ctx)
			return nil
		})
	}
	return m.Secure(&tls.Config{MinVersion: tls.VersionTLS12}, certified(zone)), run, nil
}

// awaitWay waits until a channel is ready; the error says what is missing.
func awaitWay(ctx context.Context, way *daemon.Way) error {
	select {
	case <-way.Await():
		return nil
	case <-ctx.Done():
	}
	if why := way.WhyNotReady(); why != nil {
		return fmt.Errorf("channel %s is not ready: %w", way.Name(), why)
	}
	return fmt.Errorf("channel %s is not ready: its resolver has not answered", way.Name())
}

// challenges are the texts by which the zone proves itself at the moment.
type challenges struct {
	mu    sync.Mutex
	texts []string
}

// publisher has the server of a zone answer with the texts.
func (c *challenges) publisher(zone string, server *canary.DNS) func(host, text string) (func(), error) {
	return func(host, text string) (withdraw func(), err error) {
		if host != canary.Challenge+"."+zone {
			return nil, fmt.Errorf("%s is no name of the zone", host)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if err := server.SetChallenges(append(slices.Clone(c.texts), text)...); err != nil {
			return nil, err
		}
		c.texts = append(c.texts, text)
		return func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if i := slices.Index(c.texts, text); i >= 0 {
				c.texts = slices.Delete(c.texts, i, i+1)
			}
			_ = server.SetChallenges(c.texts...) // they were taken before
		}, nil
	}
}
