package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"watertight/name"
	"watertight/wire"
)

// wrongEndpoint says what is wrong with where a peer is, or nothing.
func wrongEndpoint(text string) (what, mend string) {
	at, err := name.Parse(text)
	a, literal := at.Host().Addr()
	switch {
	case err != nil, literal && (a.IsUnspecified() || a.IsMulticast()):
		return fmt.Sprintf("`%s` is no endpoint", told(text)), "write HOST:PORT, such as vpn.example:51820 or [2001:db8::1]:51820"
	case wire.PlainDNS(at.Port()):
		return fmt.Sprintf("the endpoint has the port %d, on which names travel in clear text: nothing is ever sent there", at.Port()), "ask the peer for another port, such as 51820"
	}
	return "", ""
}

// channel writes the configuration, and reads it back: what cannot be used is an error here.
func (w *wgquick) channel(channel, files string) (*Imported, error) {
	in := &Imported{Notes: w.notes}
	secret := func(name, key string) string {
		path := filepath.Join(files, name)
		in.Files = append(in.Files, ImportedSecret{path, key})
		return strconv.Quote(path)
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("channels:\n  %s:\n    wireguard:", strconv.Quote(channel))
	line("      private_key_file: %s", secret(channel+".key", w.key))
	line("      address: [%s]", quoted(w.addresses))
	if w.mtu > 0 {
		line("      mtu: %d", w.mtu)
	}
	line("      peers:")
	for i, p := range w.peers {
		line("        - public_key: %s", strconv.Quote(p.public))
		if p.preshared != "" {
			line("          preshared_key_file: %s", secret(fmt.Sprintf("%s-%d.psk", channel, i+1), p.preshared))
		}
		line("          endpoint: %s", strconv.Quote(p.endpoint))
		line("          allowed_ips: [%s]", quoted(p.allowed))
		if p.keepalive != "" {
			line("          keepalive: %s", p.keepalive)
		}
	}
	if len(w.dns) > 0 {
		line("    # DNS = %s: asked in clear text, it would see every name and could change every answer. To have it all the same,", strings.Join(w.dns, ", "))
		line("    # inside this tunnel alone, write `dns_over_tunnel: true` under `wireguard`, and in place of the resolver below:")
		var urls []string
		for _, a := range w.dns {
			if strings.Contains(a, ":") {
				a = "[" + a + "]"
			}
			urls = append(urls, "udp://"+a)
		}
		line("    # resolver: {upstreams: [%s]}", quoted(urls))
	}
	line("    resolver: {upstreams: [%s]} # encrypted, and asked through the tunnel: write the one that you trust", DefaultUpstream)
	line("routes: [{to: \"*\", channel: %s}]", strconv.Quote(channel))
	in.YAML = []byte(b.String())
	if err := w.readable(in); err != nil {
		return nil, err
	}
	return in, nil
}

// readable says why the configuration that was made cannot be used.
func (w *wgquick) readable(in *Imported) error {
	host := Host{
		Getenv: func(string) (string, bool) { return "", false }, Exposed: func(string) bool { return false },
		ReadFile: func(path string, _ int64) ([]byte, error) {
			for _, s := range in.Files {
				if filepath.Clean(s.Name) == filepath.Clean(path) {
					return s.Content(), nil
				}
			}
			return nil, fs.ErrNotExist
		},
	}
	_, err := Parse("", in.YAML, host)
	var found Problems
	if errors.As(err, &found) {
		problems := make(Problems, len(found))
		for i, p := range found {
			problems[i] = Problem{File: w.file, What: p.What, Mend: p.Mend}
		}
		return problems
	}
	return err
}

func quoted(list []string) string {
	quotes := make([]string, len(list))
	for i, s := range list {
		quotes[i] = strconv.Quote(s)
	}
	return strings.Join(quotes, ", ")
}
