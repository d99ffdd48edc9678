package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// conforms says whether a value is what a schema asks for: the part of draft-07 that our schema uses, and an error for
// any other word of it.
func conforms(t *testing.T, root, s map[string]any, v any) bool {
	t.Helper()
	for word, arg := range s {
		ok := true
		switch word {
		case "$schema", "title", "description", "default", "definitions":
		case "$ref":
			name := strings.TrimPrefix(arg.(string), "#/definitions/")
			ok = conforms(t, root, root["definitions"].(map[string]any)[name].(map[string]any), v)
		case "type":
			types, many := arg.([]any)
			if !many {
				types = []any{arg}
			}
			ok = slices.Contains(types, any(typeOf(v))) || typeOf(v) == "integer" && slices.Contains(types, any("number"))
		case "enum":
			ok = slices.Contains(arg.([]any), v)
		case "const":
			ok = v == arg
		case "not":
			ok = !conforms(t, root, arg.(map[string]any), v)
		case "pattern":
			text, is := v.(string)
			ok = !is || regexp.MustCompile(arg.(string)).MatchString(text)
		case "minimum", "maximum":
			n, is := v.(float64)
			ok = !is || (word == "minimum") == (n >= arg.(float64)) || n == arg.(float64)
		case "minItems":
			list, is := v.([]any)
			ok = !is || float64(len(list)) >= arg.(float64)
		case "items":
			list, _ := v.([]any)
			for _, item := range list {
				ok = ok && conforms(t, root, arg.(map[string]any), item)
			}
		case "anyOf":
			ok = slices.ContainsFunc(arg.([]any), func(one any) bool { return conforms(t, root, one.(map[string]any), v) })
		case "required":
			m, is := v.(map[string]any)
			for _, key := range arg.([]any) {
				_, has := m[key.(string)]
				ok = ok && (has || !is)
			}
		case "properties", "additionalProperties", "propertyNames":
			m, _ := v.(map[string]any)
			for key, value := range m {
				ok = ok && property(t, root, s, word, key, value)
			}
		default:
			t.Fatalf("the test does not know the word %q of the schema", word)
		}
		if !ok {
			return false
		}
	}
	return true
}

func property(t *testing.T, root, s map[string]any, word, key string, value any) bool {
	t.Helper()
	properties, _ := s["properties"].(map[string]any)
	own, known := properties[key].(map[string]any)
	switch rest, is := s["additionalProperties"].(map[string]any); {
	case word == "propertyNames":
		return conforms(t, root, s[word].(map[string]any), key)
	case known:
		return conforms(t, root, own, value)
	default:
		return is && conforms(t, root, rest, value)
	}
}

func typeOf(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "boolean"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	default:
		return fmt.Sprintf("%T", v)
	}
}

