package probe

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"watertight/contain"
	"watertight/dnswire"
	"watertight/leaktest"
	"watertight/wire"
)

// strayArgument is the one argument of this program by which it knows that it is to try what the guard must refuse.
const strayArgument = "probe-stray"

// Limits of what strays.
const (
	maxStrays  = 64
	strayWait  = time.Second // for a reply, or for somebody to say no
	strayLimit = 10 * time.Second

	questionWait = 4 * time.Second // for a reply to a question, which a resolver may have to ask for first
)

// Stray has this program once more, as another one without a mark, try to send something, and gives what came of each.
func Stray(ctx context.Context, all []leaktest.Stray) ([]leaktest.Strayed, error) {
	if len(all) > maxStrays {
		return nil, fmt.Errorf("probe: more than %d to be tried", maxStrays)
	}
	input, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, strayLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, contain.Self, strayArgument)
	cmd.Env, cmd.WaitDelay = []string{}, time.Second
	cmd.Stdin = strings.NewReader(string(input))
	var complaint, report bounded
	cmd.Stdout, cmd.Stderr = &report, &complaint
	if err := contain.Start(cmd); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%w: %s", errors.Join(ctx.Err(), err), strings.TrimSpace(complaint.String()))
	}
	var came []leaktest.Strayed
	if err := json.Unmarshal([]byte(report.String()), &came); err != nil {
		return nil, fmt.Errorf("probe: what it reports cannot be read: %w", err)
	}
	return came, nil
}

// bounded keeps the first octets of what is written to it.
type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	b.Builder.Write(p[:min(len(p), MaxReport-b.Len())])
	return len(p), nil
}

// strays tries what is told, and tells what came of it.
func strays(in io.Reader, out io.Writer) error {
	var all []leaktest.Stray
	if err := json.NewDecoder(io.LimitReader(in, maxSpec)).Decode(&all); err != nil {
		return err
	}
	all = all[:min(len(all), maxStrays)]
	own, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	came := make([]leaktest.Strayed, len(all))
	var trying sync.WaitGroup
	for i, s := range all {
		trying.Go(func() { came[i] = stray(s, own) })
	}
	trying.Wait()
	return json.NewEncoder(out).Encode(came)
}

// stray tries one.
func stray(s leaktest.Stray, own []net.Addr) leaktest.Strayed {
	if slices.ContainsFunc(own, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap() == s.To.Addr()
	}) {
		return leaktest.Strayed{Result: leaktest.StrayUnable, Said: "it is an address of this host"}
	}
	switch s.Kind {
	case leaktest.StrayDatagram:
		return strayDatagram(s)
	case leaktest.StrayConnect:
		conn, err := strayDial("tcp", s.To)
		if err != nil {
			return came(err, leaktest.StraySilent)
		}
		_ = conn.Close()
		return leaktest.Strayed{Result: leaktest.StrayAnswered, Said: "connected"}
	case leaktest.StrayFlow:
		return strayFlow(s)
	case leaktest.StrayFrame:
		return strayFrame(s)
	}
	return leaktest.Strayed{Result: leaktest.StrayUnable, Said: "it is not known how"}
}

// came says what an error of a socket shows; silence, where nobody said anything.
func came(err error, silence leaktest.StrayResult) leaktest.Strayed {
	name := errno(err)
	switch name {
	case "ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT", "ENETDOWN":
		return leaktest.Strayed{Result: leaktest.StrayNoWay, Said: name}
	case "", "ETIMEDOUT", "EAGAIN":
		if failed(err) == Silent || name != "" {
			return leaktest.Strayed{Result: silence}
		}
		return leaktest.Strayed{Result: leaktest.StrayUnable, Said: err.Error()}
	}
	return leaktest.Strayed{Result: leaktest.StrayRefused, Said: name}
}

// strayQuestion is a question for a name of the canary.
func strayQuestion(s leaktest.Stray) ([]byte, error) {
	return dnswire.Query(dnswire.Question{Name: s.Host, Type: dnswire.A}, uint16(rand.Uint32()), 0)
}

func strayDial(network string, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), strayWait)
	defer cancel()
	return wire.DialAsOthers(ctx, network, to)
}

func strayDatagram(s leaktest.Stray) leaktest.Strayed {
	query, err := strayQuestion(s)
	if err != nil {
		return leaktest.Strayed{Result: leaktest.StrayUnable, Said: err.Error()}
	}
	conn, err := strayDial("udp", s.To)
	if err != nil {
		return came(err, leaktest.StrayNoWay)
	}
	defer conn.Close()
	if s.To.Port() != 53 {
		what, _ := said(conn, query, strayWait)
		return what
	}
	what, reply := said(conn, query, questionWait)
	if what.Result == leaktest.StrayAnswered && !authoritative(reply) {
		what.Result = leaktest.StrayElsewhere
	}
	return what
}

