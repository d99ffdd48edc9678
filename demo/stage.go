package demo

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"watertight/capture"
	"watertight/contain"
	"watertight/dnswire"
	"watertight/lab/internet"
)

// The names that the client calls, and the one that its hosting service shows instead of them.
const (
	apiName   = "api.example.net"
	loginName = "login.example.org"
	frontName = "front.example.com"
)

func calls() []string { return []string{apiName, loginName} }

// stage is the internet of the demo, and what the client needs to call.
type stage struct {
	*internet.Internet
	resolver *internet.Resolver
	api      *internet.Origin
	caFile   string
	ech      string
	hosts    string         // the client's hosts file; empty: localhost alone
	seen     map[string]int // packets of earlier acts, by point
	visits   int            // of earlier acts
	asked    int            // questions to the authority of earlier acts
	told     int            // questions to the provider of earlier acts
}

const proxyAddress = "127.0.0.1:8080"

func newStage() (s *stage, err error) {
	in, err := internet.New(internet.Dual)
	if err != nil {
		return nil, err
	}
	s = &stage{Internet: in, seen: map[string]int{}}
	if err := s.build(); err != nil {
		_ = in.Close()
		return nil, err
	}
	return s, nil
}

func (s *stage) build() (err error) {
	if s.resolver, err = s.AddResolver("dns.example.net"); err != nil {
		return err
	}
	host, err := s.AddHost("api")
	if err != nil {
		return err
	}
	key, ech, err := newECH(frontName)
	if err != nil {
		return err
	}
	s.ech = ech
	cert := s.CA.Issue(append(calls(), frontName), host.Addrs())
	s.api, err = s.OriginOn(host, cert, func(c *tls.Config) { c.EncryptedClientHelloKeys = []tls.EncryptedClientHelloKey{key} })
	if err != nil {
		return err
	}
	for _, name := range calls() {
		// For a second only: each act is to resolve anew.
		err := s.Authority.Add(fmt.Sprintf("%s. 1 A %s", name, host.Addr4), fmt.Sprintf("%s. 1 AAAA %s", name, host.Addr6))
		if err != nil {
			return err
		}
	}
	s.caFile = filepath.Join(s.Dir, "ca.pem")
	return os.WriteFile(s.caFile, s.CA.PEM(), 0o644)
}

// client calls every name once, as an ordinary program does.
func (s *stage) client(ctx context.Context, proxy string) internet.Result {
	args := []string{"get", "-ca", s.caFile, "-ech", s.ech}
	for _, name := range calls() {
		args = append(args, "https://"+name+"/v1/account")
	}
	p := s.Client.Program(contain.Self, args...)
	p.Hosts = s.hosts
	p.Env = append(p.Env, roleVar+"="+roleOrdinary)
	if proxy != "" {
		p.Env = append(p.Env, "https_proxy=http://"+proxy)
	}
	return p.Run(ctx)
}

