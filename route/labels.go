package route

import (
	"crypto/rand"
	"strings"

	"watertight/client"
	"watertight/fault"
)

// Labels are what a rule asks of the way out, beside what the client's own name does. The zero Labels ask nothing.
type Labels struct {
	Country string // lower case, two letters
	Session string // a word of the rule's own
	// PerRequest gives each connection a session of its own. Session is empty then.
	PerRequest bool
}

// of gives the identity of a client with the labels of the rule. What the client asks for too, and otherwise, is refused:
// neither is dropped in silence. A session of its own is for a connection: a question alone has none.
func (l Labels) of(id client.Identity, connection bool) (client.Identity, error) {
	if l == (Labels{}) {
		return id, nil
	}
	if l.Country != "" {
		if id.Country != "" && id.Country != l.Country {
			return id, contradiction("country")
		}
		id.Country = l.Country
	}
	session := l.Session
	if l.PerRequest && connection {
		session = strings.ToLower(rand.Text())[:sessionLength]
	}
	if session != "" || l.PerRequest {
		if id.Session != "" && id.Session != session {
			return id, contradiction("session")
		}
		id.Session = session
	}
	return id, nil
}

// sessionLength is that of a session for one request, in octets: 80 bits.
const sessionLength = 16

func contradiction(label string) error {
	return &fault.Error{
		Code: fault.PolicyRoute, Message: "the client asks for another " + label + " than its route",
		Hint: "leave -" + label + "-… out of the client's user name, or take `" + label + "` out of the route",
	}
}
