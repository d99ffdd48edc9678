package probe

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"watertight/visit"
	"watertight/wire"
)

// Here tries everything from where this process is: outside, that shows what there would be to find.
func Here(s Spec) []Outcome { return try(s) }

// Child tries everything and ends this process, if it was started as the program inside, or as the one that strays; otherwise it returns at once. It must be called
// before main does anything.
func Child() {
	if len(os.Args) == 2 && os.Args[1] == strayArgument {
		childStray()
	}
	if len(os.Args) != 2 || os.Args[1] != Argument {
		return
	}
	wire.Seal()
	var s Spec
	if err := json.NewDecoder(io.LimitReader(os.Stdin, maxSpec)).Decode(&s); err != nil {
		fmt.Fprintln(os.Stderr, "watertight: this is a part of the leak test:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(try(s)); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// attempt is one try that is to be made.
type attempt struct {
	id, what, to string
	held         []Result
	do           func() (result Result, said string, err error)
}

// together is how many are tried at one time.
const together = 16

// try tries everything, and gives what came of it in the order of IDs.
func try(s Spec) []Outcome {
	all := attempts(s)
	outcomes := make([]Outcome, len(all))
	places := make(chan struct{}, together)
	var trying sync.WaitGroup
	for i, a := range all {
		places <- struct{}{}
		trying.Go(func() {
			defer func() { <-places }()
			started := time.Now()
			result, said, err := a.do()
			o := Outcome{ID: a.id, What: a.what, To: a.to, Result: result, Said: said, Held: slices.Contains(a.held, result)}
			if err != nil {
				if o.Errno = errno(err); o.Errno == "" {
					o.Said = err.Error()
				}
			}
			o.TookMS = float64(time.Since(started).Microseconds()) / 1000
			outcomes[i] = o
		})
	}
	trying.Wait()
	return outcomes
}

// attempts are all that is tried.
func attempts(s Spec) (all []attempt) {
	servers, filed := files()
	all = append(all, filed...)
	question, held := s.Name, []Result{Answered}
	if question == "" { // whether the routes lead anywhere with it is not known
		question, held = visit.NewLabel()+".example.com", []Result{Answered, Refused}
	}
	for _, server := range servers {
		for _, network := range []string{"udp", "tcp"} {
			all = append(all, asking(Name, network, netip.AddrPortFrom(server, 53), question, held...))
		}
	}
	for _, at := range []netip.Addr{nobody4, nobody6, netip.MustParseAddr("192.168.0.1"), netip.MustParseAddr("127.0.0.53"), netip.MustParseAddr("8.8.8.8")} {
		if !hasFamily(servers, at) {
			continue
		}
		for _, network := range []string{"udp", "tcp"} {
			all = append(all, asking(Direct, network, netip.AddrPortFrom(at, 53), question, held...))
		}
	}
	for _, at := range []netip.Addr{nobody4, nobody6} {
		if hasFamily(servers, at) && s.ForeignRefused {
			all = append(all, knocking(Encrypted, "tcp", netip.AddrPortFrom(at, 853)), knocking(Encrypted, "udp", netip.AddrPortFrom(at, 853)))
		}
	}
	if s.ForeignRefused {
		for _, at := range known {
			if hasFamily(servers, at) {
				all = append(all, knocking(Known, "tcp", netip.AddrPortFrom(at, 443)), knocking(Known, "udp", netip.AddrPortFrom(at, 443)))
			}
		}
	}
	for _, at := range []netip.Addr{literal4, literal6} {
		if hasFamily(servers, at) && s.LiteralRefused {
			all = append(all, knocking(Literal, "tcp", netip.AddrPortFrom(at, 443)), knocking(Literal, "udp", netip.AddrPortFrom(at, 443)))
		}
	}
	for _, at := range neighbours() {
		if hasFamily(servers, at.Addr()) {
			all = append(all, calling(at, question))
		}
	}
	if hasFamily(servers, nobody4) {
		all = append(all, asking(Neighbour, "udp", netip.AddrPortFrom(nobody4, 137), question, Refused, Silent))
	}
	for _, path := range append(append(slices.Clone(services), ofUser()...), s.Sockets[:min(len(s.Sockets), maxList)]...) {
		all = append(all, serving(path))
	}
	all = append(all, alone())
	for _, name := range append(s.Devices[:min(len(s.Devices), maxList):min(len(s.Devices), maxList)], "eth0", "wlan0") {
		all = append(all, bound(name))
	}
	return append(all, packets(1), packets(0))
}

// neighbours are where those on the same link hear: mDNS, LLMNR and SSDP, by every interface.
func neighbours() (all []netip.AddrPort) {
	for _, to := range []string{"224.0.0.251:5353", "224.0.0.252:5355", "239.255.255.250:1900", "[ff02::fb]:5353", "[ff02::1:3]:5355"} {
		at := netip.MustParseAddrPort(to)
		if at.Addr().Is4() {
			all = append(all, at)
			continue
		}
		faces, _ := net.Interfaces() // without them, none is tried by any: EXEC-DEVICE says so
		for _, f := range faces[:min(len(faces), maxList)] {
			all = append(all, netip.AddrPortFrom(at.Addr().WithZone(f.Name), at.Port()))
		}
	}
	return all
}

// hasFamily says that there is a resolver of the address's family, and so a network of it.
func hasFamily(servers []netip.Addr, at netip.Addr) bool {
	return slices.ContainsFunc(servers, func(s netip.Addr) bool { return s.Is4() == at.Is4() })
}