// authoritative says that a reply is of who has the name, as the canary's are, and not of a resolver (AA, RFC 1035, section 4.1.1).
func authoritative(reply []byte) bool { return len(reply) > 2 && reply[2]&4 != 0 }

// strayFlow makes a connection as this program's own are made, and takes the mark off it.
func strayFlow(s leaktest.Stray) leaktest.Strayed {
	unable := func(err error) leaktest.Strayed {
		return leaktest.Strayed{Result: leaktest.StrayUnable, Said: "no such connection could be made: " + err.Error()}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*strayWait)
	defer cancel()
	conn, err := wire.Dialer{Mark: s.Mark}.DialAddr(ctx, s.To)
	if err != nil {
		return unable(err)
	}
	defer conn.Close()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return unable(errors.New("it is no connection of the kernel's"))
	}
	if err := wire.Unmark(tcp); err != nil {
		return unable(err)
	}
	what, _ := said(conn, []byte(s.Host+"\r\n\r\n"), strayWait)
	return what
}

// said sends, and says what came of it, with the begin of what was replied.
func said(conn net.Conn, b []byte, wait time.Duration) (what leaktest.Strayed, reply []byte) {
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return came(err, leaktest.StraySent), nil
	}
	if _, err := conn.Write(b); err != nil {
		return came(err, leaktest.StraySent), nil
	}
	reply = make([]byte, 512)
	n, err := conn.Read(reply)
	switch {
	case n > 0:
		return leaktest.Strayed{Result: leaktest.StrayAnswered, Said: fmt.Sprint(n, " octets")}, reply[:n]
	case errors.Is(err, io.EOF):
		return leaktest.Strayed{Result: leaktest.StrayAnswered, Said: "the connection was ended"}, nil
	}
	return came(err, leaktest.StraySent), nil
}

// strayFrame hands a packet to a device.
func strayFrame(s leaktest.Stray) leaktest.Strayed {
	device, err := net.InterfaceByName(s.Device)
	if err != nil {
		return leaktest.Strayed{Result: leaktest.StrayNoWay, Said: "it is gone"}
	}
	query, err := strayQuestion(s)
	if err != nil {
		return leaktest.Strayed{Result: leaktest.StrayUnable, Said: err.Error()}
	}
	from, ok := addressOf(device, s.To.Addr().Is4())
	if !ok {
		return leaktest.Strayed{Result: leaktest.StrayNoWay, Said: "it has no address of that family"}
	}
	switch err := wire.SendPast(device, datagram(netip.AddrPortFrom(from, 40_000), s.To, query)); {
	case err == nil:
		return leaktest.Strayed{Result: leaktest.StraySent}
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return leaktest.Strayed{Result: leaktest.StrayUnable, Said: "it takes CAP_NET_RAW"}
	case errors.Is(err, syscall.ENOBUFS):
		return leaktest.Strayed{Result: leaktest.StrayRefused, Said: "ENOBUFS"}
	default:
		return leaktest.Strayed{Result: leaktest.StrayUnable, Said: orSaid(errno(err), err.Error())}
	}
}

func orSaid(name, text string) string {
	if name == "" {
		return text
	}
	return name
}

// addressOf gives an address of a device.
func addressOf(device *net.Interface, v4 bool) (netip.Addr, bool) {
	all, err := device.Addrs()
	if err != nil {
		return netip.Addr{}, false
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap().Is4() == v4 {
			return p.Addr().Unmap(), true
		}
	}
	return netip.Addr{}, false
}

// datagram makes an IP packet with a datagram of UDP (RFC 791, RFC 8200, RFC 768).
func datagram(from, to netip.AddrPort, payload []byte) []byte {
	length := 8 + len(payload)
	udp := binary.BigEndian.AppendUint16(nil, from.Port())
	udp = binary.BigEndian.AppendUint16(udp, to.Port())
	udp = binary.BigEndian.AppendUint16(udp, uint16(length))
	udp = append(append(udp, 0, 0), payload...)
	src, dst := from.Addr().AsSlice(), to.Addr().AsSlice()
	sum := checksum(slices.Concat(src, dst, []byte{0, 0, byte(length >> 8), byte(length), 0, 0, 0, unix.IPPROTO_UDP}, udp))
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	if to.Addr().Is4() {
		head := []byte{0x45, 0, byte((20 + length) >> 8), byte(20 + length), 0, 0, 0x40, 0, 64, unix.IPPROTO_UDP, 0, 0}
		head = slices.Concat(head, src, dst)
		binary.BigEndian.PutUint16(head[10:], checksum(head))
		return append(head, udp...)
	}
	return slices.Concat([]byte{0x60, 0, 0, 0, byte(length >> 8), byte(length), unix.IPPROTO_UDP, 64}, src, dst, udp)
}

// checksum is that of the Internet (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for i, c := range b {
		sum += uint32(c) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// childStray is [Child] for what strays.
func childStray() {
	wire.Seal()
	if err := strays(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "watertight: this is a part of the leak test:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
