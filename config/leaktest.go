package config

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"watertight/name"
)

// LeakTest is how the running program tests itself. The zero LeakTest does not.
type LeakTest struct {
	Every    time.Duration // between tests, give or take a tenth; 0: not by the clock
	OnChange bool          // test when something has changed by which names could leak
	OnLeak   string        // OnLeakReport or OnLeakClose
	Limit    time.Duration // of one test
	Canary   Canary
	History  string // the file; empty: the usual one in the directory of `state`; or NoState
	Keep     int    // outcomes in it, at most
	Webhook  Webhook
}

// Canary is who sees the questions for names of the test. The zero Canary is none.
type Canary struct {
	Zone    string // in lower case, without a dot at its end
	API     string // https URL, without a slash at its end
	Channel string // the way to the API
	// CAFile is where CAs was read from, who certify the API. Nil: those whom the system trusts.
	CAFile string
	CAs    *x509.CertPool
}

// Webhook is who is told of outcomes. The zero Webhook is nobody.
type Webhook struct {
	URL     string // https; it may be a secret
	Channel string
	On      string // HookOnChange, HookOnLeak or HookOnTest
	Headers []Header
	// CAFile is where CAs was read from, who certify the server. Nil: those whom the system trusts.
	CAFile string
	CAs    *x509.CertPool
}

// What a leak does.
const (
	OnLeakReport = "report"
	OnLeakClose  = "close"
)

// When the webhook is told.
const (
	HookOnChange = "change"
	HookOnLeak   = "leak"
	HookOnTest   = "test"
)

// The defaults of `leaktest`, and the least time between tests by the clock.
const (
	DefaultTestEvery = time.Hour
	DefaultTestLimit = 5 * time.Minute
	DefaultTestKeep  = 1000
	minTestEvery     = time.Minute
)

// IsZero says that the program does not test itself.
func (t LeakTest) IsZero() bool { return t.OnLeak == "" }

// leakTest reads how the program tests itself.
func (l *loader) leakTest(n *node, c *LeakTest) {
	*c = LeakTest{Every: DefaultTestEvery, OnChange: true, OnLeak: OnLeakReport, Limit: DefaultTestLimit, Keep: DefaultTestKeep}
	l.fields(n, "leaktest", "leaktest", func(key string, n *node, path string) {
		row := keyAt(path)
		switch key {
		case "every":
			l.period(n, path, row, &c.Every)
			if c.Every > 0 && c.Every < minTestEvery {
				l.problem(n.pos, fmt.Sprintf("`%s` is less than %s", path, short(minTestEvery)), "write "+short(minTestEvery)+" or more, or 0s for tests on changes alone; the default is "+row.Default)
			}
		case "on_change":
			l.truth(n, path, &c.OnChange)
		case "on_leak":
			choice(l, n, path, row, &c.OnLeak)
		case "limit":
			l.period(n, path, row, &c.Limit)
		case "canary":
			l.canary(n, path, &c.Canary)
		case "history":
			l.historyFile(n, path, &c.History)
		case "keep":
			l.integer(n, path, row, &c.Keep)
		case "webhook":
			l.webhook(n, path, &c.Webhook)
		}
	})
}

func (l *loader) canary(n *node, path string, c *Canary) {
	isMap := l.fields(n, path, path, func(key string, n *node, path string) {
		switch key {
		case "zone":
			l.canaryZone(n, path, &c.Zone)
		case "api":
			l.httpsURL(n, path, "the canary's API", "https://canary.example.net/api", &c.API)
			if strings.Contains(c.API, "?") {
				l.problem(n.pos, fmt.Sprintf("`%s` has a query, and the API's own paths go behind it", path), "write https://HOST[:PORT]/PATH")
			}
			c.API = strings.TrimRight(c.API, "/")
		case "channel":
			l.plainText(n, path, &c.Channel)
		case "ca":
			c.CAFile, c.CAs = l.onlyAuthorities(n, path, "the canary's API")
		}
	})
	if isMap {
		l.needs(n.pos, path, "zone", "api", "channel")
	}
}

// canaryZone reads a zone.
func (l *loader) canaryZone(n *node, path string, set *string) {
	t, ok := l.text(n, path)
	if !ok {
		return
	}
	const mend = "write the zone that is delegated to the canary, such as canary.example.net"
	h, err := name.ParseHost(strings.TrimSuffix(t.value, "."))
	host, named := h.Name()
	switch {
	case err != nil:
		l.foreign(t, path, "a name", err, mend)
	case !named, !strings.Contains(host, "."):
		l.problem(n.pos, fmt.Sprintf("`%s` is no zone that a canary could have: `%s`", path, l.say(path, t.value)), mend)
	default:
		*set = host
	}
}

// webhook reads who is told of outcomes.
func (l *loader) webhook(n *node, path string, c *Webhook) {
	c.On = HookOnChange
	isMap := l.fields(n, path, path, func(key string, n *node, path string) {
		switch key {
		case "url":
			l.httpsURL(n, path, "a webhook", "https://hooks.example.net/watertight", &c.URL)
		case "channel":
			l.plainText(n, path, &c.Channel)
		case "on":
			choice(l, n, path, keyAt(path), &c.On)
		case "headers":
			l.headers(n, path, path, &c.Headers)
		case "ca":
			c.CAFile, c.CAs = l.onlyAuthorities(n, path, "the webhook")
		}
	})
	if isMap {
		l.needs(n.pos, path, "url", "channel")
	}
}