// startWatertight starts the real program, as its users do.
func (s *stage) startWatertight(ctx context.Context) (*internet.Process, error) {
	config := fmt.Sprintf(`listen:
  proxy: %s
channels:
  direct:
    resolver:
      upstreams:
        - {url: %q, ca: %q}
`, proxyAddress, s.resolver.DoHURL(), s.caFile)
	path := filepath.Join(s.Dir, "watertight.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	p, err := s.Client.Program(contain.Self, "run", "-c", path).Start(ctx)
	if err != nil {
		return nil, err
	}
	_, err = p.AwaitOutput(ctx, "ready:")
	return p, err
}

// startSaboteur starts a proxy that leaks in Watertight's place.
func (s *stage) startSaboteur(ctx context.Context) (*internet.Process, error) {
	program := s.Client.Program(contain.Self, "proxy", proxyAddress)
	program.Env = append(program.Env, roleVar+"="+roleOrdinary)
	p, err := program.Start(ctx)
	if err != nil {
		return nil, err
	}
	_, err = p.AwaitOutput(ctx, "listening on")
	return p, err
}

// askTheProvider asks the provider for a name in plaintext, as a program does that leaks at its end.
func (s *stage) askTheProvider() error {
	message, err := dnswire.Query(dnswire.Question{Name: apiName, Type: dnswire.A}, 1, 0)
	if err != nil {
		return err
	}
	_, err = s.Client.Ask(netip.AddrPortFrom(s.Client.Nameservers()[0], 53), message)
	return err
}

// act is what was seen while the client made its calls once.
type act struct {
	ID       string   `json:"id"`
	Calls    int      `json:"calls"`
	Answered int      `json:"answered"`
	Read     []string `json:"questions_read_by_isp"`   // DNS questions in the clear
	Hellos   []string `json:"tls_names_read_by_isp"`   // server names in TLS hellos
	Packets  int      `json:"packets_on_the_uplink"`   // at the provider's end
	Named    int      `json:"packets_with_a_name"`     // in which one of the names was found, in any disguise
	Strange  int      `json:"packets_to_others"`       // exchanged with neither the resolver nor the API
	AskedISP int      `json:"questions_isp_answered"`  // in the log of the provider's resolver
	Askers   []string `json:"who_asked_the_authority"` // about the names
	Reason   string   `json:"reason,omitempty"`        // what the client was told, where it failed
	Code     string   `json:"code,omitempty"`          // the fault's code in it
	Failures []string `json:"did_not_hold"`            // what was claimed of this act and did not hold
	Took     int64    `json:"took_ms"`
	details  []capture.Read

	// Named and Strange of both ends of the uplink: for a proof, what the client's end sent counts even if the
	// provider never got it.
	namedAnywhere, strangeAnywhere int
}

var codePattern = regexp.MustCompile(`[A-Z]+(?:_[A-Z]+)+`)

// observe lets the client make its calls, then does what belongs to the act besides, and counts what everybody saw
// since the act before.
func (s *stage) observe(ctx context.Context, id, proxy string, then func() error) (*act, error) {
	start := time.Now()
	result := s.client(ctx, proxy)
	if result.Err != nil {
		return nil, result.Err
	}
	a := &act{ID: id, Calls: len(calls()), Took: time.Since(start).Milliseconds()}
	if result.Code != 0 {
		a.Reason = cmp.Or(reason(result.Stderr), fmt.Sprintf("exit code %d", result.Code))
		a.Code = codePattern.FindString(a.Reason)
	}
	if err := then(); err != nil {
		return nil, err
	}
	packets, err := s.newPackets()
	if err != nil {
		return nil, err
	}
	a.count(packets, s.permitted())

	visits := s.api.Visits()
	for _, name := range calls() {
		if slices.ContainsFunc(visits[s.visits:], func(v internet.Visit) bool { return v.Host == name }) {
			a.Answered++
		}
	}
	s.visits = len(visits)
	told := s.ISP.LogOf(s.Client)
	a.AskedISP, s.told = len(told)-s.told, len(told)
	a.Askers = s.askers()
	return a, nil
}

// reason gives the first line of an error.
func reason(stderr string) string {
	line, _, _ := strings.Cut(strings.TrimPrefix(stderr, "error: "), "\n")
	return line
}

func (s *stage) permitted() []capture.Peer { return append(s.resolver.Peers(), s.api.Peers()...) }

// newPackets gives what crossed the uplink since the last call, at both its ends.
func (s *stage) newPackets() ([]capture.Packet, error) {
	all, err := s.Packets()
	if err != nil {
		return nil, err
	}
	skip, total := s.seen, map[string]int{}
	var fresh []capture.Packet
	for _, p := range all {
		if total[p.Point]++; total[p.Point] > skip[p.Point] {
			fresh = append(fresh, p)
		}
	}
	s.seen = total
	return fresh, nil
}

// count reads the packets as the provider can.
func (a *act) count(packets []capture.Packet, permitted []capture.Peer) {
	var atISP []capture.Packet
	for _, p := range packets {
		if p.Point == "isp" {
			atISP = append(atISP, p)
		}
	}
	a.Packets = len(atISP)
	a.Read, a.Hellos, a.Askers, a.Failures = []string{}, []string{}, []string{}, []string{}
	for _, r := range capture.Names(atISP) {
		switch r.Means {
		case capture.ByDNS:
			a.details = append(a.details, r)
			a.Read = append(a.Read, r.Name+" "+r.Type)
		default:
			if !slices.Contains(a.Hellos, r.Name) {
				a.Hellos = append(a.Hellos, r.Name)
			}
		}
	}
	for _, name := range calls() {
		a.Named += len(capture.Search(atISP, name))
		a.namedAnywhere += len(capture.Search(packets, name))
	}
	a.Strange = len(capture.Strangers(atISP, permitted))
	a.strangeAnywhere = len(capture.Strangers(packets, permitted))
}

// askers names who asked the authority about the client's names since the last call.
func (s *stage) askers() []string {
	log := s.Authority.Log()
	fresh := log[s.asked:]
	s.asked = len(log)
	out := []string{}
	for _, q := range fresh {
		if !slices.Contains(calls(), q.Name) {
			continue
		}
		who := "somebody else"
		switch {
		case s.resolver.Has(q.Client.Addr()):
			who = "the encrypted resolver"
		case slices.Contains(s.Authority.Nameservers(), q.Client.Addr()):
			who = "the provider"
		}
		if !slices.Contains(out, who) {
			out = append(out, who)
		}
	}
	return out
}
