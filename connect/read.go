package connect

import (
	"bytes"
	"fmt"
	"io"
)

// maxEmptyReads bounds how often a reader may give nothing and no error.
const maxEmptyReads = 100

// lines gives the lines of a head out of a buffer that is filled as they are asked for.
type lines struct {
	from  io.Reader
	buf   []byte // all there is room for
	start int    // of the next line in buf
	end   int    // of what was read
}

// Read reads responses from r until a final one. buf bounds what is read before the tunnel and should have room for
// [MaxHead]; it is used again once the Response is done with.
func Read(r io.Reader, buf []byte) (Response, error) {
	l := &lines{from: r, buf: buf}
	for range maxInterim + 1 {
		resp, err := l.response()
		if err != nil {
			return Response{}, err
		}
		// 101 would switch to a protocol that nobody asked for.
		if resp.Status/100 == 1 && resp.Status != 101 {
			continue
		}
		resp.Rest = l.buf[l.start:l.end]
		return resp, nil
	}
	return Response{}, ErrInterim
}

// more reads once.
func (l *lines) more() error {
	if l.end == len(l.buf) {
		return fmt.Errorf("%w: more than %d octets", ErrTooLong, len(l.buf))
	}
	for range maxEmptyReads {
		n, err := l.from.Read(l.buf[l.end:])
		l.end += n
		if n > 0 {
			return nil // an error that came with octets comes again
		}
		if err == io.EOF && l.end > 0 {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// next gives the next line without its end, which is CR LF and nothing else (RFC 9112, section 2.2, allows to be
// lenient; two readers that are lenient in different ways are how requests are smuggled).
func (l *lines) next() ([]byte, error) {
	for seen := l.start; ; {
		if i := bytes.IndexByte(l.buf[seen:l.end], '\n'); i >= 0 {
			line := l.buf[l.start : seen+i]
			l.start = seen + i + 1
			text, found := bytes.CutSuffix(line, []byte{'\r'})
			if !found {
				return nil, fmt.Errorf("%w: a line ends without CR", ErrMalformed)
			}
			return text, nil
		}
		seen = l.end
		if err := l.more(); err != nil {
			return nil, err
		}
	}
}

var versionPrefix = []byte("HTTP/1.")

// expectHTTP looks at the first octets alone, so that a server that speaks something else is found out at once and
// not by a time limit.
func (l *lines) expectHTTP() error {
	for {
		got := l.buf[l.start:min(l.end, l.start+len(versionPrefix))]
		if !bytes.HasPrefix(versionPrefix, got) {
			return fmt.Errorf("%w: its first octet is %d", ErrNotHTTP, got[0])
		}
		if len(got) == len(versionPrefix) {
			return nil
		}
		if err := l.more(); err != nil {
			return err
		}
	}
}

// response reads one head.
func (l *lines) response() (Response, error) {
	if err := l.expectHTTP(); err != nil {
		return Response{}, err
	}
	line, err := l.next()
	if err != nil {
		return Response{}, err
	}
	resp, err := statusLine(line)
	if err != nil {
		return Response{}, err
	}
	for {
		line, err := l.next()
		if err != nil {
			return Response{}, err
		}
		if len(line) == 0 {
			return resp, nil
		}
		field, value, err := fieldLine(line)
		if err != nil {
			return Response{}, err
		}
		if resp.Error == "" && bytes.EqualFold(field, proxyStatus) {
			resp.Error, resp.RCode = proxyError(value)
		}
	}
}

// statusLine reads `HTTP/1.1 200 reason` (RFC 9112, section 4). The blank before an empty reason may be missing:
// many proxies forget it.
func statusLine(line []byte) (Response, error) {
	rest := line[len(versionPrefix):]
	if len(rest) < 5 || !isDigit(rest[0]) || rest[1] != ' ' || (len(rest) > 5 && rest[5] != ' ') {
		return Response{}, fmt.Errorf("%w: the status line", ErrMalformed)
	}
	status := 0
	for _, c := range rest[2:5] {
		if !isDigit(c) {
			return Response{}, fmt.Errorf("%w: the status is no number", ErrMalformed)
		}
		status = 10*status + int(c-'0')
	}
	if status < 100 || status > 599 {
		return Response{}, fmt.Errorf("%w: status %d", ErrMalformed, status)
	}
	reason := rest[min(6, len(rest)):]
	if !isText(reason) {
		return Response{}, fmt.Errorf("%w: a control character in the reason", ErrMalformed)
	}
	return Response{Status: status, Reason: string(reason)}, nil
}

// fieldLine reads `name: value` (RFC 9112, section 5). A line that continues the one before is refused, and so is a
// blank before the colon.
func fieldLine(line []byte) (field, value []byte, err error) {
	field, value, found := bytes.Cut(line, []byte{':'})
	if !found || len(field) == 0 {
		return nil, nil, fmt.Errorf("%w: a field without a name", ErrMalformed)
	}
	for _, c := range field {
		if !isToken(c) {
			return nil, nil, fmt.Errorf("%w: a field's name", ErrMalformed)
		}
	}
	if !isText(value) {
		return nil, nil, fmt.Errorf("%w: a control character in a field", ErrMalformed)
	}
	return field, bytes.Trim(value, " \t"), nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isToken says whether c may stand in a token (RFC 9110, section 5.6.2).
func isToken(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0
}

// isText says that b holds no control character but HTAB.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
