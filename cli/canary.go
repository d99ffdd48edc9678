package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"watertight/canary"
	"watertight/config"
	"watertight/state"
	"watertight/wire"
)

// canaryFlags are what a canary is started with.
type canaryFlags struct {
	zone      string
	addresses []string
	servers   []string
	dns, dot  []string
	key       string
	cert      [2]string // files
	networks  []string
	level     string
	format    string
	web       canaryWeb
}

func newCanary() *cobra.Command {
	var f canaryFlags
	cmd := &cobra.Command{
		Use:   "canary --zone ZONE",
		Short: "Serve a leak-test site of your own: authoritative DNS for a zone that is delegated to it",
		Long: "Serves the zone ZONE, whose names say who resolved them: anybody asks for a name that nobody else knows, and the\n" +
			"canary tells which resolver came for it. The zone above has to delegate ZONE; what it needs is printed.\n\n" +
			"It listens on loopback alone unless other addresses are given. What it has seen is in memory, for an hour; neither\n" +
			"names nor addresses of visitors are logged. SIGTERM ends it.",
		Example: "  watertight canary --zone canary.example.net --address 192.0.2.53 --dns 192.0.2.53:53",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.zone, "zone", "", "the `ZONE` that is delegated to this canary")
	flags.StringArrayVar(&f.addresses, "address", nil, "an `ADDRESS` by which this host is reached (repeatable; those of --dns where it is left out)")
	flags.StringArrayVar(&f.servers, "server", nil, "a name server of the zone, as `NAME=ADDRESS,…`, or NAME alone outside the zone (repeatable; ns1.ZONE with --address where it is left out)")
	flags.StringArrayVar(&f.dns, "dns", []string{"127.0.0.1:5300"}, "answer DNS on `ADDR`, by UDP and TCP (repeatable)")
	flags.StringArrayVar(&f.dot, "dot", nil, "answer DNS over TLS on `ADDR` (repeatable; it needs a certificate)")
	flags.StringVar(&f.key, "key", "", "the `FILE` of the signing key, which is made where there is none (canary-ZONE.key in the state directory)")
	flags.StringVar(&f.cert[0], "tls-cert", "", "the `FILE` of the certificate, in PEM")
	flags.StringVar(&f.cert[1], "tls-key", "", "the `FILE` of its key, in PEM")
	flags.StringArrayVar(&f.networks, "networks", nil, "a `FILE` that says whose an address is, in MaxMind's format (repeatable)")
	flags.StringVar(&f.level, "log-level", "info", "from which `LEVEL` on to log: debug, info, warn or error")
	flags.StringVar(&f.format, "log-format", "text", "the log's `FORMAT`: text or json")
	_ = cmd.MarkFlagFilename("key")
	_ = cmd.MarkFlagFilename("tls-cert")
	_ = cmd.MarkFlagFilename("tls-key")
	_ = cmd.MarkFlagFilename("networks", "mmdb")
	f.web.add(cmd)
	cmd.AddCommand(newCanaryCheck())
	return cmd
}

// part is one thing that a canary does until ctx ends.
type part func(ctx context.Context) error

// run serves until the command's context ends.
func (f *canaryFlags) run(cmd *cobra.Command) error {
	log := slog.New(newLog(cmd.ErrOrStderr(), config.Log{Level: f.level, Format: f.format}))
	o, err := f.options(log)
	if err != nil {
		return usageError{err}
	}
	// A key is made for a canary that is well described alone, and its file is called after a zone that is one.
	if err := errors.Join(o.Validate(), f.web.validate(cmd, f.cert[0] != "")); err != nil {
		return usageError{err}
	}
	path, err := f.keyFile()
	if err != nil {
		return usageError{err}
	}
	key, made, err := canary.Key(path)
	if err != nil {
		return fmt.Errorf("the signing key: %w", err)
	}
	server, err := canary.NewDNS(o, key)
	if err != nil {
		return usageError{err}
	}
	secure, parts, err := f.certificate(o.Zone, server, log)
	if err != nil {
		return err
	}
	names, said, err := f.names(server, secure)
	if err != nil {
		return err
	}
	page, where, err := f.web.page(o, server, secure)
	if err != nil {
		return err
	}
	parts, said = slices.Concat(parts, names, page), append(said, where...)
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "canary of %s\n", o.Zone)
	for _, line := range said {
		fmt.Fprintln(out, line)
	}
	if made {
		fmt.Fprintf(out, "a new signing key is in %s: keep a copy of it\n", path)
	}
	fmt.Fprintf(out, "\nwhat the zone above needs:\n\n")
	for _, line := range server.Delegation() {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "\nready\n")
	return together(cmd.Context(), append(parts, o.Log.Run))
}

