package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// told is a message of a dump as the kernel sends it.
func told(kind, flags uint16, seq uint32, data ...byte) []byte {
	b := native.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(data)))
	b = native.AppendUint16(b, kind)
	b = native.AppendUint16(b, flags)
	b = native.AppendUint32(b, seq)
	b = append(native.AppendUint32(b, 0), data...)
	return append(b, make([]byte, -len(b)&3)...)
}

// errno is an error as it stands in a message.
func errno(e unix.Errno) []byte { return native.AppendUint32(nil, uint32(-int32(e))) }

// received is one packet, the kernel's or another's, or an error of the socket.
type received struct {
	packet []byte
	others bool
	err    error
}

var errSilent = errors.New("nothing more comes")

// script gives one packet after the other, and then an error.
func script(all ...received) func([]byte) (int, bool, error) {
	return func(b []byte) (int, bool, error) {
		if len(all) == 0 {
			return 0, false, errSilent
		}
		r := all[0]
		all = all[1:]
		return copy(b, r.packet), !r.others, r.err
	}
}

const (
	link  = unix.RTM_NEWLINK
	multi = unix.NLM_F_MULTI
)

func TestReadDump_GivesWhatTheKernelSaysUntilItsEnd(t *testing.T) {
	got, err := readDump(script(
		received{err: unix.EINTR},
		received{packet: told(unix.NLMSG_DONE, multi, 1), others: true},
		received{packet: bytes.Join([][]byte{told(link, multi, 1, 1, 2, 3), told(unix.NLMSG_DONE, multi, 7), told(link, multi, 1, 4)}, nil)},
		received{packet: told(link, multi, 1)},
		received{packet: told(unix.NLMSG_DONE, multi, 1, errno(0)...)},
		received{err: errors.New("it read on")}))
	if err != nil {
		t.Fatal(err)
	}
	want := []NetlinkAnswer{{link, []byte{1, 2, 3}}, {link, []byte{4}}, {link, nil}}
	if len(got) != len(want) {
		t.Fatalf("it gave %v", got)
	}
	for i := range want {
		if got[i].Type != want[i].Type || !bytes.Equal(got[i].Data, want[i].Data) {
			t.Errorf("message %d is %v and should be %v", i, got[i], want[i])
		}
	}
}

func TestReadDump_GivesNothingOfWhatIsNotWhole(t *testing.T) {
	first := told(link, multi, 1, 1, 2, 3, 4)
	cut := func(n int) []byte { return append(bytes.Clone(first), first[:n]...) }
	long := bytes.Repeat(told(link, multi, 1, make([]byte, 1024-unix.SizeofNlMsghdr)...), 64)
	flood := make([]received, maxDump/len(long)+1)
	for i := range flood {
		flood[i].packet = long
	}
	for name, c := range map[string]struct {
		packets []received
		want    error
	}{
		"nothing after the first packet": {nil, errSilent},
		"the socket has lost some":       {[]received{{err: unix.ENOBUFS}}, unix.ENOBUFS},
		"a message that is cut off":      {[]received{{packet: cut(len(first) - 1)}}, unix.EINVAL},
		"a head that is shorter than it": {[]received{{packet: append([]byte{4, 0, 0, 0}, make([]byte, 12)...)}}, unix.EINVAL},
		"an error":                       {[]received{{packet: told(unix.NLMSG_ERROR, 0, 1, errno(unix.EPERM)...)}}, unix.EPERM},
		"an error without its number":    {[]received{{packet: told(unix.NLMSG_ERROR, 0, 1, 1)}}, nil}, // whichever
		"an end that says an error":      {[]received{{packet: told(unix.NLMSG_DONE, multi, 1, errno(unix.EMSGSIZE)...)}}, unix.EMSGSIZE},
		"an end that was torn":           {[]received{{packet: told(unix.NLMSG_DONE, multi|unix.NLM_F_DUMP_INTR, 1)}}, errTorn},
		"a message that was torn":        {[]received{{packet: told(link, multi|unix.NLM_F_DUMP_INTR, 1)}}, errTorn},
		"more than is taken":             {flood, ErrDumpTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readDump(script(append([]received{{packet: first}}, c.packets...)...))
			if err == nil || c.want != nil && !errors.Is(err, c.want) || got != nil {
				t.Errorf("it gave %d messages, and: %v", len(got), err)
			}
		})
	}
}

func TestWhole_AsksAgainOnlyForWhatWasTornAndNotForEver(t *testing.T) {
	for name, c := range map[string]struct {
		says []error
		want error
		asks int
	}{
		"whole at once":      {[]error{nil}, nil, 1},
		"whole in the end":   {[]error{errTorn, errTorn, nil}, nil, 3},
		"another error":      {[]error{errTorn, unix.EPERM}, unix.EPERM, 2},
		"torn again, always": {[]error{errTorn, errTorn, errTorn, errTorn, errTorn, nil}, errTorn, dumpTries},
	} {
		t.Run(name, func(t *testing.T) {
			asks := 0
			got, err := whole(func() ([]NetlinkAnswer, error) {
				asks++
				if err := c.says[asks-1]; err != nil {
					return nil, err
				}
				return []NetlinkAnswer{{Type: link}}, nil
			})
			if !errors.Is(err, c.want) || asks != c.asks || (err == nil) != (len(got) == 1) {
				t.Errorf("it asked %d times and gave %d messages, and: %v", asks, len(got), err)
			}
		})
	}
}

// ask is a request of a kind without flags and number, which are set on its way.
func ask(kind uint16) []byte {
	m := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	native.PutUint32(m, uint32(len(m)))
	native.PutUint16(m[4:], kind)
	return m
}

func TestNetlinkDump_HasTheKernelTellAllItHas(t *testing.T) {
	got, err := NetlinkDump(unix.NETLINK_ROUTE, ask(unix.RTM_GETLINK))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got {
		if m.Type == unix.RTM_NEWLINK && bytes.Contains(m.Data, attribute(unix.IFLA_IFNAME, []byte("lo\x00"))) {
			return
		}
	}
	t.Errorf("among %d messages no loopback device", len(got))
}

func TestNetlinkDump_SaysWhyThereIsNothing(t *testing.T) {
	var refused *Refusal
	if got, err := NetlinkDump(unix.NETLINK_ROUTE, ask(unix.RTM_GETLINK+1000)); !errors.As(err, &refused) || got != nil {
		t.Errorf("to what the kernel does not know, it gave %d messages, and: %v", len(got), err)
	}
	for _, m := range [][]byte{nil, make([]byte, unix.SizeofNlMsghdr-1), ask(unix.RTM_GETLINK)[:unix.SizeofNlMsghdr]} {
		if _, err := NetlinkDump(unix.NETLINK_ROUTE, m); err == nil || !strings.Contains(err.Error(), "another length") {
			t.Errorf("%d octets were taken: %v", len(m), err)
		}
	}
}

func FuzzReadDump(f *testing.F) {
	done := told(unix.NLMSG_DONE, multi, 1, errno(0)...)
	f.Add(append(told(link, multi, 1, 1, 2, 3), done...))
	f.Add(told(unix.NLMSG_ERROR, 0, 1, errno(unix.EPERM)...))
	f.Add(done[:unix.SizeofNlMsghdr-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		answer, err := readDump(script(received{packet: b}))
		if err != nil && answer != nil {
			t.Errorf("%d messages and an error: %v", len(answer), err)
		}
		octets := 0
		for _, m := range answer {
			octets += unix.SizeofNlMsghdr + len(m.Data)
		}
		if octets > len(b) {
			t.Errorf("%d octets of messages in %d", octets, len(b))
		}
	})
}
