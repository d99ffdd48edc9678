package upstream_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"watertight/upstream"
)

func TestThePresetsThatAreCountedOnAreThere(t *testing.T) {
	for _, want := range []struct{ name, server, addr, docs string }{
		{"adguard-unfiltered", "unfiltered.adguard-dns.com", "94.140.14.140", "adguard-dns.io"},
		{"cloudflare", "cloudflare-dns.com", "1.1.1.1", "developers.cloudflare.com"},
		{"controld-unfiltered", "freedns.controld.com", "76.76.2.11", "docs.controld.com"},
		{"dns.sb", "dot.sb", "185.222.222.222", "dns.sb"},
		{"google", "dns.google", "8.8.8.8", "developers.google.com"},
		{"mullvad", "dns.mullvad.net", "194.242.2.2", "mullvad.net"},
		{"quad9", "dns.quad9.net", "9.9.9.9", "quad9.net"},
	} {
		u, err := upstream.Parse(want.name)
		if err != nil {
			t.Errorf("%s: %v", want.name, err)
			continue
		}
		if u.ServerName != want.server || u.Addrs[0].Addr().String() != want.addr {
			t.Errorf("%s is %s at %s, want %s at %s", want.name, u.ServerName, u.Addrs[0], want.server, want.addr)
		}
		i := slices.IndexFunc(upstream.Presets(), func(p upstream.Preset) bool { return p.Name == want.name })
		if docs := upstream.Presets()[i].Docs; !strings.HasPrefix(docs, "https://"+want.docs+"/") {
			t.Errorf("%s is documented at %s, want a page of %s", want.name, docs, want.docs)
		}
	}
}

func TestAPresetWhoseOperatorEndedItSaysSo(t *testing.T) {
	for _, p := range upstream.Presets() {
		if ended := upstream.Ended(p.Name); (ended != "") != strings.Contains(p.What, "ended") {
			t.Errorf("%s: %q, and %q", p.Name, p.What, ended)
		}
	}
	if upstream.Ended("mullvad") == "" || upstream.Ended("quad9") != "" {
		t.Error("mullvad is the one that has ended")
	}
}

func TestTheDocumentationShowsEveryPresetWithItsAddressesAndItsPage(t *testing.T) {
	doc, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	table := "| preset | over | addresses | what it does about names |\n|---|---|---|---|\n"
	for _, p := range upstream.Presets() {
		over := "HTTPS"
		if p.DoH == "" {
			over = "TLS"
		}
		var addrs []string
		for _, a := range p.Addrs {
			addrs = append(addrs, a.String())
		}
		table += fmt.Sprintf("| [`%s`](%s) | %s | %s | %s |\n", p.Name, p.Docs, over, strings.Join(addrs, ", "), p.What)
	}
	if !strings.Contains(string(doc), "\n\n"+table+"\n") {
		t.Errorf("docs/configuration.md does not show this table:\n%s", table)
	}
}
