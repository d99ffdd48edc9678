package fault

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestEveryCodeHasAFace(t *testing.T) {
	for _, c := range Codes() {
		f := c.face()
		if f.status < 400 || f.status > 599 || f.proxy == "" || f.hint == "" {
			t.Errorf("%s: incomplete: %+v", c, f)
		}
		if f.socks == 0 {
			t.Errorf("%s: the SOCKS reply says success", c)
		}
		if c.IsPolicy() && (f.status != 403 || f.socks != 2 || f.rcode != 5) {
			t.Errorf("%s: a refusal by policy is 403, reply 2 and REFUSED, not %+v", c, f)
		}
	}
}

func TestFailuresHaveTheStatusOfTheDocumentation(t *testing.T) {
	for c, want := range map[Code]int{
		DNSNXDomain: 502, DNSTimeout: 504, ConnectTimeout: 504, NotReady: 503, AuthRequired: 407,
		PolicyPlainHTTP: 403, BadRequest: 400, HopAuth: 502, "NO_SUCH_CODE": 500,
	} {
		if got := c.HTTPStatus(); got != want {
			t.Errorf("%s has the status %d, want %d", c, got, want)
		}
	}
	for c, want := range map[Code]byte{PolicyRoute: 2, DNSNXDomain: 4, ConnectRefused: 5, ConnectUnreachable: 3} {
		if got := c.SOCKSReply(); got != want {
			t.Errorf("%s has the SOCKS reply %d, want %d", c, got, want)
		}
	}
}

func TestAReasonIsOneShortLineThatEndsInItsCode(t *testing.T) {
	for _, message := range []string{
		"api.example.com does not exist",
		strings.Repeat("long ", 100),
		"two\r\nlines: injected",
		"naïve ☃",
		"",
	} {
		r := New(DNSNXDomain, message, nil).Reason()
		if len(r) > MaxReason || !strings.HasSuffix(r, " (DNS_NXDOMAIN)") {
			t.Errorf("the reason of %q is %q", message, r)
		}
		for _, b := range []byte(r) {
			if b < ' ' || b > '~' {
				t.Errorf("the reason of %q holds the octet %#x", message, b)
			}
		}
	}
}

func TestAFaultIsFoundInAChainAndAnythingElseIsInternal(t *testing.T) {
	f := New(HopAuth, "the proxy refused the password", nil)
	if got := Of(fmt.Errorf("dialling: %w", f)); got != f {
		t.Errorf("Of gave %v", got)
	}
	cause := errors.New("disk on fire")
	if got := Of(cause); got.Code != Internal || !errors.Is(got, cause) {
		t.Errorf("Of gave %v", got)
	}
	if Of(nil) != nil {
		t.Error("nil is a fault")
	}
	f.Hint = "rotate it"
	if f.NextStep() != "rotate it" {
		t.Error("a fault's own hint is not used")
	}
}

func TestTheDocumentationListsEveryCodeWithItsStatus(t *testing.T) {
	text, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Codes() {
		if row := fmt.Sprintf("| `%s` | %d |", c, c.HTTPStatus()); !strings.Contains(string(text), row) {
			t.Errorf("docs/configuration.md has no row that begins %q", row)
		}
	}
}

func TestATextOfTheFarSideIsCutToOneLineOfPrintableASCII(t *testing.T) {
	if got, want := OneLine("a\r\nb\x00\u00e9c"+strings.Repeat("x", 100)), "a??b??c"; !strings.HasPrefix(got, want) || len(got) != 60 {
		t.Errorf("%q, want 60 octets that begin with %q", got, want)
	}
}
