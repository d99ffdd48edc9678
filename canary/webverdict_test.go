package canary

import (
	"strings"
	"testing"
	"time"

	"watertight/visit"
)

var known = holders{
	"198.51.100.7": {Number: 64500, Name: "Exit", Country: "DE"}, "198.51.101.53": {Number: 64500, Name: "Exit", Country: "DE"},
	"2001:db8:7::7": {Number: 64500, Name: "Exit", Country: "DE"}, "2001:db8:9::9": {Number: 64511, Name: "Home", Country: "FR"},
	"203.0.113.53": {Number: 64511, Name: "Home", Country: "FR"}, "203.0.114.53": {Number: 64512, Name: "Public", Country: "DE"},
}

func TestTheVerdictSaysWhoLooksNamesUp(t *testing.T) {
	for _, c := range []struct {
		name     string
		networks Networks
		visitors []string // beside 198.51.100.7
		asked    []string
		after    time.Duration
		want     string
	}{
		{"at once", known, nil, nil, 0, "Listening for your resolver …"},
		{"never", known, nil, nil, patience, "Nobody asked"},
		{"by the same network", known, nil, []string{"198.51.101.53"}, 0, "Names and traffic come from the same network"},
		{"by the same network over both families", known, []string{"2001:db8:7::7"}, []string{"198.51.101.53"}, 0, "Names and traffic come from the same network"},
		{"by another country", known, nil, []string{"203.0.113.53"}, 0, "Your names take another way than your traffic"},
		{"by another network of the country", known, nil, []string{"203.0.114.53"}, 0, "Another network looks up your names"},
		{"by the same and by another", known, nil, []string{"198.51.101.53", "203.0.113.53"}, 0, "Some names are looked up elsewhere"},
		{"IPv6 around the proxy", known, []string{"2001:db8:9::9"}, []string{"198.51.101.53"}, 0, "You come from two networks"},
		{"a neighbour, without data", Nowhere{}, nil, []string{"198.51.100.53"}, 0, "Names and traffic come from the same network"},
		{"a stranger, without data", Nowhere{}, nil, []string{"203.0.113.53"}, 0, "Another network looks up your names"},
		{"strangers, without data", Nowhere{}, nil, []string{"203.0.113.53", "203.0.114.53"}, 0, "Several networks look up your names"},
		{"a stranger over both families, without data", Nowhere{}, nil, []string{"203.0.113.53", "2001:db8:9::9"}, 0, "Another network looks up your names"},
		{"both families, without data", Nowhere{}, []string{"2001:db8:9::9"}, []string{"198.51.100.53"}, 0, "Names and traffic come from the same network"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, c.networks)
			label, _ := s.opens(t, "198.51.100.7")
			for _, v := range c.visitors {
				s.get(v, "https://"+visit.Name(label, visit.V6, testZone)+pathPicture)
			}
			for _, a := range c.asked {
				s.asks(a, label, visit.Plain)
			}
			s.now = s.now.Add(c.after)
			if got := s.headline(t, label); got != c.want {
				t.Errorf("%q, and not %q", got, c.want)
			}
		})
	}
}

func TestAVisitToWhichNobodyCameIsShown(t *testing.T) {
	s := newSite(t, known)
	label := visit.NewLabel()
	s.asks("203.0.113.53", label, visit.Plain)
	if got := s.headline(t, label); got != "Nobody has come to compare it with" {
		t.Errorf("%q", got)
	}
	s.get("198.51.100.7", "https://"+visit.Name(label, visit.Plain, testZone)+"/")
	s.now = s.now.Add(Keep / 2)
	s.asks("203.0.113.53", label, visit.Plain)
	s.now = s.now.Add(Keep/2 + time.Minute) // the request is forgotten, and the question is not
	if got := s.headline(t, label); got != "Nobody has come to compare it with" {
		t.Errorf("%q", got)
	}
}

func TestThePageWaitsFromWhenItWasOpened(t *testing.T) {
	s := newSite(t, known)
	label := visit.NewLabel()
	s.get("198.51.100.7", "https://"+visit.Name(label, visit.Plain, testZone)+"/") // as by curl, before
	s.now = s.now.Add(pageLimit)
	if text := s.get("198.51.100.7", "https://"+testZone+pathVisit+label).Body.String(); !strings.Contains(text, "Listening") || !strings.Contains(text, `data-settled="false"`) {
		t.Error("the page does not wait for what it has fetched")
	}
}

