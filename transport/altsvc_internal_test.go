package transport

import (
	"strings"
	"testing"
	"time"
)

func TestAnAltSvcFieldIsReadAsTheRFCSays(t *testing.T) {
	for field, want := range map[string]struct {
		port uint16
		life time.Duration
	}{
		`h3=":443"`:                       {443, 24 * time.Hour},
		`h3=":443"; ma=60`:                {443, time.Minute},
		`h3=":443";MA="60" ; persist=1`:   {443, time.Minute},
		` , h3="dns.example:8443" ;ma=1,`: {8443, time.Second},
		`h2=":443", h3="\:443"`:           {443, 24 * time.Hour},
		`h3="DNS.example.:443"`:           {443, 24 * time.Hour},
		`h3=":443"; ma=x`:                 {443, 24 * time.Hour},
		`h3=":443"; ma=99999999999999`:    {443, 24 * time.Hour},
		`h3="x.example:1", h3=":2"`:       {2, 24 * time.Hour},
		`clear`:                           {},
		``:                                {},
		`h3=:443`:                         {},
		`h3=":443`:                        {},
		`h3`:                              {},
		`h3="443"`:                        {},
		`h3=":65536"`:                     {},
		`H3=":443"`:                       {},
		`h3="sub.dns.example:443"`:        {},
		`h3="[::1]:443"`:                  {},
	} {
		port, life := HTTP3Alternative(field, "dns.example")
		if port != want.port || life != want.life {
			t.Errorf("%q: %d for %v, want %+v", field, port, life, want)
		}
	}
	for _, origin := range []string{"192.0.2.1", "192.0.2.1:8443", "[2001:db8::1]", "[2001:db8::1]:8443"} {
		host := strings.TrimSuffix(origin, ":8443")
		if port, _ := HTTP3Alternative(`h3="`+host+`:5"`, origin); port != 5 {
			t.Errorf("%s: %d", origin, port)
		}
	}
}

func FuzzAltSvc(f *testing.F) {
	f.Add(`h3=":443"; ma=3600; persist=1, h2="other.example:443"`)
	f.Add(`clear`)
	f.Add(`h3="\"`)
	f.Fuzz(func(t *testing.T, field string) {
		port, life := HTTP3Alternative(field, "dns.example")
		if life < 0 || port == 0 && life != 0 {
			t.Errorf("%q: %d for %v", field, port, life)
		}
		if port != 0 && !strings.Contains(field, "h3=") {
			t.Errorf("%q: %d", field, port)
		}
	})
}
