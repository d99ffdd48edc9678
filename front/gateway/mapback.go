package gateway

import (
	"net/http"
	"net/url"
	"strings"
)

// mapBack makes the fields of a response that point to the origin point to the gateway. What points to anyone else stays: the
// client decides where it goes.
func mapBack(h http.Header, m match) {
	from := &url.URL{Scheme: "https", Host: authority(m.target), Path: "/"}
	if at, err := from.Parse("https://" + authority(m.target) + m.toBase + m.rest); err == nil {
		from = at
	}
	for _, k := range []string{"Location", "Content-Location"} {
		for i, v := range h[k] {
			h[k][i] = m.back(from, v)
		}
	}
	for i, v := range h["Refresh"] {
		h["Refresh"][i] = m.backRefresh(from, v)
	}
	for i, v := range h["Link"] {
		h["Link"][i] = m.backLinks(from, v)
	}
	if cookies := h["Set-Cookie"]; len(cookies) > 0 {
		delete(h, "Set-Cookie")
		for _, v := range cookies {
			if v, ok := m.backCookie(v); ok {
				h["Set-Cookie"] = append(h["Set-Cookie"], v)
			}
		}
	}
}

// back maps a reference (RFC 3986, section 4.1) of a response to a request for from. One below the entry becomes a path of the
// gateway; one that is not becomes whole, since it would mean another thing there.
func (m match) back(from *url.URL, ref string) string {
	u, err := from.Parse(ref)
	if err != nil || u.Opaque != "" {
		return ref
	}
	t, err := parseAuthority(u.Host)
	if u.Scheme != "https" || u.User != nil || err != nil || t != m.target {
		return ref
	}
	path := u.EscapedPath()
	rest, ok := below(m.toBase, path)
	if !ok || hasDotSegment(path) {
		return u.String()
	}
	out := m.base + rest
	if path == strings.TrimSuffix(m.toBase, "/") && path != "" {
		out = strings.TrimSuffix(m.base, "/")
	}
	if u.RawQuery != "" || u.ForceQuery {
		out += "?" + u.RawQuery
	}
	if f := u.EscapedFragment(); f != "" {
		out += "#" + f
	}
	return out
}

// backRefresh maps the field that HTML knows, `5; url=https://…`.
func (m match) backRefresh(from *url.URL, v string) string {
	delay, rest, ok := strings.Cut(v, ";")
	key, ref, is := strings.Cut(rest, "=")
	if !ok || !is || !strings.EqualFold(strings.TrimSpace(key), "url") {
		return v
	}
	return delay + "; url=" + m.back(from, strings.Trim(strings.TrimSpace(ref), `"'`))
}

// backLinks maps the targets of links, each in angle brackets (RFC 8288, section 3).
func (m match) backLinks(from *url.URL, v string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(v, "<")
		ref, rest, closed := strings.Cut(after, ">")
		if !found || !closed {
			b.WriteString(v)
			return b.String()
		}
		b.WriteString(before + "<" + m.back(from, ref) + ">")
		v = rest
	}
}

// backCookie maps a cookie (RFC 6265, section 4.1): it is for the gateway's host, and for paths of the entry alone, since
// other origins have theirs beside. Where the client speaks clear text to the gateway it loses Secure, because it would not be sent
// back; one whose name asks for it keeps it. It says false of a cookie for a path that is not below the entry: it would come to
// nobody, or to another origin.
func (m match) backCookie(v string) (string, bool) {
	parts := strings.Split(v, ";")
	out := parts[:1:1]
	named := strings.TrimLeft(parts[0], " \t")
	prefixed := strings.HasPrefix(named, "__Secure-") || strings.HasPrefix(named, "__Host-")
	path := ""
	for _, p := range parts[1:] {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "domain":
		case "path": // the last one counts (section 5.2)
			path = strings.TrimSpace(value)
		case "secure":
			if m.secure || prefixed {
				out = append(out, p)
			}
		default:
			out = append(out, p)
		}
	}
	if !strings.HasPrefix(path, "/") { // the folder of what was asked for (section 5.1.4)
		path = m.toBase + m.rest
		path = path[:strings.LastIndexByte(path, '/')]
	}
	path, ok := m.cookiePath(path)
	return strings.Join(append(out, " Path="+path), ";"), ok
}

// cookiePath is a cookie's path at the gateway. One that is wider than the entry becomes the entry's.
func (m match) cookiePath(path string) (string, bool) {
	if rest, ok := strings.CutPrefix(path, m.toBase); ok {
		return m.base + rest, true
	}
	return m.base, strings.HasPrefix(m.toBase, strings.TrimSuffix(path, "/")+"/")
}
