package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"watertight/config"
	"watertight/proxyenv"
)

// baseVars are the variables by which SDKs are told a base URL, each with the origin that it stands for and the path that is
// part of it.
var baseVars = []struct{ variable, origin, path string }{
	{"ANTHROPIC_BASE_URL", "api.anthropic.com:443", "/"},
	{"OPENAI_BASE_URL", "api.openai.com:443", "/v1/"},
}

// baseURLs gives the base URLs of SDKs whose origin an entry of the gateway leads to.
func baseURLs(c *config.Config) []proxyenv.Var {
	open := slices.IndexFunc(c.Listen.Gateway, func(l config.GatewayListener) bool { return !l.Speaks() && l.UsersFile == "" && l.Address.Port() != 0 })
	if open < 0 { // a base URL would need a certificate's name, or a user's token
		return nil
	}
	at := proxyenv.Reachable(c.Listen.Gateway[open].Address)
	var vars []proxyenv.Var
	for _, v := range baseVars {
		for _, g := range c.Gateway {
			rest, ok := strings.CutPrefix(v.path, g.ToPath)
			if g.To.IsValid() && g.To.String() == v.origin && ok {
				vars = append(vars, proxyenv.Var{Name: v.variable, Value: "http://" + at.String() + strings.TrimSuffix(g.Path+rest, "/")})
				break
			}
		}
	}
	return vars
}

func newEnv() *cobra.Command {
	var o options
	var shell string
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the one safe set of proxy variables, to be evaluated by a shell",
		Long: "Prints the proxy variables, in both cases and with the NO_PROXY that all clients read alike:\n\n" +
			"    eval \"$(watertight env)\"\n\n" +
			"Variables are a request, not a guarantee: many programs ignore them. docs/clients.md tells which. Where the gateway\n" +
			"has an entry for OpenAI or Anthropic, the base URLs are printed too: their SDKs for Node ignore proxy variables.\n\n" +
			"Programs that resolve by themselves are pointed at the DNS door, `listen.dns` or --dns, each in its own way:\n\n" +
			"    systemd-resolved   a file in /etc/systemd/resolved.conf.d/ with [Resolve], DNS=127.0.0.1:5353,\n" +
			"                       FallbackDNS= (empty), Domains=~., LLMNR=no and MulticastDNS=no\n" +
			"    Docker             \"dns\": [\"172.17.0.1\"] in /etc/docker/daemon.json, and the door at\n" +
			"                       {address: \"172.17.0.1:53\", allow_insecure: true}: 127.0.0.1 of a container is its own,\n" +
			"                       and with nothing but loopback in resolv.conf Docker asks public resolvers in the clear",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.load()
			if err != nil {
				return err
			}
			plain := c.Listen.Plain()
			if plain < 0 {
				return usageError{fmt.Errorf("every listener of listen.proxy has TLS or users, and many clients go past a proxy whose URL has https:// or a password: add one on 127.0.0.1 without them")}
			}
			at := c.Listen.Proxy[plain].Address
			if at.Port() == 0 {
				return usageError{fmt.Errorf("listen.proxy has port 0, so the port is known only to the running proxy: write one")}
			}
			vars := append(proxyenv.Vars(at), baseURLs(c)...)
			if err := proxyenv.Write(cmd.OutOrStdout(), proxyenv.Shell(shell), vars); err != nil {
				return usageError{err}
			}
			return nil
		},
	}
	o.addFile(cmd)
	o.addListen(cmd, "the `ADDR` of the proxy, instead of what the configuration says")
	cmd.Flags().StringVar(&shell, "shell", "sh", "the `SHELL` to write for: sh (bash, zsh), fish or powershell")
	complete(cmd, "shell", fixed("sh", "bash", "zsh", "fish", "powershell"))
	return cmd
}
