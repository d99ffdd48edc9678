package contain

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"

	"watertight/contain/hull"
	"watertight/contain/network"
	"watertight/wire"
)

// The two processes of a contained program, the one outside and the first inside, talk in messages of JSON with sockets beside
// them. maxTalk bounds one, in octets.
const maxTalk = 64 << 10

// order is what the process outside wants.
type order struct {
	ID int `json:"id,omitempty"` // of a socket that is wanted

	// From is the address that a socket of datagrams is to send from, whosoever it is.
	From netip.AddrPort `json:"from,omitzero"`
	// Dial and To are a connection to be made inside.
	Dial string         `json:"dial,omitempty"`
	To   netip.AddrPort `json:"to,omitzero"`

	// Setup is what the program is to find around it, and is said once. Start starts it then.
	Setup *Setup `json:"setup,omitempty"`
	Start bool   `json:"start,omitempty"`
}

// Setup says how a program is to be started: what it finds around it. Nothing but what is named is open to it.
type Setup struct {
	Dir        string   `json:"dir"`                  // the working directory, an absolute path
	KeepEnv    []string `json:"keep_env,omitempty"`   // variables that it gets though they are in [hull.Dangerous]
	Binds      []string `json:"binds,omitempty"`      // files and directories that it sees though they lie where nothing is shown
	Sockets    []string `json:"sockets,omitempty"`    // UNIX sockets of the host that it may reach
	Relative   []string `json:"relative,omitempty"`   // what [hull.Relative] gave
	Unplaced   []string `json:"unplaced,omitempty"`   // and what it did not find
	ShareTmp   bool     `json:"share_tmp,omitempty"`  // it sees the host's /tmp and /var/tmp
	Namespaces bool     `json:"namespaces,omitempty"` // it may make namespaces of its own, as browsers do
	Keep       []int    `json:"keep,omitempty"`       // descriptors of this process that it gets, from 3 on
	AnyFile    bool     `json:"any_file,omitempty"`   // its descriptors may be sockets, directories and devices
}

// plan is the hull for it. The environment is that of the first process inside. The resolvers are addresses that nobody has, whose
// questions are heard as all are.
func (s *Setup) plan(v6 bool) hull.Plan {
	return hull.Plan{
		Dir: s.Dir, Env: os.Environ(), ResolvConf: resolvers(v6), KeepEnv: s.KeepEnv, Binds: s.Binds, Sockets: s.Sockets,
		Relative: s.Relative, Unplaced: s.Unplaced, ShareTmp: s.ShareTmp, Namespaces: s.Namespaces, Keep: s.Keep, AnyFile: s.AnyFile,
	}
}

// resolvers is the text of /etc/resolv.conf.
func resolvers(v6 bool) string {
	text := "nameserver " + network.Server4.String() + "\n"
	if v6 {
		text += "nameserver " + network.Server6.String() + "\n"
	}
	return text
}

// word is what the first process inside has to say.
type word struct {
	ID      int      `json:"id,omitempty"`
	Sockets []string `json:"sockets,omitempty"` // that come with it
	Failed  string   `json:"failed,omitempty"`
	Code    int      `json:"code,omitempty"` // the exit code that stands for the failure
	Started bool     `json:"started,omitempty"`

	Report *hull.Report `json:"report,omitempty"` // with Started: what stands around the program
	Exited *uint32      `json:"exited,omitempty"` // the program's wait status
}

// say sends a message.
func say(to *net.UnixConn, message any, sockets ...syscall.Conn) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(b) > maxTalk {
		return fmt.Errorf("contain: a message of %d octets", len(b))
	}
	return wire.HandOver(to, b, sockets...)
}

// hear reads a message into what message points to. The end is io.EOF.
func hear(from *net.UnixConn, b []byte, message any) ([]*os.File, error) {
	n, sockets, err := wire.TakeOver(from, b)
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err == nil {
		err = json.Unmarshal(b[:n], message)
	}
	if err != nil {
		closeAll(sockets)
		return nil, err
	}
	return sockets, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
