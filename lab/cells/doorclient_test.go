package cells

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	miekg "github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"watertight/wire"
)

// askingRole is a client of the DNS door over QUIC and over HTTP/3, with authentication, for which Debian has none.
const askingRole = "asking"

// asking asks one question, prints the answer as dig does, and gives an exit code.
func asking(args []string) int {
	if err := askDoor(args, os.Stdout); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func askDoor(args []string, out io.Writer) error {
	var ca, server, cert, key string
	f := flag.NewFlagSet(askingRole, flag.ContinueOnError)
	f.StringVar(&ca, "ca", "", "who certifies the door")
	f.StringVar(&server, "name", "", "the name in the door's certificate")
	f.StringVar(&cert, "cert", "", "a certificate to show")
	f.StringVar(&key, "key", "", "its key")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 4 {
		return errors.New("want quic or h3, an address, a name and a type")
	}
	to, err := netip.ParseAddrPort(f.Arg(1))
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: server}
	config.RootCAs.AppendCertsFromPEM(authority)
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	from := netip.IPv4Unspecified()
	if to.Addr().Is6() {
		from = netip.IPv6Unspecified()
	}
	socket, err := wire.ListenUDP(netip.AddrPortFrom(from, 0))
	if err != nil {
		return err
	}
	defer socket.Close()
	transport := &quic.Transport{Conn: socket}
	defer transport.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	q := new(miekg.Msg).SetQuestion(miekg.Fqdn(f.Arg(2)), miekg.StringToType[f.Arg(3)])
	q.SetEdns0(1232, false).Id = 0
	b, err := q.Pack()
	if err != nil {
		return err
	}
	over := map[string]func(context.Context, *quic.Transport, netip.AddrPort, *tls.Config, []byte) ([]byte, error){"quic": overQUIC, "h3": overHTTP3}[f.Arg(0)]
	if over == nil {
		return fmt.Errorf("%q is neither quic nor h3", f.Arg(0))
	}
	if b, err = over(ctx, transport, to, config, b); err != nil {
		return err
	}
	var m miekg.Msg
	if err := m.Unpack(b); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%v\n", &m)
	return err
}

func overQUIC(ctx context.Context, t *quic.Transport, to netip.AddrPort, config *tls.Config, q []byte) ([]byte, error) {
	config.NextProtos = []string{"doq"}
	conn, err := t.Dial(ctx, net.UDPAddrFromAddrPort(to), config, nil)
	if err != nil {
		return nil, err
	}
	defer conn.CloseWithError(0, "")
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)); err != nil {
		return nil, err
	}
	_ = stream.Close()
	b, err := io.ReadAll(stream)
	if err == nil && (len(b) < 2 || int(binary.BigEndian.Uint16(b)) != len(b)-2) {
		err = fmt.Errorf("the stream has %d octets, and no message of that length", len(b))
	}
	if err != nil {
		return nil, err
	}
	return b[2:], nil
}

func overHTTP3(ctx context.Context, t *quic.Transport, to netip.AddrPort, config *tls.Config, q []byte) ([]byte, error) {
	transport := &http3.Transport{
		TLSClientConfig: config,
		Dial: func(ctx context.Context, _ string, c *tls.Config, how *quic.Config) (*quic.Conn, error) {
			return t.Dial(ctx, net.UDPAddrFromAddrPort(to), c, how)
		},
	}
	defer transport.Close()
	url := fmt.Sprintf("https://%s:%d/dns-query?dns=%s", config.ServerName, to.Port(), base64.RawURLEncoding.EncodeToString(q))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	return io.ReadAll(resp.Body)
}
