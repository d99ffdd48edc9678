package route

import "testing"

func TestAQuestionIsAboutTheHostThatAConnectionWouldGoTo(t *testing.T) {
	for qname, want := range map[string]string{
		"www.shop.example":              "www.shop.example",
		"_443._tcp.www.shop.example":    "www.shop.example",
		"_dmarc.shop.example":           "shop.example",
		"a._x.shop.example":             "a._x.shop.example",
		"1.2.0.192.in-addr.arpa":        "192.0.2.1",
		"2.0.192.in-addr.arpa":          "2.0.192.in-addr.arpa",
		"":                              "",
		"_tcp":                          "",
		"192.0.2.1":                     "",
		"not a host.example":            "",
		"example":                       "example",
		"xn--bcher-kva.example":         "xn--bcher-kva.example",
		"_a._b._c._d.deep.shop.example": "deep.shop.example",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": "2001:db8::1",
	} {
		h, ok := subjectOf(qname)
		if ok != (want != "") || ok && h.String() != want {
			t.Errorf("%q is about %q (%v), want %q", qname, h, ok, want)
		}
	}
}