// fact gives one fact of a visit.
func (s *site) fact(t testing.TB, label, name string) fact {
	t.Helper()
	seen, known := s.seen(label)
	for _, f := range s.view(label, &seen, known).Facts {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("there is no fact %s", name)
	return fact{}
}

func TestTheFactsFollowFromWhatCame(t *testing.T) {
	subnet := func(q *visit.Query) { q.Subnet = "198.51.100.0/24" }
	none := func(q *visit.Query) { q.Subnet = "0.0.0.0/0" }
	mixed := func(q *visit.Query) { q.MixedCase = true }
	encrypted := func(q *visit.Query) { q.Over = "tls" }
	step := func(below string) func(*visit.Query) { return func(q *visit.Query) { q.Name = below + q.Name } }
	for _, c := range []struct {
		name  string
		asked []visit.Branch
		more  []func(*visit.Query)
		came  []visit.Branch
		fact  string
		want  mark
	}{
		{"forged signatures are believed", []visit.Branch{visit.Bogus}, nil, []visit.Branch{visit.Plain, visit.Bogus}, "DNSSEC", bad},
		{"forged signatures are refused", []visit.Branch{visit.Plain, visit.Bogus}, nil, []visit.Branch{visit.Plain}, "DNSSEC", good},
		{"nothing is fetched at all", []visit.Branch{visit.Plain, visit.Bogus}, nil, nil, "DNSSEC", unknown},
		{"forged signatures are not looked up", []visit.Branch{visit.Plain}, nil, []visit.Branch{visit.Plain}, "DNSSEC", unknown},
		{"a subnet", []visit.Branch{visit.Plain}, []func(*visit.Query){subnet}, nil, "Client subnet", bad},
		{"a wish for no subnet", []visit.Branch{visit.Plain}, []func(*visit.Query){none}, nil, "Client subnet", good},
		{"no question", nil, nil, nil, "Client subnet", unknown},
		{"IPv6", []visit.Branch{visit.V6}, nil, []visit.Branch{visit.V6}, "IPv6", good},
		{"no IPv6", []visit.Branch{visit.V6}, nil, nil, "IPv6", plain},
		{"steps", []visit.Branch{visit.Plain, visit.Plain}, []func(*visit.Query){step("er."), step("deep.")}, nil, "Minimised names", good},
		{"no steps", []visit.Branch{visit.Plain}, nil, nil, "Minimised names", note},
		{"mixed case", []visit.Branch{visit.Plain}, []func(*visit.Query){mixed}, nil, "Against forgery", good},
		{"no mixed case", []visit.Branch{visit.Plain}, nil, nil, "Against forgery", note},
		{"encrypted", []visit.Branch{visit.Plain}, []func(*visit.Query){encrypted}, nil, "To the canary", good},
		{"in clear", []visit.Branch{visit.Plain}, nil, nil, "To the canary", plain},
		{"TCP", []visit.Branch{visit.TCP}, nil, []visit.Branch{visit.TCP}, "Long answers", good},
		{"no TCP", []visit.Branch{visit.TCP}, nil, nil, "Long answers", bad},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, Nowhere{})
			label, _ := s.opens(t, "198.51.100.7")
			for i, b := range c.asked {
				s.asks("203.0.113.53", label, b, c.more[:min(i+1, len(c.more))]...)
			}
			for _, b := range c.came {
				s.get("198.51.100.7", "https://"+visit.Name(label, b, testZone)+pathPicture)
			}
			s.now = s.now.Add(patience)
			if f := s.fact(t, label, c.fact); f.Mark != c.want {
				t.Errorf("%+v, and not %s", f, c.want)
			}
		})
	}
}

func TestWhatComesFromOutsideIsShownAsText(t *testing.T) {
	s := newSite(t, holders{"203.0.113.53": {Number: 64511, Name: "<script>alert(1)</script>", Country: "FR"}})
	label, _ := s.opens(t, "198.51.100.7")
	s.asks("203.0.113.53", label, visit.Plain, func(q *visit.Query) { q.Subnet = `"><img src=//evil.example>` })
	text := s.get("198.51.100.7", "https://"+testZone+pathVisit+label+"?part=results").Body.String()
	if strings.Contains(text, "<script") || strings.Contains(text, "<img") || !strings.Contains(text, "&lt;script&gt;") {
		t.Error(text)
	}
}
