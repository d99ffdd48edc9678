package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLeakTest_IsReadWithItsCanaryAndItsWebhook(t *testing.T) {
	dir := doorFiles(t)
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadIn(t, dir, `leaktest:
  every: 30m
  on_change: false
  on_leak: close
  limit: 90s
  history: kept/outcomes.db
  keep: 50
  canary: {zone: Canary.Example.NET., api: "https://canary.example.net:8443/api/", channel: direct, ca: cert.pem}
  webhook:
    url: "https://hooks.example.net/${file:token}"
    channel: direct
    on: test
    ca: cert.pem
    headers: {authorization: "Bearer ${file:token}"}
`)
	if err != nil {
		t.Fatal(err)
	}
	check := func(c *Config) {
		t.Helper()
		l := c.LeakTest
		if l.IsZero() || l.Every != 30*time.Minute || l.OnChange || l.OnLeak != OnLeakClose || l.Limit != 90*time.Second || l.History != filepath.Join(dir, "kept/outcomes.db") || l.Keep != 50 {
			t.Errorf("%+v", l)
		}
		y := l.Canary
		if y.Zone != "canary.example.net" || y.API != "https://canary.example.net:8443/api" || y.Channel != "direct" || y.CAs == nil || y.CAFile != filepath.Join(dir, "cert.pem") {
			t.Errorf("%+v", y)
		}
		w := l.Webhook
		if w.URL != "https://hooks.example.net/hunter2" || w.Channel != "direct" || w.On != HookOnTest || w.CAs == nil || w.CAFile == "" ||
			len(w.Headers) != 1 || w.Headers[0] != (Header{"Authorization", "Bearer hunter2"}) {
			t.Errorf("%+v", w)
		}
	}
	check(c)
	shown, err := c.Show()
	if err != nil || strings.Contains(string(shown), "hunter2") {
		t.Fatalf("%v\n%s", err, shown)
	}
	again, err := Parse(filepath.Join(dir, "again.yaml"), shown, ThisHost())
	if err != nil {
		t.Fatalf("%v\n%s", err, shown)
	}
	check(again)
}

func TestLeakTest_HasADefaultForEachKeyAndIsOffUnlessWritten(t *testing.T) {
	if l := good(t, "").LeakTest; !l.IsZero() {
		t.Errorf("nothing is written: %+v", l)
	}
	l := good(t, "leaktest: {}\n").LeakTest
	want := LeakTest{Every: time.Hour, OnChange: true, OnLeak: OnLeakReport, Limit: 5 * time.Minute, Keep: 1000}
	if l.Every != want.Every || !l.OnChange || l.OnLeak != want.OnLeak || l.Limit != want.Limit || l.Keep != want.Keep || l.Canary.Zone != "" || l.Webhook.URL != "" || l.History != "" {
		t.Errorf("%+v, want %+v", l, want)
	}
	if l := good(t, "leaktest: {every: 0s, history: none}\n").LeakTest; l.Every != 0 || l.History != NoState {
		t.Errorf("%+v", l)
	}
}

func TestLeakTest_ThatCouldNotCloseForLongIsRefusedOrWarnedOf(t *testing.T) {
	if _, err := Parse("x.yaml", []byte("state: none\nleaktest: {on_leak: close}\n"), testHost(nil, nil)); err == nil || !strings.Contains(err.Error(), "would let a restart open") {
		t.Error(err)
	}
	if c := good(t, "leaktest: {on_leak: close}\n"); len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].String(), "without a canary no test is clean") {
		t.Errorf("%v", c.Warnings)
	}
	if c := good(t, "leaktest: {on_leak: close, canary: {zone: canary.example.net, api: \"https://canary.example.net/api\", channel: direct}}\n"); len(c.Warnings) != 0 {
		t.Errorf("%v", c.Warnings)
	}
}

func TestLeakTest_IsReasonEnoughForAChannel(t *testing.T) {
	const channel = "channels: {hooks: {proxy: socks5://192.0.2.10:1080, resolve: exit}}\n"
	if _, err := Parse("x.yaml", []byte(channel), testHost(nil, nil)); err == nil {
		t.Error("the channel is reached by nothing, and that is an error")
	}
	good(t, channel+"leaktest: {webhook: {url: \"https://hooks.example.net/\", channel: hooks}}\n")
	good(t, channel+"leaktest: {canary: {zone: canary.example.net, api: \"https://canary.example.net/\", channel: hooks}}\n")
}
