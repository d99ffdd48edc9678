package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Schema gives the JSON Schema (draft-07) of a configuration file, made from [Keys]. Editors check and complete with
// it; [Parse] checks more than a schema can say.
func Schema() ([]byte, error) {
	root := object("")
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = "Watertight configuration"
	root["definitions"] = schema{
		"reference": schema{
			"type": "string", "pattern": `\$\{(env|file):[^}]+\}`,
			"description": "A text with ${env:NAME} or ${file:PATH} in it.",
		},
	}
	b, err := json.MarshalIndent(root, "", "  ")
	return append(b, '\n'), err
}

type schema = map[string]any

// object is a map with the keys of the table right below path, and no others.
func object(path string) schema {
	properties := schema{}
	for _, name := range below(path) {
		row := keyAt(join(path, name))
		properties[name] = row.schema()
	}
	s := schema{"type": "object", "additionalProperties": false, "properties": properties}
	if need := required[path]; len(need) > 0 {
		s["required"] = need
	}
	return s
}

// required are the keys without which a map means nothing.
var required = map[string][]string{
	"listen.proxy":                  {"address"},
	"listen.admin":                  {"address"},
	"listen.gateway":                {"address"},
	"listen.transparent":            {"address"},
	"acme":                          {"accept_terms", "channel"},
	"acme.eab":                      {"kid", "key"},
	"leaktest.canary":               {"zone", "api", "channel"},
	"leaktest.webhook":              {"url", "channel"},
	"routes":                        {"to", "channel"},
	"channels.*.resolver.upstreams": {"url"},
	"channels.*.wireguard":          {"private_key_file", "address", "peers"},
	"channels.*.wireguard.peers":    {"public_key", "endpoint", "allowed_ips"},
}

func (k *Key) schema() schema {
	one := []schema{k.value()}
	if k.orMap {
		one = append(one, object(k.Path))
	}
	if k.form == formChoice || k.form == formPeriod {
		one = append(one, schema{"$ref": "#/definitions/reference"})
	}
	all := one
	if k.list || k.orText {
		items := anyOf(one)
		if k.orText {
			items = schema{"type": "string"}
		}
		list := schema{"type": "array", "minItems": 1, "items": items}
		all = append(slices.Clone(one), list)
		if k.orText {
			all = append(all, schema{"type": "string", "pattern": `[.:/]`}) // one of the texts
		}
	}
	s := anyOf(all)
	if len(all) == 1 && s["description"] == nil {
		s["description"] = k.Doc
	} else {
		s = schema{"anyOf": all, "description": k.Doc}
	}
	if k.Default != "" {
		s["default"] = k.value0()
	}
	return s
}

func anyOf(all []schema) schema {
	if len(all) == 1 {
		return all[0]
	}
	return schema{"anyOf": all}
}

// value is the schema of one value, without its list.
func (k *Key) value() schema {
	switch k.form {
	case formMap:
		return object(k.Path)
	case formNames:
		s := schema{"type": "object", "additionalProperties": keyAt(k.Path + ".*").schema()}
		if k.Path == "channels" {
			s["propertyNames"] = schema{"pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$", "not": schema{"const": RefuseName}}
		}
		return s
	case formBool:
		return schema{"type": "boolean"}
	case formInt:
		return schema{"type": "integer", "minimum": k.min, "maximum": k.max}
	case formChoice:
		return schema{"type": "string", "enum": k.choices}
	case formPeriod:
		return schema{"type": "string", "pattern": `^([0-9]*\.?[0-9]+(ns|us|µs|ms|s|m|h))+$`}
	default:
		return schema{"type": []string{"string", "number", "boolean"}}
	}
}

// value0 is the default as a JSON value.
func (k *Key) value0() any {
	switch {
	case k.form == formBool:
		return k.Default == "true"
	case k.form == formInt:
		var n int
		if _, err := fmt.Sscan(k.Default, &n); err != nil {
			return k.Default
		}
		return n
	case strings.HasPrefix(k.Default, "["):
		return []string{strings.Trim(k.Default, "[]")}
	default:
		return k.Default
	}
}
