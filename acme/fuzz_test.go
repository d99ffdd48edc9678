package acme

import "testing"

func FuzzParseKept(f *testing.F) {
	_, key, err := newKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"names":["proxy.example.net"],"tried":"2026-01-01T00:00:00Z","next":"2026-01-01T00:00:00Z","failures":3}`))
	f.Add([]byte(`{"names":["a.example"],"chain":"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n","key":"x"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, c, err := parseKept(text)
		if err == nil && c != nil && (len(k.Names) == 0 || c.PrivateKey == nil || c.Leaf == nil) {
			t.Errorf("%+v is a certificate", k)
		}
		if err != nil && c != nil {
			t.Error("an error and a certificate")
		}
		_, _, _ = parseKept([]byte(`{"names":["a.example"],"chain":"` + string(text) + `","key":"` + key + `"}`))
	})
}

func FuzzParseAccount(f *testing.F) {
	f.Add([]byte(`{"key":"-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if key, a, err := parseAccount(text); err == nil && (key == nil || a == nil) {
			t.Error("an account without a key")
		}
	})
}
