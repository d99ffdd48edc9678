package program

import (
	"fmt"
	"slices"
	"strings"

	"watertight/doctor"
)

var javaOpts = doctor.Rule{
	ID: "JAVA-OPTS", Severity: doctor.High,
	Title:   "a JVM has no proxy for https, or one by SOCKS",
	Clients: []string{"URLConnection, java.net.http.HttpClient, OkHttp, Apache HttpClient, Netty"},
	Explain: `No stack of Java reads proxy variables. Measured with OpenJDK 17: https.proxyHost is clean for URLConnection, HttpClient, OkHttp,
and Apache with useSystemProperties; http.proxyHost alone does not cover https, which goes direct. socksProxyHost resolves here in
URLConnection and Socket, and HttpClient ignores it and goes direct. java.net.useSystemProxies read no variable either. Apache's plain
builder ignores all of it. java.net.URL.equals looks both hosts up, proxy or not. JAVA_TOOL_OPTIONS is read by every JVM.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		at := h.Proxy()
		fix := fmt.Sprintf("JAVA_TOOL_OPTIONS='-Dhttp.proxyHost=%[1]s -Dhttp.proxyPort=%[2]d -Dhttps.proxyHost=%[1]s -Dhttps.proxyPort=%[2]d -Dhttp.nonProxyHosts=localhost|127.*|[::1]'", at.Addr(), at.Port())
		var found []doctor.Finding
		for _, p := range running(h, "java") {
			told, proxies := proxyOf(p)
			options, seen := jvmOptions(p), ""
			fact := ""
			switch {
			case strings.Contains(options, "-DsocksProxyHost="):
				fact, seen = "a JVM has a SOCKS proxy: it resolves names itself, or goes past it", "-DsocksProxyHost"
			case strings.Contains(options, "-Dhttps.proxyHost="):
				continue
			case strings.Contains(options, "-Dhttp.proxyHost="):
				fact, seen = "a JVM has a proxy for http only: https goes direct", "-Dhttp.proxyHost without -Dhttps.proxyHost"
			case proxies && p.Seen:
				fact, seen = "a JVM runs with proxy variables, which Java ignores", told
			}
			if fact != "" {
				found = append(found, doctor.Finding{Fact: fact, Evidence: []string{p.String() + ": " + seen}, Fix: fix})
			}
		}
		for _, s := range h.Scopes() {
			if s.Kind == doctor.Running {
				continue // looked at by their processes
			}
			for _, name := range []string{"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "MAVEN_OPTS", "GRADLE_OPTS", "JAVA_OPTS"} {
				if v, ok := s.Get(name); ok && strings.Contains(v.Value, "-DsocksProxyHost=") {
					found = append(found, doctor.Finding{Fact: name + " gives JVMs a SOCKS proxy: they resolve names themselves, or go past it", Evidence: []string{v.String()}, Fix: fix})
				}
			}
		}
		if s, told, ok := proxied(h); ok && !tellsJVMs(s) {
			if where := installed(h, []string{"java"}, ".sdkman/candidates/java/*/bin/java", ".local/bin/java"); len(where) > 0 {
				found = append(found, doctor.Finding{
					Severity: doctor.Medium, Fact: "Java is installed, and will ignore the proxy variables that are set",
					Evidence: append(where, told.String()), Fix: "export " + fix + "   # `watertight env` prints it",
				})
			}
		}
		return doctor.Merge(found)
	},
}

// tellsJVMs says whether an environment gives JVMs a proxy for https.
func tellsJVMs(s doctor.Scope) bool {
	return slices.ContainsFunc([]string{"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS"}, func(name string) bool {
		v, _ := s.Get(name)
		return strings.Contains(v.Value, "-Dhttps.proxyHost=")
	})
}

// jvmOptions gives what a JVM was told, on its command line and by variables.
func jvmOptions(p doctor.Process) string {
	all := p.Args
	for _, name := range []string{"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS"} {
		if v, ok := p.Env(name); ok {
			all = append(all[:len(all):len(all)], v)
		}
	}
	return strings.Join(all, " ")
}
