package dnswire

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestTheStringsOfATXTRecordAreGivenOctetByOctet(t *testing.T) {
	var want []byte
	for i := range 400 {
		want = append(want, byte(i))
	}
	var text strings.Builder
	text.WriteString("a.example. 60 TXT")
	for _, part := range [][]byte{want[:255], want[255:]} {
		text.WriteString(` "`)
		for _, b := range part {
			fmt.Fprintf(&text, `\%03d`, b)
		}
		text.WriteByte('"')
	}
	r, err := ParseRecord(text.String())
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := r.Strings(); !ok || !bytes.Equal(got, want) {
		t.Errorf("%x, %v", got, ok)
	}
	other, err := ParseRecord("a.example. 60 A 192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := other.Strings(); ok {
		t.Error("an address has strings")
	}
}
