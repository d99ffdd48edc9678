package credential

import (
	"regexp"
	"strings"
)

// Form is what a template asks for: two of one form can be filled in for the same identities, unless what comes out is too long.
func (t Template) Form() string {
	if t.account {
		return "account " + t.provider
	}
	var b strings.Builder
	for _, text := range []string{t.user, t.password} {
		for _, part := range form.FindAllString(text, -1) {
			b.WriteString(part)
		}
		b.WriteByte(':')
	}
	return b.String()
}

// form is what is no literal text in a template. A brace that is meant is in percent form.
var form = regexp.MustCompile(`\{[a-z]+\}|[][]`)
