package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"time"

	"watertight/dnscrypt"
	"watertight/dnswire"
)

const (
	// certificateAge is after how long a certificate is asked for again, whatever it says of itself: resolvers change
	// theirs every day, and drop questions under one that they have forgotten.
	certificateAge = time.Hour
	// resendAfter is how long the first packet of a question is waited for, and then twice as long each time.
	resendAfter = 500 * time.Millisecond
	// packetPatience is how long the certificate is asked for in datagrams before it is asked for over TCP: not every
	// network carries datagrams to the port of HTTPS.
	packetPatience = 2 * time.Second
	// paddedQuestion is how long the question for a certificate is where a relay carries it, in octets: the relay sends
	// no answer back that is longer than the question was.
	paddedQuestion = 512
	// relayedTCP is the first minimum of a question over TCP to a relay, which may send it on in a datagram.
	relayedTCP = 1024
)

var errCertificates = errors.New("an answer without a certificate")

// cryptOpener opens sessions of DNSCrypt version 2 (https://dnscrypt.info/protocol): a certificate of the resolver,
// signed by its provider, and a key pair of this end that is used with that certificate and no other.
type cryptOpener struct {
	c      *Client
	to     netip.AddrPort // the only address that is dialled
	header []byte         // what stands before every packet to a relay
}

func newDNSCrypt(c *Client) (opener, error) {
	if _, err := dnscrypt.ProviderName(c.up.ServerName); err != nil {
		return nil, err
	}
	if len(c.up.Addrs) != 1 {
		return nil, errors.New("DNSCrypt has one address, that of the stamp")
	}
	if (c.up.Relay != "") != c.up.Behind.IsValid() {
		return nil, errors.New("a relay without a resolver behind it, or the reverse")
	}
	o := &cryptOpener{c: c, to: c.up.Addrs[0]}
	var err error
	if c.up.Relay != "" {
		o.header, err = dnscrypt.AppendRelayHeader(nil, c.up.Behind)
	}
	return o, err
}

// forget has nothing to drop: the keys are the link's.
func (o *cryptOpener) forget() {}

// open fetches the certificate, in datagrams where the way out carries them. What cannot be used of it that came so is
// asked for again over TCP, since anybody can send a datagram; and so is everything where a hop that could carry datagrams
// does not.
func (o *cryptOpener) open(ctx context.Context) (link, *Failure) {
	if o.c.options.Way.DialPacket != nil {
		if flow, fail := o.c.dialPacket(ctx, o.to); fail == nil {
			if records, err := o.askPackets(ctx, flow); err == nil {
				if session, fail := o.session(records); fail == nil {
					return newCryptLink(o, session, flow), nil
				}
			}
			flow.Close()
		}
	}
	records, fail := o.askTCP(ctx)
	if fail != nil {
		return nil, fail
	}
	session, fail := o.session(records)
	if fail != nil {
		return nil, fail
	}
	return newCryptLink(o, session, nil), nil
}

// session chooses a certificate and makes the key pair that goes with it.
func (o *cryptOpener) session(records [][]byte) (*dnscrypt.Client, *Failure) {
	if len(records) == 0 {
		return nil, o.c.unreachable("has no certificate under "+o.c.up.ServerName, errCertificates)
	}
	certificate, err := dnscrypt.Choose(records, o.c.up.PublicKey[:], o.c.now())
	var session *dnscrypt.Client
	if err == nil {
		session, err = dnscrypt.NewClient(certificate)
	}
	switch {
	case err == nil:
		return session, nil
	case errors.Is(err, dnscrypt.ErrExpired), errors.Is(err, dnscrypt.ErrNotYet):
		return nil, o.c.untrusted("its certificate is expired or not valid yet", "check this host's clock; if it is right, the resolver's operator has to renew", err)
	case errors.Is(err, dnscrypt.ErrSignature):
		return nil, o.c.untrusted("its certificate was not signed by the key in the stamp", "get the stamp anew from the resolver's operator", err)
	case errors.Is(err, dnscrypt.ErrUnsupported):
		return nil, o.c.untrusted("its certificate is for an encryption that is not supported", "", err)
	}
	return nil, o.c.untrusted("its certificate cannot be used", "", err)
}

