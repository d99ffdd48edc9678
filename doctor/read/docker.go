package read

// DockerDaemon is what a daemon.json says about names and proxies: dockerd(8), "Daemon configuration file".
type DockerDaemon struct {
	DNS                   []Word
	HTTPProxy, HTTPSProxy Word // of `proxies`, since 23.0
	NoProxy               Word
	NoBridge              bool // "bridge": "none": there is no default bridge
}

// ParseDockerDaemon reads a daemon.json. An empty file says nothing, as for dockerd.
func ParseDockerDaemon(b []byte) (DockerDaemon, error) {
	if len(b) == 0 {
		return DockerDaemon{}, nil
	}
	n, err := ParseJSON(b)
	if err != nil {
		return DockerDaemon{}, err
	}
	var d DockerDaemon
	for _, one := range n.Get("dns").Items {
		d.DNS = append(d.DNS, Word{one.Text(), one.Line})
	}
	p := n.Get("proxies")
	d.HTTPProxy = p.Get("http-proxy").word()
	d.HTTPSProxy = p.Get("https-proxy").word()
	d.NoProxy = p.Get("no-proxy").word()
	d.NoBridge = n.Get("bridge").Text() == "none"
	return d, nil
}

func (n Node) word() Word {
	return Word{n.Text(), n.Line}
}

// DockerProxies is one entry of `proxies` in ~/.docker/config.json: what the command line gives to containers as their environment. The
// entry is for a daemon's address, or "default".
type DockerProxies struct {
	Daemon                    string
	HTTP, HTTPS, All, NoProxy Word
	Line                      int
}

// maxDaemons bounds the entries.
const maxDaemons = 64

// ParseDockerConfig reads the command line's config.json. The entries come in no order.
func ParseDockerConfig(b []byte) ([]DockerProxies, error) {
	n, err := ParseJSON(b)
	if err != nil {
		return nil, err
	}
	var all []DockerProxies
	for daemon, p := range n.Get("proxies").Fields {
		if len(all) == maxDaemons {
			break
		}
		all = append(all, DockerProxies{
			Daemon: daemon, Line: p.Line,
			HTTP: p.Get("httpProxy").word(), HTTPS: p.Get("httpsProxy").word(), All: p.Get("allProxy").word(), NoProxy: p.Get("noProxy").word(),
		})
	}
	return all, nil
}