func theSchema(t *testing.T) map[string]any {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// valueOf makes of the loader's tree what a JSON reader would make of the file.
func valueOf(n *node) any {
	switch n.kind {
	case kindList:
		list := []any{}
		for _, item := range n.list {
			list = append(list, valueOf(item))
		}
		return list
	case kindMap:
		m := map[string]any{}
		for _, p := range n.pairs {
			m[p.key.text] = valueOf(p.value)
		}
		return m
	case kindNull:
		return nil
	default:
		var v any
		if !n.quoted && json.Unmarshal([]byte(n.text), &v) == nil {
			return v
		}
		return n.text
	}
}

func treeOf(t *testing.T, text string) any {
	t.Helper()
	l := newLoader("f", testHost(nil, nil))
	n := l.parseTree([]byte(text))
	if n == nil || len(l.problems) > 0 {
		t.Fatalf("%v\n%s", l.problems, text)
	}
	return valueOf(n)
}

func TestSchema_TakesEveryKeyAndWhatShowPrints(t *testing.T) {
	s := theSchema(t)
	for _, text := range []string{everyKey, "", "listen: {proxy: 127.0.0.1:1}", "policy: {private_targets: allow}", "log: {level: '${env:L}'}"} {
		if !conforms(t, s, s, treeOf(t, text)) {
			t.Errorf("the schema refuses\n%s", text)
		}
	}
	for _, text := range []string{"", everyKey} {
		asJSON, err := good(t, text).ShowJSON()
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(asJSON, &v); err != nil || !conforms(t, s, s, v) {
			t.Errorf("the schema refuses (%v)\n%s", err, asJSON)
		}
	}
}

// describes says whether a schema has a way down to a path.
func describes(s map[string]any, parts []string) bool {
	if len(parts) == 0 {
		return true
	}
	if properties, ok := s["properties"].(map[string]any); ok {
		if own, ok := properties[parts[0]].(map[string]any); ok && describes(own, parts[1:]) {
			return true
		}
	}
	if rest, ok := s["additionalProperties"].(map[string]any); ok && parts[0] == "*" && describes(rest, parts[1:]) {
		return true
	}
	if items, ok := s["items"].(map[string]any); ok && describes(items, parts) {
		return true
	}
	all, _ := s["anyOf"].([]any)
	return slices.ContainsFunc(all, func(one any) bool { return describes(one.(map[string]any), parts) })
}

func TestSchema_DescribesEveryKey(t *testing.T) {
	s := theSchema(t)
	for _, k := range Keys {
		if !describes(s, strings.Split(k.Path, ".")) {
			t.Errorf("the schema has no %s", k.Path)
		}
	}
}

func TestSchema_RefusesWhatTheLoaderRefuses(t *testing.T) {
	s := theSchema(t)
	for _, text := range []string{
		"lisen: {}", "listen: {gateway: {hosts: x}}", "gateway: []", "gateway: [{path: /x/, tu: y}]", "listen: {proxy: []}", "listen: {proxy: {allow_insecure: true}}", "listen: {proxy: {address: 127.0.0.1:1, allow_insecure: 'yes'}}",
		"channels: {refuse: {}}", "channels: {a: {wireguard: {private_key_file: k, address: 10.0.0.1, peers: [{public_key: k}]}}}", "channels: {-a: {}}", "channels: {a: {wireguard: {}}}", "channels: {a: {resolve: hier}}", "channels: {a: {resolver: {upstreams: []}}}",
		"channels: {a: {resolver: {upstreams: [{name: x}]}}}", "channels: {a: {resolver: {timeout: 5}}}", "channels: {a: {resolver: {cache: {size: -1}}}}",
		"routes: []", "routes: [{to: x}]", "routes: [{channel: direct}]", "routes: {}", "policy: {plain_dns: allow}", "policy: {private_targets: report}",
		"limits: {connections: 0}", "limits: {per_user: {x: 1}}", "log: {names: 1}", "log: {level: verbose}", "log:",
	} {
		bad(t, text)
		if conforms(t, s, s, treeOf(t, text)) {
			t.Errorf("the schema takes\n%s", text)
		}
	}
}

// The documentation says of each key its name and its default.
func TestKeys_StandInTheReferenceWithTheirDefaults(t *testing.T) {
	text, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) >= 6 && strings.HasPrefix(cells[1], " `") {
			rows[strings.Trim(cells[1], " `")] = strings.Trim(cells[3], " `")
		}
	}
	for _, k := range Keys {
		if k.form == formMap || k.form == formNames {
			continue
		}
		path := strings.Replace(strings.Replace(k.Path, "addresses.*", "addresses.HOST", 1), "*", "NAME", 1)
		got, ok := rows[path]
		want := k.Default
		if want == "" {
			want = "–"
		}
		if !ok || got != want {
			t.Errorf("docs/configuration.md has %q as the default of `%s`, want %q", got, path, want)
		}
		delete(rows, path)
	}
	for path := range maps.Keys(rows) {
		if strings.Contains(path, ".") && !strings.ContainsAny(path, " \"/0123456789") && !strings.HasSuffix(path, "example.com") {
			t.Errorf("docs/configuration.md explains `%s`, which is no key", path)
		}
	}
	for path := range later {
		last := path[strings.LastIndex(path, ".")+1:]
		if top, _, _ := strings.Cut(path, "."); keyAt(path) != nil || keyAt(top) == nil && strings.Contains(path, ".") {
			t.Errorf("%s (%s) is a key of this version too", path, last)
		}
	}
}

// The defaults of the table are the defaults of the loader.
func TestKeys_DefaultsAreWhatTheLoaderFillsIn(t *testing.T) {
	if good(t, "").Listen.Proxy[0].Address.String() != keyAt("listen.proxy").Default {
		t.Error("listen.proxy")
	}
	var show map[string]any
	asJSON, err := good(t, "").ShowJSON()
	if err != nil || json.Unmarshal(asJSON, &show) != nil {
		t.Fatal(err)
	}
	for _, k := range Keys {
		if k.Default == "" || strings.HasPrefix(k.Path, "listen.") || strings.HasPrefix(k.Path, "acme.") || strings.HasPrefix(k.Path, "leaktest.") || strings.HasPrefix(k.Path, "gateway.") || strings.HasPrefix(k.Path, "channels.*.wireguard.") || strings.HasPrefix(k.Path, "channels.*.proxy.") || k.Path == "channels.*.over" || k.Path == "channels.*.resolve" {
			continue
		}
		var v any = show
		for part := range strings.SplitSeq(strings.Replace(k.Path, "*", "direct", 1), ".") {
			v = v.(map[string]any)[part]
		}
		if got := fmt.Sprint(v); got != k.Default {
			t.Errorf("%s: the table says %q, the loader %q", k.Path, k.Default, got)
		}
	}
}