// needs reports the keys without which a map means nothing.
func (l *loader) needs(at pos, path string, keys ...string) {
	for _, key := range keys {
		if l.stands(path + "." + key) {
			continue
		}
		mend := "write `" + key + "`"
		if key == "channel" {
			mend = "write `channel: " + DirectName + "`, or another channel's name"
		}
		l.problem(at, fmt.Sprintf("`%s` has no `%s`", path, key), mend)
	}
}

// plainText reads a text that is checked later.
func (l *loader) plainText(n *node, path string, set *string) {
	if t, ok := l.text(n, path); ok {
		*set = t.value
	}
}

// httpsURL reads the URL of something that is reached over TLS.
func (l *loader) httpsURL(n *node, path, thing, such string, set *string) {
	t, ok := l.text(n, path)
	if !ok {
		return
	}
	u, err := url.Parse(t.value)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Fragment != "" || u.Host == "" || !isTarget(u) {
		l.problem(n.pos, fmt.Sprintf("`%s` is no https:// URL of %s", path, thing), "write https://HOST[:PORT]/PATH without a user, such as "+such) // it may be a secret
		return
	}
	*set = t.value
}

// onlyAuthorities reads a file with the only authorities that may certify something.
func (l *loader) onlyAuthorities(n *node, path, whose string) (string, *x509.CertPool) {
	t, ok := l.text(n, path)
	if !ok {
		return "", nil
	}
	file := l.relative(t.value)
	pool, err := l.authorities(t.value, file)
	if err != nil {
		l.problem(n.pos, "the authorities of "+whose+" cannot be used: "+err.Error(), "give a PEM file with the certificates of those who certify it, and nothing else")
		return file, nil
	}
	return file, pool
}

// historyFile reads where outcomes are kept. A relative path begins at the configuration file.
func (l *loader) historyFile(n *node, path string, set *string) {
	t, ok := l.text(n, path)
	switch {
	case !ok:
	case t.value == NoState:
		*set = NoState
	case strings.ContainsAny(t.value, "\x00?#%") || strings.HasPrefix(t.value, "~") || strings.HasSuffix(t.value, "/"):
		l.problem(n.pos, fmt.Sprintf("`%s` is no file: `%s`", path, l.say(path, t.value)), "write the whole path, such as /var/lib/watertight/leaktest.db, or none to keep no outcomes")
	default:
		file, err := filepath.Abs(l.relative(t.value))
		if err != nil {
			l.problem(n.pos, fmt.Sprintf("`%s` is no file: %s", path, clipError(err)), "write the whole path")
			return
		}
		*set = file
	}
}

// checkLeakTest looks at what `leaktest` and the rest promise about each other. It says whether its channels exist.
func (l *loader) checkLeakTest(c *Config, channels []string) bool {
	t := c.LeakTest
	if t.IsZero() {
		return true
	}
	if t.OnLeak == OnLeakClose {
		if c.State == NoState {
			l.problem(l.at("state"), "`state: none` would let a restart open what a leak has closed", "remove the key, or write a directory")
		}
		if !l.stands("leaktest.canary") {
			l.warn(l.at("leaktest.on_leak"), "without a canary no test is clean: what a leak has closed is opened by `watertight test accept` alone", "write `canary`")
		}
	}
	sound := true
	for path, channel := range map[string]string{"leaktest.canary.channel": t.Canary.Channel, "leaktest.webhook.channel": t.Webhook.Channel} {
		if channel != "" && !slices.Contains(channels, channel) {
			sound = false
			l.problem(l.at(path), fmt.Sprintf("there is no channel `%s`", l.say(path, channel)), orNearest(channel, channels, ""))
		}
	}
	return sound
}

// leakTestTree gives the tree of `leaktest`.
func (c *Config) leakTestTree() entries {
	t := c.LeakTest
	const at = "leaktest."
	all := entries{
		{"every", c.text(at+"every", short(t.Every))},
		{"on_change", t.OnChange},
		{"on_leak", c.text(at+"on_leak", t.OnLeak)},
		{"limit", c.text(at+"limit", short(t.Limit))},
	}
	if y := t.Canary; y.Zone != "" {
		one := entries{
			{"zone", c.text(at+"canary.zone", y.Zone)},
			{"api", c.text(at+"canary.api", y.API)},
			{"channel", c.text(at+"canary.channel", y.Channel)},
		}
		if y.CAFile != "" {
			one = append(one, entry{"ca", c.text(at+"canary.ca", y.CAFile)})
		}
		all = append(all, entry{"canary", one})
	}
	if t.History != "" {
		all = append(all, entry{"history", c.text(at+"history", t.History)})
	}
	all = append(all, entry{"keep", t.Keep})
	if w := t.Webhook; w.URL != "" {
		one := entries{
			{"url", c.text(at+"webhook.url", w.URL)},
			{"channel", c.text(at+"webhook.channel", w.Channel)},
			{"on", c.text(at+"webhook.on", w.On)},
		}
		var fields entries
		for _, h := range w.Headers {
			fields = append(fields, entry{h.Name, c.fieldShown(at+"webhook.headers", h.Name)})
		}
		if len(fields) > 0 {
			one = append(one, entry{"headers", fields})
		}
		if w.CAFile != "" {
			one = append(one, entry{"ca", c.text(at+"webhook.ca", w.CAFile)})
		}
		all = append(all, entry{"webhook", one})
	}
	return all
}
