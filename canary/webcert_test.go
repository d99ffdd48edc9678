package canary

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"watertight/lab/dnstest"
)

func TestACertificateIsForTheZoneAndAllBelowItWhileItHolds(t *testing.T) {
	ca := dnstest.NewCA()
	open := func(names []string, addrs ...netip.Addr) *Certificate {
		dir := t.TempDir()
		c, k := dnstest.PEMPair(ca.Issue(names, addrs))
		for name, text := range map[string][]byte{"c": c, "k": k} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cert, err := OpenCertificate(filepath.Join(dir, "c"), filepath.Join(dir, "k"), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	if err := open([]string{testZone, "*." + testZone}).For(testZone); err != nil {
		t.Error(err)
	}
	for want, c := range map[string]*Certificate{
		"is for " + testZone: open([]string{testZone}), "is for *." + testZone: open([]string{"*." + testZone}),
		"is for no name": open(nil, netip.MustParseAddr("192.0.2.1")),
	} {
		if err := c.For(testZone); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v, and not %q", err, want)
		}
	}
	c := open([]string{testZone})
	leaf := c.now.Load().Leaf
	for at, want := range map[time.Time]bool{
		leaf.NotBefore.Add(-time.Second): false, leaf.NotBefore: true, leaf.NotAfter: true, leaf.NotAfter.Add(time.Second): false,
	} {
		if c.Holds(at) != want {
			t.Errorf("at %v: %t", at, !want)
		}
	}
}

func TestACertificateThatChangesIsShownWithoutARestart(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca := dnstest.NewCA()
	changes := 0
	put := func(names ...string) {
		c, k := dnstest.PEMPair(ca.Issue(names, nil))
		changes++ // as the clock of the files may be coarse
		for path, text := range map[string][]byte{cert: c, key: k} {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			at := time.Unix(int64(1_700_000_000+changes), 0)
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("one.example.net")
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c, err := OpenCertificate(cert, key, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = c.Run(ctx) }()
		defer func() { stop(); <-ended }()
		shows := func(name string) {
			t.Helper()
			time.Sleep(3 * certificateLook)
			synctest.Wait()
			if pair, err := c.Get(nil); err != nil || pair.Leaf.VerifyHostname(name) != nil {
				t.Errorf("%v %v, and not %s\n%s", pair.Leaf.DNSNames, err, name, &log)
			}
		}
		shows("one.example.net")
		put("two.example.net")
		shows("two.example.net")
		if err := os.WriteFile(key, []byte("half a file"), 0o600); err != nil {
			t.Fatal(err)
		}
		shows("two.example.net")
		if !bytes.Contains(log.Bytes(), []byte("not used")) {
			t.Errorf("nothing says so: %s", &log)
		}
		put("three.example.net")
		shows("three.example.net")
	})
	for names, fits := range map[[2]string]bool{{testZone, "*." + testZone}: true, {testZone, "www." + testZone}: false, {"*." + testZone}: false, {"example.org"}: false} {
		put(slices.DeleteFunc(names[:], func(s string) bool { return s == "" })...)
		c, err := OpenCertificate(cert, key, slog.Default())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.For(testZone); (err == nil) != fits {
			t.Errorf("%v: %v", names, err)
		}
	}
	if _, err := OpenCertificate(cert, filepath.Join(dir, "none"), slog.Default()); err == nil {
		t.Error("a certificate without a key is read")
	}
}
