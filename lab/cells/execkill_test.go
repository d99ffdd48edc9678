package cells

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/internet"
)

// roundsVar is how many rounds are played in which something is killed at a random moment; each has the five in turn.
const (
	roundsVar = "WATERTIGHT_LAB_ROUNDS"
	rounds    = 25
)

// keepsOn is a program that goes on asking, calling and sending, each time by names that nobody has asked for before, and says how
// each ended: until its input ends, and once more after that.
const keepsOn = `
import select, socket, ssl, struct, sys, threading
zone, ca, stranger = sys.argv[1:]
trust = ssl.create_default_context(cafile=ca)
def call(name):
    with socket.create_connection((name, 443), 4) as c, trust.wrap_socket(c, server_hostname=name) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % name.encode())
        if b"200" not in s.recv(100): raise OSError("no answer")
def question(name):
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split("."))
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(4)
    s.sendto(struct.pack(">6H", 7, 256, 1, 0, 0, 0) + labels + b"\0\0\x10\0\1", (stranger, 53))
    if s.recv(512)[3] & 15 not in (0, 3): raise OSError("no answer")
def datagram(name):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(4)
    s.connect((name, 4433))
    s.send(b"ping")
    s.recv(100)
def attempt(when, what, n):
    try:
        what("n%d-%s-%s-%s" % (n, when, what.__name__, zone))
        how = "answered"
    except OSError as e:
        how = type(e).__name__
    print(when, what.__name__, how, flush=True)
def all(when, n):
    at_once = [threading.Thread(target=attempt, args=(when, what, n)) for what in (call, question, datagram)]
    for t in at_once: t.start()
    for t in at_once: t.join()
print("up", flush=True)
n = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    all("before", n)
    n += 1
all("after", n)
`

// struck is a scene in which a program keeps on while something is killed.
type struck struct {
	*lab.Scene
	far     *farChannel
	process *internet.Process
	proxy   *internet.Process // that carries it; nil: `watertight exec` does
	input   *os.File          // of the program; its end says that it is to come to its own
	called  chan struct{}     // closed when a call of the program's was answered
}

// How a program runs.
const (
	asItIs   = iota
	byItself // contained, and carried by what contains it
	attached // contained, and carried by a running proxy
)

// strike prepares the scene and starts the program.
func strike(t *testing.T, how int) *struck {
	t.Helper()
	s, _ := packetScene(t, internet.V4)
	w := &struck{Scene: s, far: &farChannel{kind: kinds[0]}, called: make(chan struct{})}
	w.far.arrange(t, s)
	command := []string{"python3", "-I", "-c", keepsOn, s.Canary, s.CAFile, s.Client.Nameservers()[0].String()}
	program := s.Client.Program(command[0], command[1:]...)
	if how != asItIs {
		config := w.far.config(s, "here")
		program = contained(t, s, config, command...)
		if how == attached {
			program = w.attaches(t, config, command...)
		}
		// In a session of its own, so that what is left of it is not swept away with its group.
		program.Path, program.Args = "setsid", append([]string{"--wait", lab.Must(os.Executable())(t)}, program.Args...)
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	program.Input, w.input = theirs, ours
	t.Cleanup(func() { _ = ours.Close() })
	var said []byte
	var once sync.Once
	program.Output = func(b []byte) {
		if said = append(said, b...); bytes.Contains(said, []byte("before call answered\n")) {
			once.Do(func() { close(w.called) })
		}
	}
	w.process = lab.Must(program.Start(t.Context()))(t)
	return w
}

// attaches starts a proxy, and prepares the program to be carried by it.
func (w *struck) attaches(t *testing.T, config string, command ...string) *internet.Program {
	t.Helper()
	file := write(t, w.Scene, config)
	self := func(args ...string) *internet.Program {
		p := lab.Self(w.Client, lab.WatertightRole, args...)
		p.Env = append(p.Env, "RUNTIME_DIRECTORY="+w.Dir) // each program has a /run of its own here
		return p
	}
	w.proxy = lab.Must(self("run", "-c", file).Start(t.Context()))(t)
	if _, err := w.proxy.AwaitOutput(t.Context(), "ready: "); err != nil {
		t.Fatal(err, w.proxy.Sofar().Text())
	}
	return self(append([]string{"exec", "--attach", "-c", file, "--"}, command...)...)
}

// ended says whether the program is over.
func (w *struck) ended() bool {
	select {
	case <-w.process.Done():
		return true
	default:
		return false
	}
}

// pause lets a time pass, or less if the program ends.
func (w *struck) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.process.Done():
	}
}

