package dnswire

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/miekg/dns"
)

// record is a record on the wire, of class IN, with its owner as given.
func record(owner []byte, t Type, data string) []byte {
	b := append(append([]byte(nil), owner...), byte(t>>8), byte(t), 0, ClassIN, 0, 0, 0, 60)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
}

// message is the reply to question with these records, each in its section: 0 the answer, 1 the authority, 2 the rest.
func message(t testing.TB, sections [3][][]byte) []byte {
	t.Helper()
	b := reply(t, question, 0)
	b = append([]byte(nil), b[:skipName(b, headerLen)+4]...)
	for i, records := range sections {
		binary.BigEndian.PutUint16(b[6+2*i:], uint16(len(records)))
		for _, r := range records {
			b = append(b, r...)
		}
	}
	return b
}

// What is kept of a message is kept without its additional section: a name that leads there, which RFC 1035, section 4.1.4,
// does not have, would be another name by then.
func TestANameThatLeadsIntoWhatIsNotKeptIsMalformed(t *testing.T) {
	asked := []byte{0xC0, headerLen}
	questionLen := len(message(t, [3][][]byte{})) - headerLen
	beyond := func(behind int) []byte { // a pointer to the owner of the first additional record, behind so many octets of answer
		return binary.BigEndian.AppendUint16(nil, 0xC000|uint16(headerLen+questionLen+behind))
	}
	extra := record([]byte("\x03www\x04shop\x07example\x00"), A, "\x01\x02\x03\x04")
	for what, m := range map[string][3][][]byte{
		"an owner":            {{record(beyond(16), A, "\x01\x02\x03\x04")}, nil, {extra}},
		"the end of a chain":  {{record(asked, CNAME, string(beyond(14)))}, nil, {extra}},
		"an owner, in header": {{record([]byte{0xC0, 4}, A, "\x01\x02\x03\x04")}, nil, {extra}},
	} {
		if a, err := ParseAnswer(message(t, m), question, 7); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", what, a, err)
		}
	}
	good := message(t, [3][][]byte{{record(asked, A, "\x01\x02\x03\x04")}, nil, {extra}})
	if a, err := ParseAnswer(good, question, 7); err != nil || len(a.Records) != 1 {
		t.Errorf("the good one: %+v, %v", a, err)
	}
}

func TestARecordThatEndsTooEarlyIsNotPassedOn(t *testing.T) {
	asked := []byte{0xC0, headerLen}
	if a, err := ParseAnswer(message(t, [3][][]byte{{record(asked, CNAME, "")}}), question, 7); !errors.Is(err, ErrMalformed) {
		t.Errorf("a CNAME record without a name: %+v, %v", a, err)
	}
	a, err := ParseAnswer(message(t, [3][][]byte{nil, {record(asked, SOA, "\x00")}}), question, 7)
	if err != nil || a.TTL != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
	var client Asked
	if _, err := client.Read(packed(t, func(m *dns.Msg) { m.Question[0].Name, m.Question[0].Qtype = question.Name+".", uint16(question.Type) })); err != nil {
		t.Fatal(err)
	}
	if out, err := client.AppendReply(nil, a, Said{}); !errors.Is(err, ErrMalformed) {
		t.Errorf("a client is told %x, %v", out, err)
	}
}
