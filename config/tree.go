package config

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a configuration file. A file within them is read in well under a second.
const (
	MaxFile   = 1 << 20 // octets
	maxDepth  = 32      // maps and lists in each other
	maxIndent = 200     // columns before a key or a list entry in block form
	maxKeys   = 20_000  // keys in the whole file
	maxItems  = 100_000 // entries of lists in the whole file
	maxMarks  = 100     // anchors, tags and explicit keys, each of which is an error: more are not even parsed
)

// kind is what stands at a place of the file.
type kind int

const (
	kindText kind = iota // any scalar but null
	kindNull             // nothing, `~` or `null`
	kindList
	kindMap
	kindWrong // reported already: whoever reads it says nothing more
)

// pos is a place in the file, from 1; the zero pos is none.
type pos struct{ line, column int }

// node is one value of the file with its place. The tree holds no anchor, no alias and no tag.
type node struct {
	kind   kind
	text   string // of a scalar, as YAML reads it as a string
	quoted bool   // the scalar stood in quotes or was a block
	pos    pos
	list   []*node
	pairs  []pair
}

type pair struct{ key, value *node }

// parseTree reads YAML, and JSON as the subset that it is. What is wrong is reported; the tree is nil if nothing can
// be said about the rest of the file. An empty file is an empty map.
func (l *loader) parseTree(data []byte) *node {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !l.checkText(data) {
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	if !l.checkTokens(tokens) {
		return nil
	}
	file, err := parser.Parse(joinPlain(tokens), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		l.syntax(err, data)
		return nil
	}
	var root *node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		n := l.convert(doc.Body)
		if root != nil {
			l.problem(n.pos, "a second YAML document begins", "keep one document in the file: remove `---` and what follows, or merge the two")
			break
		}
		root = n
	}
	if root == nil {
		return &node{kind: kindMap, pos: pos{1, 1}}
	}
	return root
}

// checkText refuses what is not text: the parser would take it, and an editor would not show it.
func (l *loader) checkText(data []byte) bool {
	line, column := 1, 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			l.problem(pos{line, column}, "this octet is not UTF-8 text", "save the file as UTF-8")
			return false
		case r < ' ' && r != '\n' && r != '\r' && r != '\t', r >= 0x7f && r < 0xa0:
			l.problem(pos{line, column}, "a control character stands here", "remove it; in a quoted string it can be written as an escape such as \"\\x1b\"")
			return false
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		i += size
	}
	return true
}

// checkTokens bounds what the parser is given: it recurses, and its work grows with the square of the keys.
func (l *loader) checkTokens(tokens token.Tokens) bool {
	depth, keys, items, marks := 0, 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.MappingValueType:
			keys++
		case token.SequenceEntryType, token.CollectEntryType:
			items++
		case token.AnchorType, token.AliasType, token.TagType, token.MappingKeyType, token.DirectiveType, token.MergeKeyType:
			marks++
		}
		if depth > maxDepth {
			l.problem(place(t), "maps and lists stand more than 32 deep in each other", "no key needs that: look for a bracket too many")
			return false
		}
		if depth == 0 && t.Position.Column > maxIndent && isEntry(t) {
			l.problem(place(t), "a key or list entry is indented by more than 200 columns", "no key needs that: indent by two spaces for each level")
			return false
		}
	}
	if keys > maxKeys {
		l.problem(pos{1, 1}, "the file has more than 20000 keys", "write shorter lists as [a, b] under one key, or give the routes fewer, wider patterns")
		return false
	}
	if items > maxItems {
		l.problem(pos{1, 1}, "the lists of the file have more than 100000 entries", "give the routes fewer, wider patterns")
		return false
	}
	if marks > maxMarks {
		l.problem(pos{1, 1}, "the file has more than 100 anchors, aliases and tags", "write the values out: none of them is read here")
		return false
	}
	return true
}

// isEntry says that a block begins at t or right before it.
func isEntry(t *token.Token) bool {
	switch t.Type {
	case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
		return true
	default:
		return t.Next != nil && t.Next.Type == token.MappingValueType
	}
}

