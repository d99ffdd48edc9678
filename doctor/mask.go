package doctor

import (
	"regexp"
	"strings"
)

// maxText is how much of a line stands in evidence, in octets.
const maxText = 240

var (
	userinfo = regexp.MustCompile(`((?:[A-Za-z][A-Za-z0-9+.-]*)?://)([^\s/@"':]*):([^\s"']*)@`) // to the last @ of the word
	token    = regexp.MustCompile(`(https?://)[^\s/@"':]{16,}@`)                                // a user so long is a token: https://TOKEN@host
	bare     = regexp.MustCompile(`(=\s*["']?)([A-Za-z0-9._~%+-]+):([^\s"'/=][^\s"'/]*)@`)
	asked    = regexp.MustCompile(`((?:^|\s)(?:-u|-U|--user|--proxy-user|--proxy-auth)[\s=]+["']?[^\s:"']*:)[^\s"']+`) // of curl, wget, ncat
	secret   = regexp.MustCompile(`(?i)((?:^|[\s"'_.:/<-])(?:password|passwd|pass|proxypassword|secret(?:[_-]?access)?[_-]?key|private[_-]?key|secret|token|_auth|_authtoken|api[_-]?key|authorization)\b["']?\s*[=:>]\s*)("[^"]*"|'[^']*'|[^\s"'<]+(?:\s+[^\s"'<]+)?)`)
)

// Mask hides what may be a secret in a line of a file or of a command: the password of a URL, and the value of what is
// called a password, a token or a key.
func Mask(text string) string {
	text = userinfo.ReplaceAllString(text, "$1$2:***@")
	text = token.ReplaceAllString(text, "$1***@")
	text = asked.ReplaceAllString(text, "$1***")
	text = bare.ReplaceAllString(text, "$1$2:***@")
	return secret.ReplaceAllString(text, "$1***")
}

// Plain makes one line of a text that may hold anything: nothing in it moves a terminal, ends the line or turns it around.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return ' ' // of a terminal, or what turns text around
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// clip makes one short line of it.
func clip(text string) string {
	text = Plain(text)
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

var bareWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=,-]+$`)

// Quote makes one word of a shell of a text that may hold anything, so that a fix with it can be pasted.
func Quote(text string) string {
	text = Plain(text)
	if bareWord.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
