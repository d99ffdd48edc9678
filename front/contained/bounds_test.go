package contained_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"watertight/front/contained"
	"watertight/lab"
)

// overruns holds connections, as many as it is told, says how many of them were answered, and how many were refused; then it sends
// to as many ports.
const overruns = `
import socket, sys
n = int(sys.argv[1])
at = socket.getaddrinfo("api.example.com", 8088, socket.AF_INET)[0][4][0]
held, refused = [], 0
for _ in range(n):
    try:
        s = socket.create_connection((at, 8088), 20)
        s.recv(100)
        held.append(s)
    except ConnectionResetError: refused += 1
print(len(held), refused)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in range(1000, 1000 + n):
    try: u.sendto(b"ping", (at, port))
    except ConnectionRefusedError: pass
`

func descriptors(t *testing.T) int {
	t.Helper()
	return len(lab.Must(os.ReadDir("/proc/self/fd"))(t))
}

func TestAProgramThatOpensWhateverItCanIsHeldToTheLimits(t *testing.T) {
	lab.Need(t, "python3", "curl", "dig")
	const limit, more = 20, 50
	b := world(t)
	in := contains(t, b, func(o *contained.Options) { o.Connections, o.Flows = limit, limit })
	before := descriptors(t)
	if out := in.succeeds("python3 -I -c '" + overruns + fmt.Sprintf("' %d", more)); out != fmt.Sprintf("%d %d\n", limit, more-limit) {
		t.Errorf("of %d connections there were held, and refused: %s", more, out)
	}
	if st := in.door.Stats(); st.Flows == 0 || st.Flows > limit || st.Names != 1 {
		t.Errorf("%+v", st)
	}
	wait, tick := time.After(20*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for in.door.Stats().Connections > 0 || descriptors(t) > before+2*limit+limit/2 { // a flow, which outlives its program, is two here; and some are the runtime's own
		select {
		case <-tick.C:
		case <-wait:
			t.Fatalf("of a program that has ended there stay %d descriptors, and %+v", descriptors(t)-before, in.door.Stats())
		}
	}
	// What it has taken is taken from nobody else: names and connections go on.
	if out := in.succeeds("dig +short +tries=1 other.example.com && curl -sS http://api.example.com:8088/"); !strings.HasSuffix(out, "\nhello\n") {
		t.Error(out)
	}
}
