package browser

import (
	"fmt"
	"strings"
	"time"

	"watertight/doctor"
	"watertight/doctor/read"
)

var wpadOn = doctor.Rule{
	ID: "WPAD-ON", Severity: doctor.High,
	Title:   "a browser, the desktop or another program looks for its proxy by WPAD",
	Clients: []string{"Chromium and its kin", "Firefox", "programs that take the desktop's proxy: GNOME, KDE, macOS"},
	Explain: `With automatic detection a client asks the network for its proxy: DHCP option 252, and DNS for "wpad" with every suffix of the search
list. Measured: Chromium with --proxy-auto-detect and Firefox with network.proxy.type 4 look up wpad and wpad.SUFFIX for each, and go
directly, with look-ups in clear text for every page, where nobody answers. Where somebody does, he is the proxy: the names of pages go
to whoever has registered a name or a suffix (CERT TA16-144A).
Chromium never fetches the script through a proxy, and goes directly where it cannot be had.
Where the running proxy answers DNS, it counts questions for wpad and for names that begin with it: whoever asks them has the detection on,
whatever the settings say that can be read here. Such a question left encrypted, by the channel, and its answer is not trusted more for that.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		add := func(fact, evidence, fix string) {
			found = append(found, doctor.Finding{Fact: fact, Evidence: []string{evidence}, Fix: fix})
		}
		for _, c := range chromium(h) {
			if c.ProxyMode.Text == "auto_detect" {
				add("Chromium looks for its proxy by WPAD", c.file.At(c.ProxyMode.Line, "auto_detect"), chromiumMend(h))
			}
		}
		for _, p := range programs(h) {
			if flag(p, "proxy-auto-detect") != "" {
				add("a running Chromium looks for its proxy by WPAD", p.String()+": --proxy-auto-detect", "chromium --proxy-server="+h.ProxyURL())
			}
		}
		for _, p := range firefox(h) {
			if p.get("network.proxy.type", "5") == "4" {
				add("Firefox looks for its proxy by WPAD", p.prefs["network.proxy.type"].evidence(), userJS(h))
			}
		}
		for _, f := range h.Readable([]string{".config/kioslaverc"}, "/etc/xdg/kioslaverc") {
			for _, e := range read.INI(f.Data) {
				if e.Section == "Proxy Settings" && e.Key == "ProxyType" && e.Value == "3" {
					add("KDE looks for its proxy by WPAD", f.At(e.Line, "ProxyType=3"), "kwriteconfig5 --file kioslaverc --group 'Proxy Settings' --key ProxyType 0")
				}
			}
		}
		for _, f := range h.Readable(nil, "/etc/dconf/db/*.d/*") {
			url, mode := "", doctor.File{}
			line := 0
			for _, e := range read.INI(f.Data) {
				if e.Section != "system/proxy" && e.Section != "org/gnome/system/proxy" {
					continue
				}
				switch v := strings.Trim(e.Value, `'"`); {
				case e.Key == "mode" && v == "auto":
					mode, line = f, e.Line
				case e.Key == "autoconfig-url":
					url = v
				}
			}
			if line > 0 && url == "" {
				add("GNOME looks for its proxy by WPAD", mode.At(line, "mode='auto'"), "gsettings set org.gnome.system.proxy mode none")
			}
		}
		for _, f := range h.Readable(nil, "/Library/Preferences/SystemConfiguration/preferences.plist") {
			key := ""
			for i, line := range f.Lines() {
				line = strings.TrimSpace(line)
				if key == "<key>ProxyAutoDiscoveryEnable</key>" && line == "<integer>1</integer>" { // a value stands on the line behind its key
					add("macOS looks for its proxy by WPAD", f.At(i, key), "sudo networksetup -setproxyautodiscovery Wi-Fi off   # and each other service of: networksetup -listallnetworkservices")
				}
				key = line
			}
		}
		if h.Status != nil && h.Status.DNS != nil && h.Status.DNS.WPAD > 0 {
			add("programs ask the DNS of Watertight for their proxy (WPAD)", fmt.Sprintf("running proxy: %d DNS queries for wpad and names below it since %s", h.Status.DNS.WPAD, h.Status.Started.UTC().Format(time.RFC3339)),
				"gsettings set org.gnome.system.proxy mode none   # and in each browser: no automatic detection\n"+chromiumMend(h))
		}
		return found
	},
}

// chromiumMend is a policy that gives every browser of the host the proxy, and closes what is beside it.
func chromiumMend(h *doctor.Host) string {
	return `sudo mkdir -p /etc/chromium/policies/managed && echo '{"ProxySettings": {"ProxyMode": "fixed_servers", "ProxyServer": "` + h.ProxyURL() +
		`"}, "WebRtcIPHandling": "disable_non_proxied_udp", "DnsOverHttpsMode": "off"}' | sudo tee /etc/chromium/policies/managed/watertight.json   # of Chrome: /etc/opt/chrome/policies/managed`
}

// userJS is what a profile of Firefox needs.
func userJS(h *doctor.Host) string {
	at := h.Proxy()
	host, port := at.Addr().String(), strings.TrimPrefix(at.String()[strings.LastIndex(at.String(), ":"):], ":")
	return "// in user.js of the profile\n" +
		`user_pref("network.proxy.type", 1);` + "\n" +
		`user_pref("network.proxy.http", "` + host + `"); user_pref("network.proxy.http_port", ` + port + `);` + "\n" +
		`user_pref("network.proxy.ssl", "` + host + `"); user_pref("network.proxy.ssl_port", ` + port + `);` + "\n" +
		closeFirefox
}

// closeFirefox keeps Firefox from going past its proxy.
const closeFirefox = `user_pref("network.proxy.allow_bypass", false);` + "\n" +
	`user_pref("network.proxy.failover_direct", false);` + "\n" +
	`user_pref("network.proxy.socks_remote_dns", true); user_pref("network.proxy.socks5_remote_dns", true);` + "\n" +
	`user_pref("network.trr.mode", 5);`
