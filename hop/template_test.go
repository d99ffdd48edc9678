package hop

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"watertight/client"
	"watertight/credential"
)

func TestAProxyWithATemplateIsAskedForEachIdentityByItself(t *testing.T) {
	p := readProxy(t, "http://acme[-cc-{country}]-{session}:hunter2@gw.example:3128")
	got, err := p.For(client.Identity{Session: "k3v9", Country: "de"}, nil)
	if err != nil || got.User != "acme-cc-de-k3v9" || got.Password != "hunter2" || !got.Template.IsZero() {
		t.Errorf("%v, %v", got, err)
	}
	account, err := readProxy(t, "http://acme:hunter2@gw.example:3128").WithTemplate("oxylabs")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := account.For(client.Identity{Country: "de"}, nil); err != nil || got.User != "customer-acme-cc-DE" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := account.For(client.Identity{Country: "xx1"}, nil); !errors.Is(err, credential.ErrFill) {
		t.Errorf("%v, %v", got, err)
	}
	colon := readProxy(t, "http://{user}-%3A:hunter2@gw.example:3128") // RFC 7617
	if got, err := colon.For(client.Identity{User: "alice"}, nil); !errors.Is(err, credential.ErrFill) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestTwoTemplatesThatFitAreRefused(t *testing.T) {
	if _, err := readProxy(t, "http://acme-{session}:hunter2@gw.example:3128").WithTemplate("oxylabs"); !errors.Is(err, ErrTemplates) {
		t.Error(err)
	}
}

func TestAProxyWithATemplatePrintsWithoutItsPassword(t *testing.T) {
	account, err := readProxy(t, "http://acme:hunter2@gw.example:3128").WithTemplate("oxylabs")
	if err != nil {
		t.Fatal(err)
	}
	for want, p := range map[string]Proxy{
		"http://acme:***@gw.example:3128":             account,
		"http://acme[-{session}]:***@gw.example:3128": readProxy(t, "http://acme[-{session}]:hunter2@gw.example:3128"),
		"socks5://***@gw.example:1080":                readProxy(t, "socks5://hunter2-{session}@gw.example"),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%d"} {
			if s := fmt.Sprintf(verb, p); strings.Contains(s, "hunter2") || s != want {
				t.Errorf("%s prints %s, want %s", verb, s, want)
			}
		}
		if !strings.HasPrefix(want, "socks5") {
			if again, err := ParseProxy(want); err != nil || again.String() != want {
				t.Errorf("%s reads as %v, %v", want, again, err)
			}
		}
	}
}

func TestAChainRefusesATemplateThatIsNotFilledIn(t *testing.T) {
	p := readProxy(t, "http://acme-{session}:hunter2@gw.example:3128")
	if _, err := Chain(under(DialerFunc(nil), noLookup), []Proxy{p}); err == nil {
		t.Error("it would be sent as it is")
	}
}

func readProxy(t *testing.T, url string) Proxy {
	t.Helper()
	p, err := ParseProxy(url)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
