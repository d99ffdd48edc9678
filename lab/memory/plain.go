package memory

import (
	"context"
	"encoding/binary"
	"io"
	"net"

	"watertight/dnswire"
	"watertight/lab/dnstest"
)

// plainPort is where DNS is spoken in clear text (RFC 1035).
const plainPort = 53

// servePlain is the ISP: it answers DNS over TCP in clear text (RFC 1035, section 4.2.2), and remembers the names.
func (in *Internet) servePlain(conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(in.ctx, func() { conn.Close() })()
	answer := in.zone.Handler()
	for {
		var head [2]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		msg := make([]byte, binary.BigEndian.Uint16(head[:]))
		if _, err := io.ReadFull(conn, msg); err != nil {
			return
		}
		q, err := dnswire.ParseRequest(msg)
		if err != nil {
			return
		}
		in.learn(ISP, q.Name)
		reply := answer(in.ctx, &dnstest.Query{Request: *q, Raw: msg}).Wire
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}
