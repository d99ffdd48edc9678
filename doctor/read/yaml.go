package read

import (
	"encoding/json"
	"errors"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of YAML, whose parser recurses and whose work grows faster than its input.
const (
	maxYAML       = 1 << 20 // octets
	maxYAMLDepth  = 64
	maxYAMLIndent = 200    // columns before a key or an entry
	maxYAMLKeys   = 20_000 // keys and entries of a file
	maxYAMLMarks  = 200    // anchors, aliases and tags
	maxDocuments  = 1000
)

var errYAML = errors.New("larger, deeper or with more keys than a manifest is")

// ParseYAML reads the documents of a YAML file. What an alias or a merge key stands for is left out, and so is what a template would put
// there: such a file is mostly no YAML before it is filled in, and then an error.
func ParseYAML(b []byte) (docs []Node, err error) {
	if len(b) > maxYAML {
		return nil, errYAML
	}
	tokens := lexer.Tokenize(string(b))
	if !modest(tokens) {
		return nil, errYAML
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, errors.New("not YAML") // the parser's own text shows the file, with what may be secret in it
	}
	for _, doc := range file.Docs {
		if doc.Body != nil && len(docs) < maxDocuments {
			docs = append(docs, fromYAML(doc.Body))
		}
	}
	return docs, nil
}

// modest bounds what the parser is given.
func modest(tokens token.Tokens) bool {
	depth, keys, marks := 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.MappingValueType, token.SequenceEntryType, token.CollectEntryType:
			keys++
			if depth == 0 && t.Position.Column > maxYAMLIndent {
				return false
			}
		case token.AnchorType, token.AliasType, token.TagType, token.MappingKeyType, token.DirectiveType, token.MergeKeyType:
			marks++
		}
		if depth > maxYAMLDepth || keys > maxYAMLKeys || marks > maxYAMLMarks {
			return false
		}
	}
	return true
}

// fromYAML takes a value over.
func fromYAML(n ast.Node) Node {
	line := 0
	if t := n.GetToken(); t != nil {
		line = max(t.Position.Line, 1)
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		out := Node{Line: line, Fields: map[string]Node{}}
		for _, pair := range n.Values {
			out.pair(pair)
		}
		return out
	case *ast.MappingValueNode:
		out := Node{Line: line, Fields: map[string]Node{}}
		out.pair(n)
		return out
	case *ast.SequenceNode:
		out := Node{Line: line, Items: []Node{}}
		for _, one := range n.Values {
			out.Items = append(out.Items, fromYAML(one))
		}
		return out
	case *ast.AnchorNode:
		return fromYAML(n.Value)
	case *ast.TagNode:
		return fromYAML(n.Value)
	case *ast.BoolNode:
		return Node{Line: line, Scalar: n.Value}
	case *ast.IntegerNode:
		return Node{Line: line, Scalar: json.Number(n.Token.Value)}
	case *ast.StringNode:
		return Node{Line: line, Scalar: n.Value}
	case *ast.LiteralNode:
		return Node{Line: line, Scalar: n.Value.Value}
	}
	return Node{Line: line}
}

// pair puts a key and its value into an object.
func (n Node) pair(p *ast.MappingValueNode) {
	key := p.Key.GetToken()
	if key == nil || p.Value == nil {
		return
	}
	v := fromYAML(p.Value)
	if p.Value.Type() == ast.MappingType || p.Value.Type() == ast.MappingValueType {
		v.Line = key.Position.Line // that of the name, not that of its first key
	}
	n.Fields[key.Value] = v
}
