package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFind_TakesTheFirstPlaceThatHasAFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	put := func(path string) string {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("log: {level: warn}"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	env := map[string]string{"XDG_CONFIG_HOME": dir + "/xdg", "HOME": dir + "/home"}
	getenv := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	want := func(explicit, path string) {
		t.Helper()
		if got, err := Find(explicit, getenv); err != nil || got != path {
			t.Errorf("%q, %v; want %q", got, err, path)
		}
	}
	if _, err := os.Stat("/etc/watertight/watertight.yaml"); err != nil {
		want("", "")
	}
	home := put("home/.config/watertight/watertight.yaml")
	delete(env, "XDG_CONFIG_HOME")
	want("", home)
	env["XDG_CONFIG_HOME"] = "relative"
	want("", home)
	env["XDG_CONFIG_HOME"] = dir + "/xdg"
	want("", put("xdg/watertight/watertight.yaml"))
	put("watertight.yaml")
	want("", "watertight.yaml")
	env["WATERTIGHT_CONFIG"] = put("named.yaml")
	want("", env["WATERTIGHT_CONFIG"])
	want(home, home)
}

func TestFind_WhatIsNamedMustExist(t *testing.T) {
	env := map[string]string{"WATERTIGHT_CONFIG": "/none.yaml"}
	for _, explicit := range []string{"", "/none.yaml"} {
		_, err := Find(explicit, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
		if !errors.Is(err, ErrNoFile) || !strings.Contains(err.Error(), "/none.yaml") {
			t.Errorf("%v", err)
		}
	}
}

func TestLoad_ReadsTheFileAndAppliesTheFlags(t *testing.T) {
	c, err := Load(write(t, "w.yaml", "log: {level: warn, format: json}"), Overrides{LogLevel: "debug"})
	if err != nil || c.Log.Level != "debug" || c.Log.Format != "json" || !strings.HasSuffix(c.File, "/w.yaml") {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := Load("/none.yaml", Overrides{}); !errors.Is(err, ErrNoFile) {
		t.Error(err)
	}
	if _, err := Load(write(t, "w.yaml", "log: {level: 1}"), Overrides{}); err == nil {
		t.Error("an error of the file was lost")
	}
	if _, err := Load(write(t, "w.yaml", ""), Overrides{CA: "x"}); err == nil {
		t.Error("an error of the flags was lost")
	}
}

func TestRead_AFileThatExistsButCannotBeReadIsAnError(t *testing.T) {
	dir := t.TempDir() // a directory where a file should be: reading it fails for root too
	_, err := Read(dir, ThisHost())
	var ps Problems
	if !errors.As(err, &ps) || !strings.Contains(err.Error(), dir+": the configuration cannot be read: is a directory") {
		t.Error(err)
	}
}

func TestLimits_OfTheFileAreErrors(t *testing.T) {
	for what, text := range map[string]string{
		"at most 1048576 are read":      "#" + strings.Repeat("x", MaxFile),
		"more than 32 deep":             strings.Repeat("[", 33),
		"more than 200 columns":         "a:\n" + strings.Repeat("- ", 150) + "x",
		"more than 20000 keys":          strings.Repeat("a: 1\n", maxKeys+1),
		"more than 100000 entries":      "a: [" + strings.Repeat("x,", maxItems+1) + "]",
		"`channels` has 257 entries":    "channels:\n" + numbered("  c%d: {}\n", maxChannels+1),
		"`listen.proxy` has 65 entries": "listen:\n  proxy:\n" + numbered("  - 127.0.0.1:%d\n", maxListeners+1),
		"upstreams` has 33 entries":     "channels: {direct: {resolver: {upstreams: [" + strings.Repeat("quad9,", maxUpstreams+1) + "]}}}",
		"`channels.a.proxy` has 17":     "channels: {a: {resolve: exit, proxy: [" + strings.Repeat("socks5://a.example,", maxChain+1) + "]}}\nroutes: [{to: '*', channel: a}]",
		"more than 100 anchors":         strings.Repeat("- &a x\n", maxMarks+1),
		"not UTF-8":                     "a: \xff",
		"control character":             "a: \x1b[31m",
		"is not a map of keys":          "- a\n- b",
	} {
		ps := bad(t, text)
		if len(ps) != 1 || !strings.Contains(ps[0].What, what) {
			t.Errorf("want %q, got\n%v", what, ps)
		}
	}
	big := write(t, "big.yaml", "#"+strings.Repeat("x", MaxFile))
	if _, err := Read(big, ThisHost()); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Error(err)
	}
}

func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i+1)
	}
	return b.String()
}

func TestErrors_SteerNoTerminal(t *testing.T) {
	ps := bad(t, `"a\x1b[2Jb\u2028": 1`)
	if strings.ContainsAny(ps.Error(), "\x1b\u2028") {
		t.Errorf("%q", ps.Error())
	}
}

// What an unquoted colon inside braces belongs to is decided as YAML 1.2 decides it.
func TestFlow_AColonInsideATextBelongsToIt(t *testing.T) {
	c := good(t, "{listen: {proxy: [127.0.0.1:1, 127.0.0.1:2], admin: 127.0.0.1:3}, channels: {direct: {resolver: {upstreams: [tls://192.0.2.1:853], "+
		"cache: {\"size\":5}}}}, routes: [{to: [::1, 2001:db8::1, fd00::/8], channel: direct}]}")
	if got := socketsOf(c.Listen.Proxy); got != "127.0.0.1:1 127.0.0.1:2" {
		t.Error(got)
	}
	if got := c.Routes[0].To; len(got) != 3 || got[0].String() != "::1" || got[1].String() != "2001:db8::1" || got[2].String() != "fd00::/8" {
		t.Error(got)
	}
	if r := c.Channels[0].Resolver; r.CacheSize != 5 || r.Upstreams[0].Text != "tls://192.0.2.1:853" {
		t.Errorf("%+v", r)
	}
}
