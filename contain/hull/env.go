package hull

import "strings"

// Variable is one that a contained program does not get, unless it is kept by name.
type Variable struct {
	Name string // a name, or one that ends in * for all that begin so
	Has  string // what its value has; empty for any value
	Why  string
}

// Dangerous lists the variables that a contained program does not get. Most of them lead to a socket that is not
// reachable inside: without them a program says so, or does without, rather than wait for a reply.
func Dangerous() []Variable {
	return []Variable{
		// Ways to other programs of the host, which resolve and connect outside.
		{Name: "DBUS_*", Why: "a message bus starts other programs, and asks them to open names"},
		{Name: "SSH_AUTH_SOCK", Why: "an agent outside signs, and may be forwarded to another host"},
		{Name: "SSH_AGENT_PID", Why: "belongs to the agent"},
		{Name: "GPG_AGENT_INFO", Why: "an agent outside, which fetches keys by itself"},
		{Name: "GNOME_KEYRING_CONTROL", Why: "an agent outside"},
		{Name: "DOCKER_HOST", Why: "a daemon outside runs programs on the host's network"},
		{Name: "CONTAINER_HOST", Why: "a daemon outside runs programs on the host's network"},
		{Name: "BUILDKIT_HOST", Why: "a daemon outside runs programs on the host's network"},
		{Name: "SYSTEMD_*", Why: "ways to the service manager"},
		{Name: "NOTIFY_SOCKET", Why: "a socket of the service manager"},
		{Name: "LISTEN_*", Why: "sockets that were opened outside"},
		{Name: "INVOCATION_ID", Why: "says that the service manager is there to be spoken to"},
		{Name: "JOURNAL_STREAM", Why: "says that output goes to the journal, which is then spoken to directly"},
		{Name: "WATCHDOG_*", Why: "a process number that is another one inside"},
		{Name: "DISPLAY", Why: "a display server outside passes key strokes and clips on to other windows"},
		{Name: "WAYLAND_*", Why: "a display server outside"},
		{Name: "XAUTHORITY", Why: "opens the display server"},
		{Name: "SESSION_MANAGER", Why: "a socket of the session"},
		{Name: "ICEAUTHORITY", Why: "opens the session's sockets"},
		{Name: "DESKTOP_STARTUP_ID", Why: "belongs to the session outside"},
		{Name: "XDG_ACTIVATION_TOKEN", Why: "belongs to the session outside"},
		{Name: "PULSE_SERVER", Why: "a sound server outside, which has a network protocol"},
		{Name: "PIPEWIRE_*", Why: "a sound server outside"},
		{Name: "AT_SPI_BUS_ADDRESS", Why: "a message bus"},
		{Name: "IBUS_ADDRESS", Why: "a message bus"},
		{Name: "TMUX*", Why: "a terminal outside starts programs for whoever asks"},
		{Name: "STY", Why: "a terminal outside starts programs for whoever asks"},
		{Name: "KITTY_LISTEN_ON", Why: "a terminal outside starts programs for whoever asks"},
		{Name: "WEZTERM_UNIX_SOCKET", Why: "a terminal outside starts programs for whoever asks"},
		{Name: "ALACRITTY_SOCKET", Why: "a terminal outside starts programs for whoever asks"},
		{Name: "WSL_INTEROP", Why: "Windows outside starts programs for whoever asks"},
		{Name: "NVIM", Why: "an editor outside runs commands for whoever asks"},
		{Name: "NVIM_LISTEN_ADDRESS", Why: "an editor outside runs commands for whoever asks"},
		{Name: "VSCODE_*", Why: "an editor outside opens addresses for whoever asks"},
		// Ways to another network setting: inside there is one way out, and it is not a proxy.
		{Name: "http_proxy", Why: "inside, no proxy is needed, and none is reachable"},
		{Name: "HTTP_PROXY", Why: "see http_proxy"},
		{Name: "https_proxy", Why: "see http_proxy"},
		{Name: "HTTPS_PROXY", Why: "see http_proxy"},
		{Name: "ftp_proxy", Why: "see http_proxy"},
		{Name: "FTP_PROXY", Why: "see http_proxy"},
		{Name: "rsync_proxy", Why: "see http_proxy"},
		{Name: "RSYNC_PROXY", Why: "see http_proxy"},
		{Name: "all_proxy", Why: "see http_proxy"},
		{Name: "ALL_PROXY", Why: "see http_proxy"},
		{Name: "no_proxy", Why: "see http_proxy"},
		{Name: "NO_PROXY", Why: "see http_proxy"},
		{Name: "ws_proxy", Why: "see http_proxy"},
		{Name: "WS_PROXY", Why: "see http_proxy"},
		{Name: "wss_proxy", Why: "see http_proxy"},
		{Name: "WSS_PROXY", Why: "see http_proxy"},
		{Name: "npm_config_proxy", Why: "see http_proxy"},
		{Name: "npm_config_http_proxy", Why: "see http_proxy"},
		{Name: "npm_config_https_proxy", Why: "see http_proxy"},
		{Name: "PIP_PROXY", Why: "see http_proxy"},
		{Name: "CARGO_HTTP_PROXY", Why: "see http_proxy"},
		{Name: "GLOBAL_AGENT_HTTP_PROXY", Why: "see http_proxy"},
		{Name: "GLOBAL_AGENT_HTTPS_PROXY", Why: "see http_proxy"},
		{Name: "grpc_proxy", Why: "see http_proxy"},
		{Name: "no_grpc_proxy", Why: "see http_proxy"},
		{Name: "JAVA_TOOL_OPTIONS", Has: "proxyHost", Why: "see http_proxy"},
		{Name: "_JAVA_OPTIONS", Has: "proxyHost", Why: "see http_proxy"},
		// Ways to change how names are resolved (resolver(3), hostname(7), nscd).
		{Name: "RES_OPTIONS", Why: "changes what resolv.conf says"},
		{Name: "LOCALDOMAIN", Why: "appends domains to names"},
		{Name: "HOSTALIASES", Why: "turns names into other names"},
		{Name: "RESOLV_*", Why: "changes where names are looked up"},
		{Name: "PROXYCHAINS_*", Why: "takes connections elsewhere"},
		{Name: "TORSOCKS_*", Why: "takes connections elsewhere"},
	}
}

// matches says whether this variable is meant.
func (v Variable) matches(name, value string) bool {
	if !strings.Contains(value, v.Has) {
		return false
	}
	if prefix, all := strings.CutSuffix(v.Name, "*"); all {
		return strings.HasPrefix(name, prefix)
	}
	return name == v.Name
}

// Environment gives env, in the form NAME=VALUE, without the dangerous variables, and the names of those that were
// left out. Names in keep stay.
func Environment(env, keep []string) (kept, out []string) {
	stays := map[string]bool{}
	for _, name := range keep {
		stays[name] = true
	}
	dangerous := Dangerous()
	for _, entry := range env {
		name, value, ok := strings.Cut(entry, "=")
		if !ok {
			continue
		}
		left := false
		for _, v := range dangerous {
			left = left || v.matches(name, value) && !stays[name]
		}
		if left {
			out = append(out, name)
			continue
		}
		kept = append(kept, entry)
	}
	return kept, out
}

// valueOf gives a variable of env.
func valueOf(env []string, name string) string {
	for _, entry := range env {
		if n, value, ok := strings.Cut(entry, "="); ok && n == name {
			return value
		}
	}
	return ""
}
