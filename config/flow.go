package config

import (
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// joinPlain mends what the lexer does to colons inside braces: it takes the colon of `{a: [127.0.0.1:8080]}` for the
// end of a key. In YAML 1.2 (section 7.3.3, rule ns-plain-char) a colon with a character of a plain text right behind
// it belongs to that text, unless it follows a key in quotes.
func joinPlain(tokens token.Tokens) token.Tokens {
	joined := make(token.Tokens, 0, len(tokens))
	depth := 0
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		}
		last := len(joined) - 1
		if depth <= 0 || t.Type != token.MappingValueType || i+1 == len(tokens) || !touches(t, tokens[i+1]) || !inPlain(tokens[i+1]) {
			if last >= 0 && depth > 0 && isJoint(joined[last]) && isPlain(t) && touches(joined[last], t) {
				joined[last] = glue(joined[last], t)
				continue
			}
			joined = append(joined, t)
			continue
		}
		switch {
		case last >= 0 && isPlain(joined[last]) && touches(joined[last], t):
			joined[last] = glue(joined[last], t)
		case last >= 0 && (joined[last].Indicator == token.QuotedScalarIndicator || closes(joined[last])) && touches(joined[last], t):
			joined = append(joined, t) // "key":value, as JSON has it
		default:
			joined = append(joined, glue(t, nil)) // the text begins with a colon: ::1
		}
	}
	for i, t := range joined {
		t.Prev, t.Next = nil, nil
		if i > 0 {
			t.Prev = joined[i-1]
			joined[i-1].Next = t
		}
	}
	return joined
}

// glue makes one plain text of two tokens that touch, or of one alone.
func glue(a, b *token.Token) *token.Token {
	value, origin := a.Value, a.Origin
	if b != nil {
		value, origin = value+b.Value, origin+b.Origin
	}
	return token.String(value, origin, a.Position)
}

// touches says that b begins right where a ends.
func touches(a, b *token.Token) bool {
	return a.Position.Line == b.Position.Line && a.Position.Column+width(a) == b.Position.Column
}

// width is how many columns a token takes on its line.
func width(t *token.Token) int {
	w := utf8.RuneCountInString(t.Value)
	if t.Indicator == token.QuotedScalarIndicator {
		w += 2 // good enough: an escape makes it longer, and then nothing is joined
	}
	return w
}

// isJoint says that a plain text ends in a colon, so that what touches it belongs to it.
func isJoint(t *token.Token) bool {
	return isPlain(t) && t.Value != "" && t.Value[len(t.Value)-1] == ':'
}

// inPlain says that a token can be the next part of a plain text.
func inPlain(t *token.Token) bool { return isPlain(t) || t.Type == token.MappingValueType }

// isPlain says that a token is a scalar without quotes.
func isPlain(t *token.Token) bool {
	switch t.Type {
	case token.StringType, token.IntegerType, token.FloatType, token.BoolType, token.NullType, token.HexIntegerType,
		token.OctetIntegerType, token.BinaryIntegerType, token.InfinityType, token.NanType:
		return t.Indicator != token.QuotedScalarIndicator
	default:
		return false
	}
}

func closes(t *token.Token) bool {
	return t.Type == token.SequenceEndType || t.Type == token.MappingEndType
}