// children gives the numbers of a process's children.
func children(pid int) (all []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // of each thread
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for child := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(child); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}

// outside gives the number of the process that carries what the program sends: 0 if it is over.
func (w *struck) outside(t *testing.T) (pid int) {
	t.Helper()
	await(t, "the process outside", func() bool {
		if own := children(w.process.PID()); len(own) > 0 {
			pid = own[0]
		}
		return pid != 0 || w.ended()
	})
	return pid
}

// inside gives the number of the first process in the program's namespaces, and these; 0 and none if it has not come so far.
func (w *struck) inside(outside int) (pid int, made []string) {
	for _, child := range children(outside) {
		if made := w.own(child); len(made) > 0 {
			return child, made
		}
	}
	return 0, nil
}

// own gives the namespaces of a process that are not those of the host that it was started on.
func (w *struck) own(pid int) []string {
	of := spaces(w.process.PID())
	all := slices.DeleteFunc(spaces(pid), func(space string) bool {
		return len(of) == 0 || slices.Contains(of, space)
	})
	slices.Sort(all)
	return slices.Compact(all) // what its children get is listed by itself
}

// spaces gives the namespaces of a process; none of one that is over.
func spaces(pid int) (all []string) {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/ns/*", pid))
	for _, link := range links {
		if space, err := os.Readlink(link); err == nil {
			all = append(all, space)
		}
	}
	return all
}

// remains says what there still is of a scene: processes with its home directory, and processes and descriptors by which a
// namespace lives that was made in it.
func remains(home string, made []string) (left []string) {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		environment, _ := os.ReadFile(filepath.Join(process, "environ"))
		if bytes.Contains(append([]byte{0}, environment...), []byte("\x00HOME="+home+"\x00")) {
			name, _ := os.ReadFile(filepath.Join(process, "comm"))
			left = append(left, process+" "+strings.TrimSpace(string(name)))
		}
		pid, _ := strconv.Atoi(filepath.Base(process))
		for _, space := range spaces(pid) {
			if slices.Contains(made, space) {
				left = append(left, process+" is in "+space)
			}
		}
		open, _ := filepath.Glob(filepath.Join(process, "fd", "*"))
		for _, descriptor := range open {
			if space, _ := os.Readlink(descriptor); slices.Contains(made, space) {
				left = append(left, process+" holds "+space)
			}
		}
	}
	return left
}

// mountsHere gives what is mounted in this process's namespace.
func mountsHere(t *testing.T) string {
	t.Helper()
	return string(lab.Must(os.ReadFile("/proc/self/mountinfo"))(t))
}

// strangers says in how many ways a round went wrong, when all of it is over: whom packets went to, and whether the origin was
// reached by a name that the channel's resolver had not been asked for.
func (w *struck) strangers(t *testing.T) []string {
	t.Helper()
	e := w.Gather(t, w.process.Wait())
	wrong := w.Leaks(e)
	for _, visit := range w.Origin.Visits() {
		if w.far.resolver.Count(visit.Host, dnswire.A) == 0 {
			wrong = append(wrong, visit.Host+" was reached, and its resolver never asked for it")
		}
	}
	return wrong
}

// targets are what is killed, at a moment after its start. The functions give the namespaces of the program, if it had come so far.
var targets = []struct {
	name string
	how  int
	ends bool // and the program with it
	kill func(t *testing.T, w *struck, moment time.Duration) (made []string)
}{
	{"the process that carries it", byItself, true, func(t *testing.T, w *struck, moment time.Duration) []string {
		outside := w.outside(t)
		w.pause(moment)
		_, made := w.inside(outside)
		w.end(t, outside)
		return made
	}},
	{"the first process inside", byItself, true, func(t *testing.T, w *struck, moment time.Duration) (made []string) {
		outside, inside := w.outside(t), 0
		await(t, "the first process inside", func() bool {
			inside, made = w.inside(outside)
			return inside != 0
		})
		w.pause(moment)
		w.end(t, inside)
		return made
	}},
	{"the resolver", byItself, false, func(t *testing.T, w *struck, moment time.Duration) []string {
		w.pause(moment)
		_, made := w.inside(w.outside(t))
		if err := w.far.resolver.Close(); err != nil {
			t.Fatal(err)
		}
		return made
	}},
	{"the running proxy that carries it", attached, false, func(t *testing.T, w *struck, moment time.Duration) []string {
		w.pause(moment)
		_, made := w.inside(w.outside(t))
		w.proxy.Kill()
		return made
	}},
	{"the hop", byItself, false, func(t *testing.T, w *struck, moment time.Duration) []string {
		w.pause(moment)
		_, made := w.inside(w.outside(t))
		w.far.hop.close(t)
		return made
	}},
}

// end kills a process, and waits for the end of all.
func (w *struck) end(t *testing.T, pid int) {
	t.Helper()
	if pid < 2 {
		t.Fatal("there is no process to be killed")
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	await(t, "the end of the program", w.ended)
}

func TestExec_WhateverIsKilledAtWhateverMomentNothingGoesAnotherWay(t *testing.T) {
	lab.Need(t, "python3", "setsid")
	t.Run("control: uncontained, it goes its own way", func(t *testing.T) {
		w := strike(t, asItIs)
		w.far.hop.close(t)
		<-w.called
		_ = w.input.Close()
		if wrong := strings.Join(w.strangers(t), "\n"); !strings.Contains(wrong, "a packet outside") || !strings.Contains(wrong, "the provider was asked") || !strings.Contains(wrong, "never asked for it") {
			t.Errorf("INVALID: a leak went unseen; what was said:\n%s", wrong)
		}
	})
	var lifetime time.Duration                      // until a call was answered, when nothing is killed
	for _, how := range []int{attached, byItself} { // the last one's is the lifetime
		name := map[int]string{attached: "control: with nothing killed, it is answered through a running proxy", byItself: "control: with nothing killed, it is answered"}[how]
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			w := strike(t, how)
			select {
			case <-w.called:
			case <-w.process.Done():
			}
			lifetime = time.Since(began)
			_, made := w.inside(w.outside(t))
			if left := remains(w.Dir, made); len(made) != 6 || !strings.Contains(strings.Join(left, "\n"), " is in net:") {
				t.Errorf("INVALID: it runs in %v, and what is seen of it is %q", made, left)
			}
			_ = w.input.Close()
			wrong := w.strangers(t)
			text := w.process.Wait().Text()
			if len(wrong) > 0 || strings.Count(text, "after ") != 3 || strings.Count(text, " answered\n") != strings.Count(text, "\n")-1 {
				t.Fatalf("it had %s; wrong is %q", text, wrong)
			}
		})
	}
	n := rounds
	if text := os.Getenv(roundsVar); text != "" {
		n = lab.Must(strconv.Atoi(text))(t)
	}
	for i := range n {
		target := targets[i%len(targets)]
		t.Run(fmt.Sprintf("%s/%d", target.name, i/len(targets)), func(t *testing.T) {
			mounts := mountsHere(t)
			w := strike(t, target.how)
			moment := rand.N(2 * lifetime)
			made := target.kill(t, w, moment)
			_ = w.input.Close()
			wrong := w.strangers(t)
			r := w.process.Wait()
			_, after, more := strings.Cut(r.Stdout, "after ")
			switch {
			case len(wrong) > 0:
				t.Errorf("after %v, wrong is %q", moment, wrong)
			case target.ends && (more || r.Code == 0):
				t.Errorf("after %v it went on, exit code %d: %s", moment, r.Code, r.Text())
			case !target.ends && strings.Contains(after, "answered"):
				t.Errorf("after %v it was answered: %s", moment, r.Text())
			case !target.ends && !more && (r.Code != 125 || strings.Contains(r.Stdout, "up")):
				t.Errorf("after %v it neither went on nor was kept from starting, exit code %d: %s", moment, r.Code, r.Text())
			}
			var left []string
			defer func() {
				if len(left) > 0 {
					t.Errorf("after %v there are left %q", moment, left)
				}
			}()
			await(t, "the end of all that was started", func() bool {
				left = remains(w.Dir, made)
				return len(left) == 0
			})
			if now := mountsHere(t); now != mounts {
				t.Errorf("after %v there are other mounts: %s\nbefore: %s", moment, now, mounts)
			}
		})
	}
}
