package onedoor

import "strings"

// relief says how a rule is held in test files.
type relief int

const (
	none     relief = iota // the rule holds in tests too
	loopback               // calls with a literal address must name a loopback one
	lifted                 // tests are free
)

// rule forbids names and imports. A symbol is an import path, a dot and the name of a function, variable, constant or
// type; a type brings its methods with it, and a single method is written Type.Method.
type rule struct {
	id      string
	why     string
	instead string
	symbols []string
	imports []string
	tests   relief
}

const (
	miekg = "github.com/miekg/dns"
	quic  = "github.com/quic-go/quic-go"
	xnet  = "golang.org/x/net"
	unix  = "golang.org/x/sys/unix"
	wg    = "golang.zx2c4.com/wireguard"
)

var rules = []rule{
	{
		id:      "resolver",
		why:     "a name is resolved inside the channel that will carry its traffic, or not at all",
		instead: "use the channel's Lookup or Dial; for an address that is written out, use netip.ParseAddr or netip.ParseAddrPort",
		symbols: names("net", "DefaultResolver LookupAddr LookupCNAME LookupHost LookupIP LookupMX LookupNS LookupPort LookupSRV LookupTXT "+
			"ResolveIPAddr ResolveTCPAddr ResolveUDPAddr Resolver"),
	},
	{
		id:      "resolver",
		why:     "with cgo it asks the host's name services, which may be on the network",
		instead: "use os.Getuid, os.UserHomeDir or the environment",
		symbols: names("os/user", "Current Lookup LookupGroup LookupGroupId LookupId User.GroupIds"),
	},
	{
		id:      "resolver",
		why:     "it reads the host's list of resolvers",
		instead: "take the resolvers from the channel's configuration",
		symbols: names(miekg, "ClientConfigFromFile ClientConfigFromReader"),
	},
	{
		id:      "socket",
		why:     "only wire opens sockets",
		instead: "dial through the channel, or call wire with a netip.AddrPort",
		symbols: append(
			names("net", "Dial DialIP DialTCP DialTimeout DialUDP DialUnix Dialer FileConn FileListener FilePacketConn "+
				"Listen ListenConfig ListenIP ListenMulticastUDP ListenPacket ListenTCP ListenUDP ListenUnix ListenUnixgram"),
			names("crypto/tls", "Dial DialWithDialer Dialer Listen")...),
		tests: loopback,
	},
	{
		id:      "socket",
		why:     "it opens a socket of its own, and looks a name up for it",
		instead: "hand it a connection that the channel dialled, or a listener that wire opened",
		symbols: join(
			names("net/http", "ListenAndServe ListenAndServeTLS Server.ListenAndServe Server.ListenAndServeTLS"),
			names("net/rpc", "Dial DialHTTP DialHTTPPath"),
			names("net/rpc/jsonrpc", "Dial"),
			names("net/smtp", "Dial SendMail"),
			names("net/textproto", "Dial"),
			names("log/syslog", "Dial New NewLogger"),
			names(xnet+"/icmp", "ListenPacket"),
			names(xnet+"/websocket", "Dial DialConfig"),
			names("golang.org/x/crypto/ssh", "Dial"),
			names(quic, "DialAddr DialAddrEarly ListenAddr ListenAddrEarly"),
			names(quic+"/http3", "ListenAndServe ListenAndServeQUIC ListenAndServeTLS Server.ListenAndServe Server.ListenAndServeTLS"),
			names(miekg, "ActivateAndServe Client Conn Dial DialTimeout DialTimeoutWithTLS DialWithTLS Exchange ExchangeConn ExchangeContext "+
				"ListenAndServe ListenAndServeTLS Server Transfer"),
		),
	},
	{
		id:      "socket",
		why:     "it opens a socket or an interface of the host, past the channel underneath",
		instead: "use package wireguard, whose datagrams leave by that channel",
		symbols: join(
			names(wg+"/conn", "NewDefaultBind NewStdNetBind NewWinRingBind"),
			names(wg+"/ipc", "UAPIListen UAPIOpen"),
			names(wg+"/tun", "CreateTUN CreateTUNFromFile CreateUnmonitoredTUNFromFD"),
		),
	},
	{
		id:      "resolver",
		why:     "it looks names up by itself, in clear text",
		instead: "use package wireguard, which dials addresses only",
		imports: []string{wg + "/tun/netstack"},
	},
	{
		id:      "socket",
		why:     "only wire opens sockets, and this is the system call that does",
		instead: "add what is missing to wire, over netip.AddrPort",
		symbols: append(
			names("syscall", "Bind Connect Socket SYS_BIND SYS_CONNECT SYS_SOCKET"),
			names(unix, "Bind Connect Socket SYS_BIND SYS_CONNECT SYS_IO_URING_SETUP SYS_SOCKET")...),
	},
	{
		id:      "beneath",
		why:     "a number says nothing of what is asked of the kernel",
		instead: "call the function of that system call, by its name",
		symbols: append(
			names("syscall", "AllThreadsSyscall AllThreadsSyscall6 RawSyscall RawSyscall6 Syscall Syscall6"),
			names(unix, "RawSyscall RawSyscall6 RawSyscallNoError Syscall Syscall6 SyscallNoError")...),
	},
	{
		id:      "beneath",
		why:     "it takes a socket that another program opened",
		instead: "have wire open it, or be given it at the start",
		symbols: names(unix, "PidfdGetfd"),
	},
	{
		id:      "beneath",
		why:     "it makes the zero value of any type, of a client that falls back to the host too",
		instead: "write the value's type",
		symbols: names("reflect", "New NewAt Zero"),
		tests:   lifted,
	},
	{
		id:      "client",
		why:     "it resolves and dials by itself, through net/http's defaults",
		instead: "use an http.Client over an http.Transport whose DialContext is a channel's",
		symbols: append(
			names("net/http", "DefaultClient DefaultTransport Get Head Post PostForm"),
			names("net/http/httputil", "NewSingleHostReverseProxy")...),
	},
	{
		id:      "client",
		why:     "it falls back to a direct dial where it is given nothing",
		instead: "use package hop for a way out and the channel's dialer under it",
		imports: []string{xnet + "/proxy", "github.com/prometheus/client_golang/prometheus/push"},
	},
	{
		id:      "client",
		why:     "its listeners open sockets, and its manager asks an authority by net/http's default client",
		instead: "use package acme, which is given a way to the authority",
		imports: []string{"golang.org/x/crypto/acme/autocert"},
	},
	{
		id:      "client",
		why:     "its servers and clients are for tests: they open sockets and use net/http's defaults",
		instead: "keep it to _test.go files",
		imports: []string{"net/http/httptest"},
		tests:   lifted,
	},
	{
		id:      "asothers",
		why:     "what is sent so goes around every channel, and is for the leak test alone",
		instead: "dial through the channel",
		symbols: names("watertight/wire", "DialAsOthers SendPast Unmark"),
	},
	{
		id:      "environment",
		why:     "proxy variables of the environment are reported, not obeyed",
		instead: "leave Proxy nil and dial through a channel",
		symbols: append(names("net/http", "ProxyFromEnvironment"), names(xnet+"/http/httpproxy", "FromEnvironment")...),
	},
	{
		id:      "dnslib",
		why:     "only dnswire reads and writes DNS messages, and dnssec their signatures",
		instead: "use the types of dnswire, and add what is missing there",
		imports: []string{miekg},
		tests:   lifted,
	},
	{
		id:      "exec",
		why:     "another program is out of our hands: its look-ups go where it likes",
		instead: "only contain, lab and demo start programs",
		symbols: join(
			names("os/exec", "Cmd Command CommandContext"),
			names("os", "StartProcess"),
			names("syscall", "Exec ForkExec StartProcess SYS_EXECVE SYS_EXECVEAT"),
			names(unix, "Exec SYS_EXECVE SYS_EXECVEAT"),
		),
		tests: lifted,
	},
	{
		id:      "exec",
		why:     "it starts programs, or serves what another program's socket brings",
		instead: "serve a listener that wire opened",
		imports: []string{"net/http/cgi", "net/http/fcgi"},
	},
	{
		id:      "beneath",
		why:     "C and plug-ins bring libc's resolver, out of reach of these rules",
		instead: "write it in Go",
		imports: []string{"C", "plugin", "runtime/cgo"},
	},
}

