package read

// Chromium is what a browser of Chromium's family has in its settings about names and the proxy: of a profile's `Preferences`, of
// `Local State`, or of a file of policies. What is not written is a Word of line 0.
type Chromium struct {
	ProxyMode   Word // direct, auto_detect, pac_script, fixed_servers, system
	ProxyServer Word
	ProxyBypass Word
	PAC         Word
	DoH         Word // off, automatic, secure
	WebRTC      Word // default, default_public_interface_only, disable_non_proxied_udp, …
}

// ParseChromiumPreferences reads a profile's Preferences, or Local State.
func ParseChromiumPreferences(b []byte) (Chromium, error) {
	n, err := ParseJSON(b)
	if err != nil {
		return Chromium{}, err
	}
	proxy := n.Get("proxy")
	return Chromium{
		ProxyMode: proxy.Get("mode").word(), ProxyServer: proxy.Get("server").word(),
		ProxyBypass: proxy.Get("bypass_list").word(), PAC: proxy.Get("pac_url").word(),
		DoH:    n.Get("dns_over_https", "mode").word(),
		WebRTC: n.Get("webrtc", "ip_handling_policy").word(),
	}, nil
}

// ParseChromiumPolicy reads a file of policies: chromeenterprise.google/policies, ProxyMode, ProxySettings, DnsOverHttpsMode, WebRtcIPHandling.
func ParseChromiumPolicy(b []byte) (Chromium, error) {
	n, err := ParseJSON(b)
	if err != nil {
		return Chromium{}, err
	}
	c := Chromium{
		ProxyMode: n.Get("ProxyMode").word(), ProxyServer: n.Get("ProxyServer").word(),
		ProxyBypass: n.Get("ProxyBypassList").word(), PAC: n.Get("ProxyPacUrl").word(),
		DoH:    n.Get("DnsOverHttpsMode").word(),
		WebRTC: n.Get("WebRtcIPHandling").word(),
	}
	for name, to := range map[string]*Word{"ProxyMode": &c.ProxyMode, "ProxyServer": &c.ProxyServer, "ProxyBypassList": &c.ProxyBypass, "ProxyPacUrl": &c.PAC} {
		if one := n.Get("ProxySettings", name); one.There() {
			*to = one.word()
		}
	}
	return c, nil
}

// Over gives these settings where they are written, and those below where they are not: policies over preferences.
func (c Chromium) Over(below Chromium) Chromium {
	for _, pair := range [][2]*Word{
		{&c.ProxyMode, &below.ProxyMode},
		{&c.ProxyServer, &below.ProxyServer},
		{&c.ProxyBypass, &below.ProxyBypass},
		{&c.PAC, &below.PAC},
		{&c.DoH, &below.DoH},
		{&c.WebRTC, &below.WebRTC},
	} {
		if pair[0].Line == 0 {
			*pair[0] = *pair[1]
		}
	}
	return c
}
