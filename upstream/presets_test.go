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

func TestAPresetWhoseOperatorEndedItIsRefusedWithTheReasonAndWhatToTake(t *testing.T) {
	_, err := upstream.Parse("mullvad")
	if err == nil || !strings.Contains(err.Error(), "ended its public resolver on 2 November 2026; take another preset, such as quad9") {
		t.Errorf("got %v", err)
	}
	// It is still no resolver of this host's clients.
	if hosts, _ := upstream.KnownResolvers(); !slices.Contains(hosts, "dns.mullvad.net") {
		t.Error("its host is not among the known resolvers")
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