// together does all parts until ctx ends or one of them fails.
func together(ctx context.Context, parts []part) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(parts))
	var all sync.WaitGroup
	for i, p := range parts {
		all.Go(func() {
			if errs[i] = p(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// options reads the flags.
func (f *canaryFlags) options(log *slog.Logger) (canary.Options, error) {
	o := canary.Options{
		Zone: strings.ToLower(strings.TrimSuffix(f.zone, ".")), Networks: canary.Nowhere{}, Logger: log, Now: time.Now, Version: version,
		Log: canary.NewLog(canary.LogOptions{Now: time.Now, Passed: canary.Stopwatch()}),
	}
	if f.zone == "" {
		return o, errors.New("a canary needs the zone that is delegated to it: --zone canary.example.net")
	}
	if new(slog.LevelVar).UnmarshalText([]byte(f.level)) != nil {
		return o, fmt.Errorf("--log-level %s is none of debug, info, warn and error", f.level)
	}
	if f.format != "text" && f.format != "json" {
		return o, fmt.Errorf("--log-format %s is neither text nor json", f.format)
	}
	if (f.cert[0] == "") != (f.cert[1] == "") {
		return o, errors.New("--tls-cert and --tls-key belong together")
	}
	if len(f.dot) > 0 && f.cert[0] == "" && !f.web.acme {
		return o, errors.New("--dot needs a certificate: --tls-cert and --tls-key, or --acme")
	}
	o.Secure = f.web.usual()
	var err error
	if o.Addresses, err = f.ownAddresses(); err != nil {
		return o, err
	}
	if o.Servers, err = f.nameServers(o); err != nil {
		return o, err
	}
	if len(f.networks) > 0 {
		if o.Networks, err = canary.OpenMaxMind(f.networks...); err != nil {
			return o, fmt.Errorf("--networks: %w", err)
		}
	}
	return o, nil
}

// ownAddresses gives those by which this host is reached.
func (f *canaryFlags) ownAddresses() ([]netip.Addr, error) {
	var out []netip.Addr
	for _, text := range f.addresses {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("--address %s is no IP address", text)
		}
		out = append(out, a)
	}
	if len(out) > 0 {
		return out, nil
	}
	for _, text := range f.dns {
		at, err := listenAddress("dns", text)
		if err != nil {
			return nil, err
		}
		if at.Addr().IsUnspecified() {
			return nil, fmt.Errorf("--dns %s is every address of this host: say with --address by which it is reached", text)
		}
		if !slices.Contains(out, at.Addr()) {
			out = append(out, at.Addr())
		}
	}
	return out, nil
}

// nameServers reads --server.
func (f *canaryFlags) nameServers(o canary.Options) ([]canary.Server, error) {
	if len(f.servers) == 0 {
		return []canary.Server{{Name: "ns1." + o.Zone, Addresses: o.Addresses}}, nil
	}
	var out []canary.Server
	for _, text := range f.servers {
		host, list, _ := strings.Cut(text, "=")
		s := canary.Server{Name: strings.ToLower(strings.TrimSuffix(host, "."))}
		if !strings.Contains(s.Name, ".") {
			return nil, fmt.Errorf("--server %s: %q is not the whole name of a server, as ns1.%s is", text, s.Name, o.Zone)
		}
		for one := range strings.SplitSeq(list, ",") {
			if one == "" {
				continue
			}
			a, err := netip.ParseAddr(one)
			if err != nil {
				return nil, fmt.Errorf("--server %s: %s is no IP address; it is NAME=ADDRESS,ADDRESS", text, one)
			}
			s.Addresses = append(s.Addresses, a)
		}
		out = append(out, s)
	}
	return out, nil
}

// keyFile is where the signing key is.
func (f *canaryFlags) keyFile() (string, error) {
	if f.key != "" {
		return f.key, nil
	}
	dir := state.Default(os.LookupEnv)
	if dir == "" {
		return "", errors.New("there is no directory for the signing key here: say where with --key FILE")
	}
	return filepath.Join(dir, "canary-"+strings.ToLower(strings.TrimSuffix(f.zone, "."))+".key"), nil
}

// listenAddress reads an address of a flag.
func listenAddress(flag, text string) (netip.AddrPort, error) {
	at, err := netip.ParseAddrPort(text)
	if err != nil || at.Addr().Zone() != "" {
		return at, fmt.Errorf("--%s %s is no address with a port, as in 192.0.2.53:53 or [2001:db8::53]:53", flag, text)
	}
	return at, nil
}

// certificate gives what TLS shows, nil where there is no certificate, and what keeps it up to date.
func (f *canaryFlags) certificate(zone string, server *canary.DNS, log *slog.Logger) (*tls.Config, []part, error) {
	switch {
	case f.web.acme:
		secure, run, err := f.web.obtain(zone, server, log)
		return secure, []part{run}, err
	case f.cert[0] == "":
		return nil, nil, nil
	}
	cert, err := canary.OpenCertificate(f.cert[0], f.cert[1], log)
	if err == nil && len(f.web.https) > 0 {
		if err = cert.For(zone); err == nil && !cert.Holds(time.Now()) {
			log.Warn("the certificate has expired or does not hold yet: browsers refuse it", "file", f.cert[0])
		}
	}
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("--tls-cert and --tls-key: %w", err)}
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.Get}, []part{cert.Run}, nil
}

// names opens the sockets of the name server, and says where they are.
func (f *canaryFlags) names(server *canary.DNS, secure *tls.Config) (parts []part, said []string, err error) {
	var open []interface{ Close() error }
	defer func() {
		if err != nil {
			for _, s := range open {
				_ = s.Close()
			}
		}
	}()
	for _, text := range f.dns {
		at, err := listenAddress("dns", text)
		if err != nil {
			return nil, nil, usageError{err}
		}
		l, err := wire.ListenTCP(at)
		if err != nil {
			return nil, nil, cannotListen("dns", text, err)
		}
		open = append(open, l)
		at = netip.MustParseAddrPort(l.Addr().String()) // with the port that the kernel chose, where it did
		conn, err := wire.ListenUDP(at)
		if err != nil {
			return nil, nil, cannotListen("dns", text, err)
		}
		open = append(open, conn)
		parts = append(parts,
			func(ctx context.Context) error { return server.ServeTCP(ctx, l) },
			func(ctx context.Context) error { return server.ServeUDP(ctx, conn) })
		said = append(said, fmt.Sprintf("dns on %s, by UDP and TCP", at))
	}
	if len(f.dot) == 0 {
		return parts, said, nil
	}
	for _, text := range f.dot {
		at, err := listenAddress("dot", text)
		if err != nil {
			return nil, nil, usageError{err}
		}
		l, err := wire.ListenTCP(at)
		if err != nil {
			return nil, nil, cannotListen("dot", text, err)
		}
		open = append(open, l)
		parts = append(parts, func(ctx context.Context) error {
			return server.ServeTLS(ctx, l, func() *tls.Config { return secure })
		})
		said = append(said, fmt.Sprintf("dns over TLS on %s", l.Addr()))
	}
	return parts, said, nil
}

// cannotListen says what mends a socket that cannot be opened.
func cannotListen(flag, at string, err error) error {
	mend := ""
	switch {
	case errors.Is(err, fs.ErrPermission):
		mend = "\nports below 1024 take root, or the capability CAP_NET_BIND_SERVICE"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		mend = "\nthis host has no such address: listen on one that `ip address` shows, and say with --address by which it is reached from outside"
	case errors.Is(err, syscall.EADDRINUSE):
		mend = "\nanother program has it: `ss -lnptu` shows which"
	}
	return fmt.Errorf("--%s %s: %w%s", flag, at, err, mend)
}
