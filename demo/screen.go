package demo

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// ColorFor says whether to write in colour to f: it is a terminal, and NO_COLOR (no-color.org) is not set.
func ColorFor(f *os.File) bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// screen shows the acts to a person. With JSON it shows nothing.
type screen struct {
	out   io.Writer
	color bool
	pause time.Duration
	quiet bool
	err   error // the first of writing
}

func newScreen(out io.Writer, p plan) *screen {
	return &screen{out: out, color: p.Color, pause: p.Pause, quiet: p.JSON}
}

// Select Graphic Rendition (ECMA-48, section 8.3.117).
const (
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
)

func (s *screen) in(style, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (s *screen) say(format string, args ...any) {
	if s.quiet {
		return
	}
	if _, err := fmt.Fprintf(s.out, format+"\n", args...); err != nil && s.err == nil {
		s.err = err
	}
}

// beat says something and gives people time to read it.
func (s *screen) beat(format string, args ...any) {
	if s.quiet {
		return
	}
	s.say(format, args...)
	time.Sleep(s.pause)
}

func (s *screen) opening(st *stage) {
	s.beat("%s", s.in(bold, "A private internet, in namespaces on this machine. Nothing here leaves it."))
	s.beat("  the client     %-16s  calls two APIs: %s", st.Client.Addr(), strings.Join(calls(), ", "))
	s.beat("  the provider   %-16s  carries, keeps and reads every packet of the client", st.Client.Nameservers()[0])
	s.beat("  a resolver     %-16s  answers over HTTPS", st.resolver.Addr())
	s.beat("  the APIs       %-16s  hosted behind %s, with encrypted hellos (ECH)", st.api.Addr(), frontName)
	s.say("")
	s.beat("%s", s.in(bold, "1  An ordinary client"))
}

func (s *screen) ordinary(a *act) {
	s.beat("  %s", s.answers(a))
	for _, r := range a.details {
		s.say("  the provider read   %s  %s", s.in(red, fmt.Sprintf("%-18s %-5s", r.Name, r.Type)), s.in(dim, fmt.Sprintf("%s to %s", r.Proto, r.To)))
		if !s.quiet {
			time.Sleep(s.pause / 3)
		}
	}
	s.beat("  The calls were encrypted, and their hellos too. The questions before them were not.")
	s.failures(a)
	s.say("")
}

func (s *screen) starting() { s.beat("%s", s.in(bold, "2  The same client through Watertight")) }

func (s *screen) started() {
	s.beat("  watertight run: ready, its resolver has answered, authenticated")
}

func (s *screen) sealed(a *act) {
	s.beat("  %s", s.answers(a))
	if len(a.Read) == 0 && a.Named == 0 {
		s.beat("  the provider read   %s  %s", s.in(green, "nothing"), s.in(dim, fmt.Sprintf("no question, and neither name in any of its %d packets", a.Packets)))
	}
	for _, q := range a.Read {
		s.say("  the provider read   %s", s.in(red, q))
	}
	s.beat("  What it still saw: encrypted packets to the resolver and to the APIs%s.", hellos(a))
	s.failures(a)
	s.say("")
}

// hellos says which names stood in TLS hellos: not DNS, but names.
func hellos(a *act) string {
	if len(a.Hellos) == 0 {
		return ""
	}
	return ", with " + strings.Join(a.Hellos, ", ") + " in their outer hello"
}

func (s *screen) cutting() { s.beat("%s", s.in(bold, "3  The resolver is cut off")) }

func (s *screen) closed(a *act) {
	s.beat("  %s", s.answers(a))
	if a.Reason != "" {
		s.beat("  the client was told   %s", a.Reason)
	}
	if len(a.Read) == 0 && a.Named == 0 {
		s.beat("  the provider read   %s  %s", s.in(green, "nothing"), s.in(dim, "nothing else was asked: there is no fallback to leak through"))
	}
	s.failures(a)
	s.say("")
}

func (s *screen) answers(a *act) string {
	return fmt.Sprintf("the APIs answered %d of %d calls", a.Answered, a.Calls)
}

func (s *screen) failures(a *act) {
	for _, f := range a.Failures {
		s.say("  %s %s", s.in(red, "did not hold:"), f)
	}
}

// table sums up what was counted.
func (s *screen) table(r *report) {
	if s.quiet {
		return
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 3, ' ', 0)
	row := func(label string, cell func(*act) string) {
		fmt.Fprint(w, label)
		for _, a := range r.Acts {
			fmt.Fprint(w, "\t", cell(a))
		}
		fmt.Fprintln(w)
	}
	titles := map[string]string{"ordinary": "ordinary client", "watertight": "through Watertight", "cut_off": "resolver cut off"}
	row("", func(a *act) string { return titles[a.ID] })
	row("calls answered", func(a *act) string { return fmt.Sprintf("%d of %d", a.Answered, a.Calls) })
	row("DNS questions the provider read", func(a *act) string { return strconv.Itoa(len(a.Read)) })
	row("packets with a name in them", func(a *act) string { return strconv.Itoa(a.Named) })
	row("packets to anyone else", func(a *act) string { return strconv.Itoa(a.Strange) })
	row("the authority was asked by", func(a *act) string { return orNobody(a.Askers) })
	row("the client was told", func(a *act) string { return orDash(a.Code) })
	if err := w.Flush(); err != nil && s.err == nil {
		s.err = err
	}
	s.say("")
	s.say("%s", s.in(dim, "Without ECH, a client's TLS hello shows its server's name too. That is not DNS; a direct channel does not hide it."))
	switch r.Verdict {
	case verdictHeld:
		s.say("%s Counted in the packets of this run, in %.1f s.", s.in(green, "Everything held."), float64(r.Took)/1000)
	default:
		s.say("%s", s.in(red, "Not everything held."))
	}
}

func orNobody(who []string) string {
	if len(who) == 0 {
		return "nobody"
	}
	return strings.Join(who, ", ")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
