package doctor_test

import (
	"net/netip"
	"strings"
	"testing"

	"watertight/doctor"
)

func TestMask_hidesPasswordsAndTokens(t *testing.T) {
	for text, want := range map[string]string{
		"https_proxy=http://ann:hunter2@h:1":              "https_proxy=http://ann:***@h:1",
		"curl -u ann:hunter2 --proxy-user bob:hunter2 x":  "curl -u ann:*** --proxy-user bob:*** x",
		"curl -U ann:hunter2":                             "curl -U ann:***",
		"url = https://ghp_hunter2hunter2hunter2@h/x":     "url = https://***@h/x",
		"url = https://ann@h/x":                           "url = https://ann@h/x",
		"AWS_SECRET_ACCESS_KEY=hunter2":                   "AWS_SECRET_ACCESS_KEY=***",
		"proxy = ann:hunter2@h:1":                         "proxy = ann:***@h:1",
		"curl -x socks5://a:hunter2@h https://b/c@d:e":    "curl -x socks5://a:***@h https://b/c@d:e",
		"//r.example/:_authToken=hunter2":                 "//r.example/:_authToken=***",
		"  password: \"hunter2\"":                         "  password: ***",
		"<password>hunter2</password>":                    "<password>***</password>",
		"proxy-authorization: Basic hunter2":              "proxy-authorization: ***",
		"api_key = 'hunter2' # r":                         "api_key = *** # r",
		"http://a:hunter2@hunter2@h:1":                    "http://a:***@h:1",
		"url = git@github.com:ann/api.git":                "url = git@github.com:ann/api.git",
		"url = ssh://git@github.com:22/x":                 "url = ssh://git@github.com:22/x",
		"host: example.com":                               "host: example.com",
		"http://a:hunter2/x@h:1":                          "http://a:***@h:1",
		"systemProp.https.proxyPassword=hunter2":          "systemProp.https.proxyPassword=***",
		"http_proxy=http://user%40x:hunter2@127.0.0.1:80": "http_proxy=http://user%40x:***@127.0.0.1:80",
	} {
		if got := doctor.Mask(text); got != want {
			t.Errorf("%q is masked as %q, not %q", text, got, want)
		}
	}
}

func TestQuote_makesOneWordOfWhateverStandsInAFile(t *testing.T) {
	for text, want := range map[string]string{
		"http://127.0.0.1:8080": "http://127.0.0.1:8080", "": "''", "a b": "'a b'", "x'; rm -rf ~ #": `'x'\''; rm -rf ~ #'`, "a\nb": "'a b'", "$(x)": "'$(x)'", "*": "'*'",
	} {
		if got := doctor.Quote(text); got != want {
			t.Errorf("%q is quoted as %s, not %s", text, got, want)
		}
	}
}

func TestReadProxyURL_takesASettingApartAndSaysWhatIsWrong(t *testing.T) {
	ours := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8080"), netip.MustParseAddrPort("[::]:9000")}
	for text, want := range map[string]struct {
		u    doctor.ProxyURL
		why  bool
		ours bool
	}{
		"http://127.0.0.1:8080":   {doctor.ProxyURL{Scheme: "http", Host: "127.0.0.1", Port: "8080"}, false, true},
		"LOCALHOST:8080/":         {doctor.ProxyURL{Host: "LOCALHOST", Port: "8080"}, false, true},
		"SOCKS5://a:b%40@[::1]:1": {doctor.ProxyURL{Scheme: "socks5", User: "a", Password: "b%40", HasUser: true, Host: "::1", Port: "1"}, false, false},
		"http://[::1]:9000":       {doctor.ProxyURL{Scheme: "http", Host: "::1", Port: "9000"}, false, true},
		"http://p.example":        {doctor.ProxyURL{Scheme: "http", Host: "p.example"}, false, false},
		"http://%zz:1":            {doctor.ProxyURL{Scheme: "http", Host: "%zz", Port: "1"}, true, false},
		"http://h:99999":          {doctor.ProxyURL{Scheme: "http", Host: "h", Port: "99999"}, true, false},
		"http://h:x":              {doctor.ProxyURL{Scheme: "http", Host: "h", Port: "x"}, true, false},
		"http://":                 {doctor.ProxyURL{Scheme: "http"}, true, false},
		"'http://h:1'":            {doctor.ProxyURL{Scheme: "'http", Host: "h", Port: "1'"}, true, false},
	} {
		u, why := doctor.ReadProxyURL(text)
		if u != want.u || (why != "") != want.why || u.Is(ours) != want.ours {
			t.Errorf("%q: %+v %q, ours %v", text, u, why, u.Is(ours))
		}
	}
}

func FuzzProxyURL(f *testing.F) {
	for _, s := range []string{"http://a:b@h:1", "socks5://[::1]:1/", "://", "@:", "a@b@c:1", "http://[", "%zz", " x", "proxy=a:secretsecret@h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, why := doctor.ReadProxyURL(s)
		if why == "" && (u.Host == "" || strings.ContainsAny(u.Host, " \t\"'")) {
			t.Errorf("%q has the host %q and nothing wrong", s, u.Host)
		}
		u.Is([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")})
		// A password that is long enough to be told from the rest does not come through.
		if why == "" && len(u.Password) > 8 && !strings.Contains(u.User+u.Host+u.Scheme+u.Port, u.Password) && u.Scheme != "" && strings.Contains(doctor.Mask(s), u.Password) {
			t.Errorf("%q is masked as %q", s, doctor.Mask(s))
		}
	})
}
