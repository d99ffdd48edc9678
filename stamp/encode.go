package stamp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"

	"golang.org/x/net/idna"

	"watertight/name"
)

// Encode writes the stamp in canonical form: ports only where they are not the kind's own, but always for a relay of
// DNSCrypt; names in Unicode, as the draft (section "Internationalization") asks; property bits without a meaning
// zero. A Stamp of which something would be lost, because it is malformed or its kind has no place for it, is an
// error that wraps [ErrStamp].
func (s Stamp) Encode() (string, error) {
	l, ok := layouts[s.Kind]
	if !ok {
		return "", fmt.Errorf("%w: protocol 0x%02x is not known", ErrStamp, uint8(s.Kind))
	}
	w := writer{b: []byte{byte(s.Kind)}}
	if l.props {
		w.props(s.Props)
	}
	if l.addr {
		w.text("address", s.address(l))
	}
	if l.crypto {
		w.text("public key", string(s.PublicKey[:]))
		w.text("provider name", s.Provider)
	}
	if l.tls {
		items := make([]string, len(s.Hashes))
		for i := range s.Hashes {
			items[i] = string(s.Hashes[i][:])
		}
		w.list("certificate hash", items)
	}
	if l.host {
		w.text("host name", hostText(s.Host, l.port))
	}
	if l.path {
		w.text("path", s.Path)
	}
	if l.tls && len(s.Bootstraps) > 0 {
		items := make([]string, len(s.Bootstraps))
		for i, a := range s.Bootstraps {
			items[i] = addrText(a, portPlain)
		}
		w.list("bootstrap address", items)
	}
	if w.err != nil {
		return "", w.err
	}
	text := scheme + encoding.EncodeToString(w.b)
	// Whoever reads the text must get this very Stamp: the reader is the one place that knows what is well formed.
	back, err := Parse(text)
	if err != nil {
		return "", err
	}
	if field := s.differs(back); field != "" {
		return "", fmt.Errorf("%w: a %s stamp cannot hold its %s", ErrStamp, s.Kind, field)
	}
	return text, nil
}

// String gives the stamp as [Stamp.Encode] writes it, and for a malformed one the reason in parentheses.
func (s Stamp) String() string {
	text, err := s.Encode()
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return text
}

// differs names the first field that is not the same, an empty list being as good as none.
func (s Stamp) differs(t Stamp) string {
	a, b := reflect.ValueOf(s), reflect.ValueOf(t)
	for i := range a.NumField() {
		x, y := a.Field(i), b.Field(i)
		if x.Kind() == reflect.Slice && x.Len() == 0 && y.Len() == 0 {
			continue
		}
		if !reflect.DeepEqual(x.Interface(), y.Interface()) {
			return a.Type().Field(i).Name
		}
	}
	return ""
}

// address gives the text of Addr. Where the kind has a host, the port stands there.
func (s Stamp) address(l layout) string {
	switch {
	case !s.Addr.IsValid():
		return ""
	case l.host:
		return addrText(s.Addr, s.Addr.Port())
	case s.Kind == DNSCryptRelay:
		return s.Addr.String()
	}
	return addrText(s.Addr, l.port)
}

func addrText(a netip.AddrPort, standard uint16) string {
	switch {
	case a.Port() != standard:
		return a.String()
	case a.Addr().Is6():
		return "[" + a.Addr().String() + "]"
	}
	return a.Addr().String()
}

// hostText gives the host in Unicode, unless that would not lead back to the same A-labels, with its port if it is not
// the standard one.
func hostText(t name.Target, standard uint16) string {
	if ap, ok := t.AddrPort(); ok {
		return addrText(ap, standard)
	}
	text := t.Host().String()
	if u, err := idna.Lookup.ToUnicode(text); err == nil {
		if h, err := name.ParseHost(u); err == nil && h == t.Host() {
			text = u
		}
	}
	if t.Port() != standard {
		text += ":" + strconv.Itoa(int(t.Port()))
	}
	return text
}

// writer is the counterpart of reader.
type writer struct {
	b   []byte
	err error
}

func (w *writer) props(p Props) {
	var v uint64
	if p.DNSSEC {
		v |= bitDNSSEC
	}
	if p.NoLog {
		v |= bitNoLog
	}
	if p.NoFilter {
		v |= bitNoFilter
	}
	w.b = binary.LittleEndian.AppendUint64(w.b, v)
}

func (w *writer) put(field, s string, limit int, top byte) {
	if w.err == nil && len(s) > limit {
		w.err = fmt.Errorf("%w: %s: %d octets, and at most %d fit", ErrStamp, field, len(s), limit)
	}
	if w.err == nil {
		w.b = append(append(w.b, top|byte(len(s))), s...)
	}
}

func (w *writer) text(field, s string) { w.put(field, s, maxField, 0) }

func (w *writer) list(field string, items []string) {
	if len(items) == 0 {
		items = []string{""}
	}
	for i, s := range items {
		var top byte
		if i < len(items)-1 {
			top = 0x80
		}
		w.put(field, s, maxItem, top)
	}
}
