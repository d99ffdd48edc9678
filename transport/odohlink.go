package transport

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"watertight/dnswire"
	"watertight/odoh"
)

// odohLink is one connection to a relay, with the target's key that was fetched over it.
type odohLink struct {
	*httpConn
	o    *odohOpener
	turn chan struct{} // held by whoever looks at key
	key  *odohKey
}

// exchange asks. A target that has another key by now says so with 401 (RFC 9230, section 8), or with what cannot be
// decrypted; it is asked once more, under a key that is fetched anew.
func (l *odohLink) exchange(ctx context.Context, q dnswire.Question) (*dnswire.Answer, *Failure) {
	msg, err := l.o.c.query(q, 0, 0) // the padding is that of ODoH, before it encrypts
	if err != nil {
		return nil, badQuestion(q, err)
	}
	var stale *odohKey
	for {
		key, fail := l.current(ctx, stale)
		if fail != nil {
			return nil, fail
		}
		reply, wrongKey, fail := l.send(ctx, key, msg)
		if wrongKey && stale == nil {
			stale = key
			continue
		}
		if fail != nil {
			return nil, fail
		}
		a, err := dnswire.ParseAnswer(reply, q, 0)
		if err != nil {
			return nil, l.o.c.malformed(err)
		}
		return a, nil
	}
}

// send asks once, under a key. It says whether another key may help.
func (l *odohLink) send(ctx context.Context, key *odohKey, msg []byte) (reply []byte, wrongKey bool, fail *Failure) {
	sealed, x, err := key.Seal(msg, dnswire.PadQuery)
	if err != nil {
		return nil, false, l.o.c.unreachable("has a key that cannot be used", err)
	}
	r := &http.Request{
		Method: http.MethodPost, URL: l.o.ask, Header: http.Header{"Content-Type": {odoh.MediaType}},
		ContentLength: int64(len(sealed)), Body: io.NopCloser(bytes.NewReader(sealed)),
	}
	body, status, fail := l.roundTrip(ctx, r, odoh.MediaType, odoh.MaxMessage)
	if fail != nil {
		return nil, status == http.StatusUnauthorized, fail
	}
	if reply, err = x.Open(body); err != nil {
		return nil, true, l.o.c.untrusted("its response cannot be decrypted", "", err)
	}
	return reply, false, nil
}

// roundTrip sends a request to the relay, and reads a response of a media type, or of any, and of a size; of a longer
// one it gives an octet more. The request says as little as it can, and no cookie (RFC 9230, section 4.1).
func (l *odohLink) roundTrip(ctx context.Context, r *http.Request, media string, most int64) ([]byte, int, *Failure) {
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Host = r.URL.Host
	r.Header.Set("User-Agent", "") // none at all
	if media != "" {
		r.Header.Set("Accept", media)
	}
	resp, err := l.conn.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, 0, l.o.c.lost(ctx, err)
	}
	defer resp.Body.Close()
	if fail := l.o.c.checkHTTP(resp, media); fail != nil {
		return nil, resp.StatusCode, fail
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, resp.StatusCode, l.o.c.lost(ctx, err)
	}
	return body, resp.StatusCode, nil
}
