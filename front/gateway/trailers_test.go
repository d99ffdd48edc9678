package gateway

import (
	"crypto/tls"
	"io"
	"net/http"
	"testing"
)

func TestATrailerOfTheClientSaysNothingThatTheEntrySets(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			w := newWorld(t, func(_ http.ResponseWriter, r *http.Request) {
				if b, err := io.ReadAll(r.Body); string(b) != "body" || err != nil {
					t.Errorf("%q %v", b, err)
				}
				if len(r.Trailer) != 1 || r.Trailer.Get("X-Sum") != "3" {
					t.Errorf("trailers: %v", r.Trailer)
				}
			}, only(k.origin), func(_ *world, _ *tls.Config, e *Entry) { e.Fields = append(e.Fields, Field{"X-Api-Key", "k"}) })
			body, up := io.Pipe()
			r := w.request("POST", "/openai/v1/x", body)
			r.Trailer = http.Header{"X-Sum": {"3"}, "X-Api-Key": {"other"}}
			go func() {
				io.WriteString(up, "body")
				up.Close()
			}()
			w.do(w.client(k.client), r)
		})
	}
}
