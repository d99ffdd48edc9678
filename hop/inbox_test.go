package hop

import (
	"net"
	"testing"
	"time"

	"watertight/masque"
)

func TestDatagramsThatNobodyReadsTakeSoManyOctets(t *testing.T) {
	i := newInbox()
	for range 2 * inboxRoom {
		i.put(make([]byte, masque.MaxPayload))
	}
	_ = i.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	octets, buf := 0, make([]byte, masque.MaxPayload)
	for {
		n, err := i.Read(buf)
		if err != nil {
			break
		}
		octets += n
	}
	if octets == 0 || octets > 1<<20 {
		t.Errorf("%d octets waited", octets)
	}
	i.put([]byte("later"))
	_ = i.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := i.Read(buf); err != nil || n != 5 {
		t.Errorf("then %d, %v", n, err)
	}
}

func TestDatagramsThatAProxyDoesNotTakeHoldSoManyOctets(t *testing.T) {
	near, far := net.Pipe() // nobody reads it
	defer far.Close()
	f := newCapsuleFlow(&link{label: "the proxy"}, near)
	defer f.Close()
	for range 2 * capsulesRoom {
		if _, err := f.Write(make([]byte, masque.MaxPayload)); err != nil {
			t.Fatal(err)
		}
	}
	octets := 0
	for {
		select {
		case capsule := <-f.out:
			octets += len(capsule)
			continue
		default:
		}
		break
	}
	if octets == 0 || octets > 1<<20 {
		t.Errorf("%d octets wait", octets)
	}
}
