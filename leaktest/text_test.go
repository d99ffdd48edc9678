package leaktest

import (
	"bytes"
	"errors"
	"html"
	"strings"
	"testing"
)

// TestWhatIsSaidOfManyCasesIsSaidOnce, for people: the JSON has it at each.
func TestWhatIsSaidOfManyCasesIsSaidOnce(t *testing.T) {
	r := newWorld(t).run(func(o *Options) { o.Canary = nil })
	var out bytes.Buffer
	if err := r.WriteText(&out, true); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	const why = "no canary is configured"
	if n := strings.Count(text, why); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, text)
	}
	said := 0
	for _, c := range r.Cases {
		if strings.Contains(c.Reason, why) {
			said++
		}
		if len(c.Evidence) > 0 && !strings.Contains(text, "\n"+c.ID+": ") {
			t.Errorf("%s, which has evidence, is put together with others", c.ID)
		}
		if _, rest, _ := strings.Cut(text, "\n\n"); !strings.Contains(rest, c.ID) {
			t.Errorf("%s is not among what is said", c.ID)
		}
	}
	if said < 10 {
		t.Errorf("%d cases were skipped for it", said)
	}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "CONTROL, ") && len(line) > idsWidth+40 {
			t.Errorf("a line of %d columns: %s", len(line), line)
		}
	}
}

func TestCasesAreToldApart_whereMoreIsToSayOfThem(t *testing.T) {
	alike := Case{Verdict: Skipped, Reason: "r"}
	other := func(change func(c *Case)) Case { c := alike; change(&c); return c }
	for what, c := range map[string]Case{
		"another verdict": other(func(c *Case) { c.Verdict = Inconclusive }), "another reason": other(func(c *Case) { c.Reason = "s" }),
		"another mend": other(func(c *Case) { c.Fix = "f" }), "evidence": other(func(c *Case) { c.Evidence = []string{"e"} }),
	} {
		if n := len(grouped([]Case{alike, c, alike})); n != 2 {
			t.Errorf("%s: %d groups, want 2", what, n)
		}
	}
	if n := len(grouped([]Case{{Verdict: Sealed}, {Verdict: Sealed}})); n != 2 {
		t.Errorf("without a reason: %d groups, want 2", n)
	}
}

// TestTheWaysOutAreDrawn with what was seen of them, and the evidence stands on the page as well.
func TestTheWaysOutAreDrawn(t *testing.T) {
	r := newWorld(t).run()
	var text, page bytes.Buffer
	if err := errors.Join(r.WriteText(&text, true), r.WriteHTML(&page)); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"\nchannel out\n",
		"\n  traffic  this host -> socks5://198.18.60.9:1080 -> seen as 198.18.60.9 (",
		"\n  names    this host -> socks5://198.18.60.9:1080 -> https://198.18.60.53, which asks from 198.18.60.53 (",
	} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("%q is not drawn:\n%s", line, &text)
		}
	}
	shown := html.UnescapeString(page.String())
	for _, c := range r.Cases {
		for _, e := range c.Evidence {
			if !strings.Contains(shown, "<li>"+e+"</li>") || !strings.Contains(text.String(), "  - "+e+"\n") {
				t.Errorf("%s: the page or the text lacks %q", c.ID, e)
			}
		}
	}
	if !strings.Contains(shown, "traffic: this host -> socks5://198.18.60.9:1080 -> ") {
		t.Error("the page has no way out")
	}
}
