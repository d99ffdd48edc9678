package wire

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func nftMessage(kind uint16, attributes ...[]byte) syscall.NetlinkMessage {
	return message(int(unix.NFNL_SUBSYS_NFTABLES<<8|kind), 0, []byte{unix.NFPROTO_INET, 0, 0, 0}, attributes...)
}

func TestAMessageOfTheFirewallConcernsATableByItsName(t *testing.T) {
	const mine = "watertight_guard"
	for what, c := range map[string]struct {
		m    syscall.NetlinkMessage
		want bool
	}{
		"its table":             {nftMessage(unix.NFT_MSG_DELTABLE, attribute(1, []byte(mine+"\x00"))), true},
		"a rule":                {nftMessage(unix.NFT_MSG_DELRULE, attribute(3, make([]byte, 8)), attribute(1, []byte(mine+"\x00"))), true},
		"another table":         {nftMessage(unix.NFT_MSG_DELTABLE, attribute(1, []byte("docker\x00"))), false},
		"a name that begins so": {nftMessage(unix.NFT_MSG_DELTABLE, attribute(1, []byte(mine+"2\x00"))), false},
		"a generation":          {nftMessage(unix.NFT_MSG_NEWGEN, attribute(1, make([]byte, 4))), false},
		"without a name":        {nftMessage(unix.NFT_MSG_NEWSET), true},
		"torn":                  {nftMessage(unix.NFT_MSG_NEWSET, []byte{200, 0, 9, 0}), true},
		"another part":          {message(1<<8, 0, []byte{0, 0, 0, 0}, attribute(1, []byte(mine+"\x00"))), false},
		"no header":             {message(int(unix.NFNL_SUBSYS_NFTABLES<<8), 0, []byte{1}), false},
	} {
		if got := concerns(c.m, mine); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

func FuzzMessageOfTheFirewall(f *testing.F) {
	f.Add(uint16(unix.NFT_MSG_DELTABLE), []byte{1, 0, 0, 0, 6, 0, 1, 0, 'x', 0})
	f.Add(uint16(unix.NFT_MSG_NEWSET), []byte{1, 0, 0, 0, 3, 0, 1, 0})
	f.Fuzz(func(_ *testing.T, kind uint16, b []byte) {
		concerns(syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | kind&0xff}, Data: b}, "x")
	})
}

// inNewNetwork calls f on a thread in a network of its own, which is thrown away, and inSame calls another in the same.
func inNewNetwork(t *testing.T, f func(inSame func(func()))) {
	t.Helper()
	own := func(enter func() error, f func()) error {
		ended := make(chan error)
		go func() {
			runtime.LockOSThread() // the thread ends with the goroutine
			if err := enter(); err != nil {
				ended <- err
				return
			}
			f()
			ended <- nil
		}()
		return <-ended
	}
	err := own(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() {
		network, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			t.Error(err)
			return
		}
		defer network.Close()
		f(func(f func()) {
			if err := own(func() error { return unix.Setns(int(network.Fd()), unix.CLONE_NEWNET) }, f); err != nil {
				t.Error(err)
			}
		})
	})
	if errors.Is(err, unix.EPERM) {
		t.Skip("a network of its own takes CAP_SYS_ADMIN")
	} else if err != nil {
		t.Fatal(err)
	}
}

func TestChangesOfATableOfTheFirewallAreHeardOf(t *testing.T) {
	nft, err := exec.LookPath("nft")
	if err != nil {
		t.Skip("nft is not there")
	}
	inNewNetwork(t, func(inSame func(func())) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		heard, ended := make(chan struct{}, 100), make(chan error, 1)
		var watching sync.WaitGroup
		watching.Go(func() {
			inSame(func() { ended <- WatchFirewall(ctx, "mine", func() { heard <- struct{}{} }) })
		})
		do := func(rules string) {
			inSame(func() {
				c := exec.Command(nft, "-f", "-")
				c.Stdin = strings.NewReader(rules)
				if out, err := c.CombinedOutput(); err != nil {
					t.Errorf("%s: %v: %s", rules, err, out)
				}
			})
		}
		for do("table inet mine {}"); ; do("table inet mine {}; delete table inet mine; table inet mine {}") { // until it listens
			select {
			case <-heard:
			case err := <-ended:
				t.Errorf("it has ended: %v", err)
				return
			default:
				continue
			}
			break
		}
		quiet := func() {
			for len(heard) > 0 {
				<-heard
			}
		}
		for _, rules := range []string{
			"table netdev mine { chain c {}; }", "add rule netdev mine c accept", "flush chain netdev mine c",
			"add set inet mine s { type ipv4_addr; }", "add element inet mine s { 192.0.2.1 }", "delete element inet mine s { 192.0.2.1 }", "flush ruleset",
		} {
			quiet()
			do("table inet other { chain c { accept; }; }; delete table inet other")
			do(rules)
			select {
			case <-heard:
			case err := <-ended:
				t.Errorf("%s: it has ended: %v", rules, err)
				return
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		watching.Wait()
	})
}
