package read

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Node is a value of a JSON text and the line it stands on. The zero value is one that is not there.
type Node struct {
	Line   int             // of the value's first token, from 1; 0 where there is no value
	Fields map[string]Node // of an object
	Items  []Node          // of an array
	Scalar any             // string, json.Number, bool, or nil
}

// maxDepth is how deep objects and arrays may nest.
const maxDepth = 200

// ParseJSON reads one JSON text (RFC 8259). Where a name stands twice in an object, the last one counts, as for most readers.
func ParseJSON(b []byte) (Node, error) {
	r := &jsonReader{text: b, dec: json.NewDecoder(bytes.NewReader(b)), line: 1}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err != nil {
		return Node{}, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := r.dec.Token(); err == nil {
		return Node{}, errors.New("not JSON: more than one value")
	}
	return n, nil
}

// jsonReader counts lines while it goes.
type jsonReader struct {
	text []byte
	dec  *json.Decoder
	at   int // up to here lines are counted
	line int
}

// here gives the line on which the last token ends, which for all but strings with line ends, which JSON does not have, is where it
// begins.
func (r *jsonReader) here() int {
	if end := int(r.dec.InputOffset()); end > r.at {
		r.line += bytes.Count(r.text[r.at:end], []byte{'\n'})
		r.at = end
	}
	return r.line
}

// value reads one value.
func (r *jsonReader) value(depth int) (Node, error) {
	if depth > maxDepth {
		return Node{}, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	t, err := r.dec.Token()
	if err != nil {
		return Node{}, err
	}
	n := Node{Line: r.here()}
	switch t {
	case json.Delim('{'):
		n.Fields = map[string]Node{}
		for r.dec.More() {
			key, err := r.dec.Token()
			if err != nil {
				return Node{}, err
			}
			name, _ := key.(string) // of an object's names the decoder gives nothing else
			if n.Fields[name], err = r.value(depth + 1); err != nil {
				return Node{}, err
			}
		}
		_, err = r.dec.Token()
	case json.Delim('['):
		n.Items = []Node{}
		for r.dec.More() {
			item, err := r.value(depth + 1)
			if err != nil {
				return Node{}, err
			}
			n.Items = append(n.Items, item)
		}
		_, err = r.dec.Token()
	default:
		n.Scalar = t
	}
	return n, err
}

// Get goes down by names. What is not there is the zero Node.
func (n Node) Get(path ...string) Node {
	for _, name := range path {
		n = n.Fields[name]
	}
	return n
}

// There tells whether there is a value; null is one.
func (n Node) There() bool { return n.Line != 0 }

// Text gives a string, and "" for all else.
func (n Node) Text() string {
	s, _ := n.Scalar.(string)
	return s
}

// Bool gives a boolean, and tells whether it is one.
func (n Node) Bool() (value, ok bool) {
	value, ok = n.Scalar.(bool)
	return value, ok
}

// Int gives a whole number, and tells whether it is one.
func (n Node) Int() (int, bool) {
	num, ok := n.Scalar.(json.Number)
	if !ok {
		return 0, false
	}
	v, err := num.Int64()
	return int(v), err == nil
}

// Texts gives the strings of an array, without what is no string.
func (n Node) Texts() []string {
	var all []string
	for _, one := range n.Items {
		if s, ok := one.Scalar.(string); ok {
			all = append(all, s)
		}
	}
	return all
}

// Word is a value and the line it stands on, from 1; 0 if the line is not known.
type Word struct {
	Text string
	Line int
}
