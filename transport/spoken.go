package transport

// spoken is what a connection speaks, and whether its hello was encrypted (RFC 9849).
type spoken struct {
	protocol string
	ech      bool
}

// tells is a link that can say so.
type tells interface{ spoken() spoken }

func (l *dotLink) spoken() spoken { return spoken{"DoT", l.conn.ConnectionState().ECHAccepted} }

func (l *doqLink) spoken() spoken { return spoken{"DoQ", l.conn.ConnectionState().TLS.ECHAccepted} }

func (l *doh3Link) spoken() spoken {
	return spoken{"DoH over HTTP/3", l.conn.ConnectionState().TLS.ECHAccepted}
}

func (l *dohLink) spoken() spoken { return spoken{"DoH over " + l.version, l.ech} }

func (l *odohLink) spoken() spoken { return spoken{"ODoH over " + l.version, l.ech} }

func (l *cryptLink) spoken() spoken { return spoken{protocol: "DNSCrypt"} }

func (l *plainLink) spoken() spoken { return spoken{protocol: "plain DNS inside the tunnel"} }

// spoken is that of the youngest connection in use.
func (p *links) spoken() (s spoken) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.slots); n > 0 {
		if l, ok := p.slots[n-1].link.(tells); ok {
			return l.spoken()
		}
	}
	return s
}
