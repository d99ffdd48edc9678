package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"watertight/route"
	"watertight/upstream"
)

// Default is the configuration of an empty file: sealed, on loopback.
func Default() *Config {
	c, err := Parse("", nil, ThisHost())
	if err != nil {
		panic(err)
	}
	return c
}

// Load finds the configuration file, reads it and applies the flags. explicit is the argument of -c, empty if there
// was none. The error is [Problems], or wraps [ErrNoFile].
func Load(explicit string, o Overrides) (*Config, error) {
	host := ThisHost()
	path, err := Find(explicit, host.Getenv)
	if err != nil {
		return nil, err
	}
	c, err := Read(path, host)
	if err != nil {
		return nil, err
	}
	return c.Override(o)
}

// Read reads the file that [Find] gave; an empty path gives the defaults. The error is [Problems].
func Read(path string, host Host) (*Config, error) {
	if err := host.validate(); err != nil {
		return nil, err
	}
	if path == "" {
		return Parse("", nil, host)
	}
	data, err := host.ReadFile(path, MaxFile)
	if err != nil {
		return nil, Problems{{File: path, What: "the configuration cannot be read: " + reason(err), Mend: mendRead(err)}}
	}
	return Parse(path, data, host)
}

// mendRead says what to do about a configuration that cannot be read.
func mendRead(err error) string {
	switch {
	case errors.Is(err, errTooLarge):
		return "check that it is the right file; if it is, give the routes fewer, wider patterns"
	case errors.Is(err, errSilent):
		return "check the command that writes to it"
	case errors.Is(err, syscall.EISDIR):
		return "name the file in it, such as watertight.yaml"
	case errors.Is(err, fs.ErrPermission):
		return "give this user the right to read it (chmod, chown), or run as a user who may"
	default:
		return "check the path and its permissions"
	}
}

// Parse reads a configuration from data; file is what messages call it, and where relative paths in it begin. The
// error is [Problems], with everything that is wrong.
func Parse(file string, data []byte, host Host) (*Config, error) {
	if err := host.validate(); err != nil {
		return nil, err
	}
	l := newLoader(file, host)
	if len(data) > MaxFile {
		l.problem(pos{}, fmt.Sprintf("the configuration has %d octets, and at most %d are read", len(data), MaxFile), "give the routes fewer, wider patterns")
		return nil, l.problems.err()
	}
	c := &Config{
		File:   file,
		Policy: Policy{PlainHTTP: route.Refuse, PlainDNS: route.Refuse, ForeignResolvers: route.Refuse, ClientResolved: route.Report, Contained: route.Refuse},
		Limits: Limits{Connections: DefaultConnections, Drain: DefaultDrain},
		Log:    Log{Level: "info", Format: "text"},
	}
	root := l.parseTree(data)
	if root == nil {
		return nil, l.problems.err()
	}
	l.read(root, c)
	l.complete(c)
	l.check(c)
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	c.Warnings, c.written = Problems(l.warnings).inOrder(), l.written
	return c, nil
}

// complete fills in what has a default and was not written.
func (l *loader) complete(c *Config) {
	if !l.stands("listen.proxy") {
		address, _ := parseSocket(DefaultListen)
		c.Listen.Proxy = []ProxyListener{{Listener: Listener{Address: address}}}
	}
	if _, ok := c.Channel(DirectName); !ok {
		c.Channels = append([]Channel{newChannel(DirectName)}, c.Channels...)
	}
	for i := range c.Channels {
		if ch := &c.Channels[i]; ch.Name == DirectName && !l.stands("channels.direct.resolver.upstreams") {
			u, from := defaultUpstream()
			ch.Resolver.Upstreams, ch.Resolver.sources = []upstream.Upstream{u}, []source{from}
		}
	}
}

// ErrNoFile is wrapped by the error for a configuration that was asked for by name and is not there.
var ErrNoFile = errors.New("the configuration does not exist")

// Find gives the file to load. explicit is the argument of -c, empty if there was none. The places are, in this
// order: -c, $WATERTIGHT_CONFIG, ./watertight.yaml, $XDG_CONFIG_HOME/watertight/watertight.yaml (~/.config where
// that is not set), /etc/watertight/watertight.yaml. What was asked for by name must exist; where nothing was, an
// empty path says that the defaults are meant. A file that exists but cannot be read is not passed over: [Load]
// reports it.
func Find(explicit string, getenv func(string) (string, bool)) (string, error) {
	if explicit != "" {
		return named(explicit, "-c")
	}
	if path, ok := getenv("WATERTIGHT_CONFIG"); ok && path != "" {
		return named(path, "$WATERTIGHT_CONFIG")
	}
	for _, path := range places(getenv) {
		if _, err := os.Lstat(path); err == nil || !errors.Is(err, os.ErrNotExist) {
			return path, nil
		}
	}
	return "", nil
}

func named(path, by string) (string, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%w: %s names %s; write the file, or leave %s out to run with the defaults", ErrNoFile, by, path, by)
	}
	return path, nil
}

// places are where a configuration is looked for when none was named. A relative $XDG_CONFIG_HOME is ignored, as
// the XDG Base Directory Specification asks.
func places(getenv func(string) (string, bool)) []string {
	found := []string{"watertight.yaml"}
	if base, ok := getenv("XDG_CONFIG_HOME"); ok && filepath.IsAbs(base) {
		found = append(found, filepath.Join(base, "watertight", "watertight.yaml"))
	} else if home, ok := getenv("HOME"); ok && filepath.IsAbs(home) {
		found = append(found, filepath.Join(home, ".config", "watertight", "watertight.yaml"))
	}
	return append(found, "/etc/watertight/watertight.yaml")
}