// guard names a struct whose zero value falls back to the host: fields in need must be set, those in unset must not.
type guard struct {
	typ     string
	need    []string
	unset   []string
	rule    string
	why     string
	instead string
}

var guards = []guard{
	{
		typ: "net/http.Transport", need: []string{"DialContext"}, unset: []string{"Proxy"}, rule: "client",
		why:     "without DialContext it resolves and dials by itself (DialTLSContext alone leaves http:// to it), and Proxy belongs to hop",
		instead: "write &http.Transport{DialContext: …} with a channel's dialer and no Proxy",
	},
	{
		typ: "net/http.Client", need: []string{"Transport"}, rule: "client",
		why:     "without Transport it uses net/http's default one",
		instead: "write &http.Client{Transport: …}",
	},
	{
		typ: "net/http/httputil.ReverseProxy", need: []string{"Transport"}, rule: "client",
		why:     "without Transport it uses net/http's default one",
		instead: "write &httputil.ReverseProxy{Transport: …}",
	},
	{
		typ: "golang.org/x/crypto/acme.Client", need: []string{"HTTPClient"}, rule: "client",
		why:     "without HTTPClient it uses net/http's default one",
		instead: "write &acme.Client{HTTPClient: …}",
	},
	{
		typ: xnet + "/http2.Transport", need: []string{"DialTLSContext"}, rule: "client",
		why:     "without DialTLSContext it resolves and dials by itself",
		instead: "write &http2.Transport{DialTLSContext: …} with a channel's dialer",
	},
	{
		typ: quic + "/http3.Transport", need: []string{"Dial"}, rule: "client",
		why:     "without Dial it resolves and dials by itself",
		instead: "write &http3.Transport{Dial: …} with a channel's packet dialer",
	},
	{
		typ: quic + ".Transport", need: []string{"Conn"}, rule: "socket",
		why:     "without Conn it has no way out of its own",
		instead: "write &quic.Transport{Conn: …} with a channel's packet connection",
	},
}

// names spells out the symbols of one package.
func names(pkg, list string) []string {
	out := strings.Fields(list)
	for i := range out {
		out[i] = pkg + "." + out[i]
	}
	return out
}

func join(lists ...[]string) []string {
	var out []string
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

// bySymbol and byImport are the rules as they are asked for.
var bySymbol, byImport = index()

func index() (symbols, imports map[string]*rule) {
	symbols, imports = map[string]*rule{}, map[string]*rule{}
	for i := range rules {
		for _, s := range rules[i].symbols {
			symbols[s] = &rules[i]
		}
		for _, p := range rules[i].imports {
			imports[p] = &rules[i]
		}
	}
	return symbols, imports
}

var byType = func() map[string]*guard {
	m := map[string]*guard{}
	for i := range guards {
		m[guards[i].typ] = &guards[i]
	}
	return m
}()

// Ruled says whether a rule names a symbol, or the type that a method belongs to.
func Ruled(symbol string) bool {
	if bySymbol[symbol] != nil {
		return true
	}
	owner, method := strings.LastIndexByte(symbol, '.'), strings.LastIndexByte(symbol, '/')
	return owner > method && bySymbol[symbol[:owner]] != nil
}