func place(t *token.Token) pos {
	if t == nil || t.Position == nil {
		return pos{1, 1}
	}
	return pos{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// syntax reports what the parser could not read, without the excerpt that it would print: a password may stand there.
func (l *loader) syntax(err error, data []byte) {
	var e yaml.Error
	if !errors.As(err, &e) {
		l.problem(pos{1, 1}, "this is not valid YAML", "check indentation, brackets and quotes")
		return
	}
	what := strings.ReplaceAll(e.GetMessage(), "\t", "\\t")
	at := place(e.GetToken())
	l.problem(at, "this is not valid YAML: "+what, syntaxMend(what, hasReference(data, at.line)))
}

// hasReference says whether a secret is referred to in a line.
func hasReference(data []byte, line int) bool {
	n := 0
	for text := range bytes.Lines(data) {
		if n++; n == line {
			return bytes.Contains(text, []byte("${"))
		}
	}
	return false
}

func syntaxMend(what string, reference bool) string {
	switch {
	case reference && strings.Contains(what, "must be specified"):
		return "put the value with ${…} in quotes: inside of { } and [ ], YAML takes its brace for its own; else look for a missing bracket, brace or quote"
	case strings.Contains(what, "tab"), strings.Contains(what, `\t`):
		return "indent with spaces: YAML allows no tabs there"
	case strings.Contains(what, "reserved character"), strings.Contains(what, "directive"), strings.Contains(what, "alias"), strings.Contains(what, "anchor"):
		return "put the value in quotes"
	case strings.Contains(what, "mapping value is not allowed"):
		return "begin all keys of one map in one column, each on its own line, and put a value that has `: ` in it in quotes"
	case strings.Contains(what, "must be specified"), strings.Contains(what, "not find"), strings.Contains(what, "not found"):
		return "close what was opened: look for a missing bracket, brace or quote at this place or above it"
	default:
		return "check the indentation of this line and of the one above: keys of one map begin in one column"
	}
}

// convert turns the parser's tree into ours, and reports what is YAML but has no place in a configuration.
func (l *loader) convert(n ast.Node) *node {
	switch n := n.(type) {
	case *ast.MappingNode:
		m := &node{kind: kindMap, pos: place(n.Start)}
		for _, v := range n.Values {
			l.convertPair(m, v)
		}
		if !n.IsFlowStyle && len(m.pairs) > 0 {
			m.pos = m.pairs[0].key.pos
		}
		return m
	case *ast.MappingValueNode:
		m := &node{kind: kindMap, pos: place(n.Start)}
		l.convertPair(m, n)
		return m
	case *ast.SequenceNode:
		s := &node{kind: kindList, pos: place(n.Start)}
		for _, v := range n.Values {
			s.list = append(s.list, l.convert(v))
		}
		return s
	case *ast.AnchorNode:
		return l.wrong(place(n.Start), "`&` begins a YAML anchor, and anchors are not read here", "write the value out where it is used, or put it in quotes if it begins with `&`")
	case *ast.AliasNode:
		return l.wrong(place(n.Start), "an unquoted `*` begins a YAML alias, and aliases are not read here", "put a pattern that begins with a star in quotes: \"*.example.com\"")
	case *ast.TagNode:
		return l.wrong(place(n.Start), "`!` begins a YAML tag, and tags are not read here", "remove the tag, or put the value in quotes if it begins with `!`")
	case *ast.DirectiveNode:
		return l.wrong(place(n.Start), "YAML directives are not read here", "remove the line that begins with `%`")
	case *ast.NullNode:
		return &node{kind: kindNull, pos: place(n.Token)}
	case *ast.LiteralNode:
		return &node{kind: kindText, text: n.Value.Value, quoted: true, pos: place(n.Start)}
	case *ast.StringNode:
		quoted := n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType
		return &node{kind: kindText, text: n.Value, quoted: quoted, pos: place(n.Token)}
	case ast.ScalarNode:
		return &node{kind: kindText, text: n.GetToken().Value, pos: place(n.GetToken())}
	default:
		return l.wrong(place(n.GetToken()), "this has no place in a configuration", "write a text, a number, true or false, a list or a map")
	}
}

func (l *loader) convertPair(m *node, v *ast.MappingValueNode) {
	value := l.convert(v.Value)
	switch key := v.Key.(type) {
	case *ast.MergeKeyNode:
		l.problem(place(key.Token), "`<<` merges maps in YAML, and merging is not read here", "write the keys out")
	case *ast.MappingKeyNode:
		l.problem(place(key.Start), "`?` begins an explicit YAML key, which is not read here", "write `key: value`")
	default:
		k := l.convert(key)
		if k.kind == kindNull {
			k.kind, k.text = kindText, "null"
		}
		if k.kind == kindText {
			if value.kind == kindNull && value.pos.line == 1 && k.pos.line > 1 {
				value.pos = k.pos
			}
			m.pairs = append(m.pairs, pair{k, value})
		}
	}
}

func (l *loader) wrong(at pos, what, mend string) *node {
	l.problem(at, what, mend)
	return &node{kind: kindWrong, pos: at}
}
