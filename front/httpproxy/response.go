package httpproxy

import (
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"

	"watertight/gate"
)

const (
	// chunkHead is room for the line with a chunk's size, chunkTail for the CRLF after its octets.
	chunkHead = len("00000000\r\n")
	chunkTail = len("\r\n")
)

// responseBuffer holds what is sent on at once, with room for a chunk's framing around it.
type responseBuffer [chunkHead + 32<<10 + chunkTail]byte

var responseBuffers = sync.Pool{New: func() any { return new(responseBuffer) }}

// framing is how the end of a response's body is told to the client (RFC 9112, section 6.3).
type framing int

const (
	noBody framing = iota
	byLength
	byChunks
	byClose
)

// respond sends the response to the client, each part as soon as it came, and ends the exchange.
func (x *exchange) respond(resp *http.Response) (more bool) {
	defer resp.Body.Close()
	x.begin()
	if why := unfit(resp); why != "" {
		x.settle()
		x.origin.close() // what follows the response is as doubtful as it is
		return x.originFailed(why, nil)
	}
	how := x.framingOf(resp)
	more = x.q.KeepAlive() && !x.body.unread() && how != byClose && !x.d.isDraining()
	err := x.write(responseHead(resp, how, more))
	if err == nil && how != noBody {
		err = x.sendBody(resp, how)
	}
	ended := x.settle()
	switch {
	case err != nil:
		if how == byClose {
			gate.Abort(x.conn) // a clean end would say that this was all
		}
		return false
	case more && ended:
		return true
	}
	x.lingerClose()
	return false
}

// unfit says why a final response is not sent on; empty if it is.
func unfit(resp *http.Response) (why string) {
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		return "switched protocols unasked"
	case resp.StatusCode < 200: // net/http lets 000 to 099 through
		return "answered with a status that HTTP does not have"
	}
	return malformed(resp.Header)
}

func (x *exchange) framingOf(resp *http.Response) framing {
	switch {
	case x.q.Method == http.MethodHead, resp.StatusCode == http.StatusNoContent, resp.StatusCode == http.StatusNotModified:
		return noBody
	case resp.ContentLength >= 0:
		return byLength
	case x.old:
		return byClose
	default:
		return byChunks
	}
}

// responseHead renders the head: the origin's status line and its end-to-end fields, and the framing of this side.
func responseHead(resp *http.Response, how framing, more bool) []byte {
	length := resp.Header.Get("Content-Length") // what a HEAD or a 304 says of the body that it leaves out
	stripResponse(resp.Header)
	_, reason, _ := strings.Cut(resp.Status, " ")
	b := fmt.Appendf(make([]byte, 0, 1024), "HTTP/1.1 %03d %s\r\n", resp.StatusCode, cleanReason(reason))
	b = appendFields(b, resp.Header)
	switch how {
	case noBody:
		if length != "" && resp.StatusCode != http.StatusNoContent {
			b = fmt.Appendf(b, "Content-Length: %s\r\n", length)
		}
	case byLength:
		b = fmt.Appendf(b, "Content-Length: %d\r\n", resp.ContentLength)
	case byChunks:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		if len(resp.Trailer) > 0 {
			b = fmt.Appendf(b, "Trailer: %s\r\n", strings.Join(sortedKeys(resp.Trailer), ", "))
		}
	case byClose:
	}
	if !more {
		b = append(b, "Connection: close\r\n"...)
	}
	return append(b, "\r\n"...)
}

// cleanReason keeps what may stand in a reason phrase (RFC 9112, section 4).
func cleanReason(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

// appendFields appends field lines, sorted by name, so that the same response is always written alike. A value that
// would break its line is left out: net/http lets none through.
func appendFields(b []byte, h http.Header) []byte {
	for _, k := range sortedKeys(h) {
		for _, v := range h[k] {
			if strings.ContainsAny(v, "\r\n\x00") {
				continue
			}
			b = append(b, k...)
			b = append(b, ": "...)
			b = append(b, textproto.TrimString(v)...)
			b = append(b, "\r\n"...)
		}
	}
	return b
}

func sortedKeys(h http.Header) []string {
	keys := make([]string, 0, len(h))
	for k := range h {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// sendBody sends the body on as it comes. An error of the origin's side leaves it visibly short.
func (x *exchange) sendBody(resp *http.Response, how framing) error {
	buf := responseBuffers.Get().(*responseBuffer)
	defer responseBuffers.Put(buf)
	room := buf[chunkHead : len(buf)-chunkTail]
	for {
		n, err := resp.Body.Read(room)
		if n > 0 {
			part := room[:n]
			if how == byChunks {
				part = buf.chunk(n)
			}
			if err := x.write(part); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if how != byChunks {
		return nil
	}
	end := []byte("0\r\n")
	for k := range resp.Trailer {
		if !mayTrail(k) {
			delete(resp.Trailer, k)
		}
	}
	return x.write(append(appendFields(end, resp.Trailer), "\r\n"...))
}

// chunk frames the n octets that stand after the room for a chunk's size.
func (b *responseBuffer) chunk(n int) []byte {
	var digits [16]byte
	line := append(strconv.AppendUint(digits[:0], uint64(n), 16), "\r\n"...)
	begin := chunkHead - len(line)
	copy(b[begin:], line)
	end := chunkHead + n
	end += copy(b[end:], "\r\n")
	return b[begin:end]
}
