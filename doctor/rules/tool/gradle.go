package tool

import (
	"fmt"

	"watertight/doctor"
	"watertight/doctor/read"
)

var gradle = doctor.Rule{
	ID: "GRADLE", Severity: doctor.High,
	Title:   "gradle.properties set a proxy that resolves here, is another than ours, or is not for https",
	Clients: []string{"Gradle, and what it starts in its JVM"},
	Explain: `Java reads no proxy variables: Gradle takes systemProp.http.proxyHost and systemProp.https.proxyHost. Measured with OpenJDK 17:
http.proxyHost does not cover https, which then goes direct; every path by socksProxyHost resolves here, and java.net.http.HttpClient
ignores it and connects directly.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		for _, f := range h.Readable([]string{".gradle/gradle.properties"}) {
			found = append(found, gradleFile(h, f)...)
		}
		return found
	},
}

func gradleFile(h *doctor.Host, f doctor.File) []doctor.Finding {
	var found []doctor.Finding
	set := map[string]read.Entry{}
	for _, e := range read.Properties(f.Data) {
		set[e.Key] = e
	}
	at := h.Proxy()
	mend := fmt.Sprintf("systemProp.http.proxyHost=%[1]s\nsystemProp.http.proxyPort=%[2]d\nsystemProp.https.proxyHost=%[1]s\nsystemProp.https.proxyPort=%[2]d", at.Addr(), at.Port())
	add := func(e read.Entry, severity doctor.Severity, why string) {
		lines := f.Lines()
		if e.Line >= 1 && e.Line <= len(lines) {
			found = append(found, doctor.Finding{Severity: severity, Fact: f.Path + ": " + why, Evidence: []string{f.At(e.Line, lines[e.Line-1])}, Fix: "# " + doctor.Plain(f.Path) + ":\n" + mend})
		}
	}
	if e := set["systemProp.socksProxyHost"]; e.Value != "" {
		add(e, doctor.Critical, "socksProxyHost: the JVM resolves names itself, or goes past it")
	}
	plain, secure := set["systemProp.http.proxyHost"], set["systemProp.https.proxyHost"]
	if plain.Value != "" && secure.Value == "" {
		add(plain, doctor.Critical, "http.proxyHost without https.proxyHost: https:// goes direct")
	}
	for _, scheme := range []string{"http", "https"} {
		host, port := set["systemProp."+scheme+".proxyHost"], set["systemProp."+scheme+".proxyPort"]
		if host.Value == "" {
			continue
		}
		if u, _ := doctor.ReadProxyURL("http://" + host.Value + ":" + port.Value); !u.Is(h.Ours()) {
			add(host, doctor.High, "its proxy for "+scheme+" is "+host.Value+":"+port.Value+" and not Watertight")
		}
	}
	return found
}