// question builds the question for the certificates, which travels in clear to whoever is dialled: it tells nothing but
// the provider's name. Where a relay carries it, it is padded.
func (o *cryptOpener) question(padded int) (dnswire.Question, uint16, []byte, error) {
	if o.header == nil {
		padded = 0
	}
	q := dnswire.Question{Name: o.c.up.ServerName, Type: dnswire.TXT}
	id := uint16(rand.Uint32())
	msg, err := dnswire.Query(q, id, padded)
	return q, id, msg, err
}

// relayed puts the header for the relay before a packet, where there is one.
func (o *cryptOpener) relayed(packet []byte) []byte {
	return append(o.header[:len(o.header):len(o.header)], packet...)
}

// records gives the data of the TXT records of an answer.
func (o *cryptOpener) records(msg []byte, q dnswire.Question, id uint16) ([][]byte, error) {
	a, err := dnswire.ParseAnswer(msg, q, id)
	if err != nil {
		return nil, err
	}
	var records [][]byte
	for _, r := range a.Final() {
		if data, ok := r.Strings(); ok {
			records = append(records, data)
		}
	}
	return records, nil
}

// askPackets asks for the certificates over a flow of datagrams, and leaves it without a deadline. What is no answer is
// passed over.
func (o *cryptOpener) askPackets(ctx context.Context, flow net.Conn) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, packetPatience)
	defer cancel()
	q, id, msg, err := o.question(paddedQuestion)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { flow.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	packet, buf := o.relayed(msg), make([]byte, 4096)
	for wait := resendAfter; ; wait *= 2 {
		if _, err := flow.Write(packet); err != nil {
			return nil, err
		}
		if err := flow.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return nil, err
		}
		for ctx.Err() == nil {
			n, err := flow.Read(buf)
			if isTimeout(err) {
				break
			}
			if err != nil {
				return nil, err
			}
			if n >= 2 && binary.BigEndian.Uint16(buf) == id && truncated(buf[:n]) {
				return nil, errCertificates
			}
			if records, err := o.records(buf[:n], q, id); err == nil {
				if !stop() {
					return nil, ctx.Err()
				}
				return records, flow.SetReadDeadline(time.Time{})
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// askTCP asks for the certificates over a connection of their own.
func (o *cryptOpener) askTCP(ctx context.Context) ([][]byte, *Failure) {
	q, id, msg, err := o.question(2 * paddedQuestion)
	if err != nil {
		return nil, o.c.unreachable("has a provider that cannot be asked for", err)
	}
	reply, fail := o.overTCP(ctx, msg)
	if fail != nil {
		fail.broken = false // there is no question yet
		return nil, fail
	}
	records, err := o.records(reply, q, id)
	if err != nil {
		return nil, o.c.unreachable("sent no certificate but a "+err.Error(), err)
	}
	return records, nil
}

// overTCP sends one packet over a connection of its own, and gives the one that comes back.
func (o *cryptOpener) overTCP(ctx context.Context, packet []byte) ([]byte, *Failure) {
	conn, fail := o.c.dial(ctx, o.to)
	if fail != nil {
		return nil, fail
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	packet = o.relayed(packet)
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(packet)), uint16(len(packet)))
	_, err := conn.Write(append(framed, packet...))
	var reply []byte
	if err == nil {
		reply, err = readMessage(conn)
	}
	switch {
	case err == nil:
		return reply, nil
	case ctx.Err() != nil || isTimeout(err):
		return nil, o.c.timeout(err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, o.c.unreachable("refused the connection", err)
	}
	return nil, o.c.broke(err)
}
