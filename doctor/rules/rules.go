// Package rules is the list of what the doctor knows. Each family of rules is a package below; each rule is a file there
// with its text and its data, and its hosts are in testdata/hosts: at least one that it finds, and one that is clean.
package rules

import (
	"slices"

	"watertight/doctor"
	"watertight/doctor/rules/browser"
	"watertight/doctor/rules/container"
	"watertight/doctor/rules/env"
	"watertight/doctor/rules/ours"
	"watertight/doctor/rules/program"
	"watertight/doctor/rules/resolver"
	"watertight/doctor/rules/tool"
	"watertight/doctor/rules/traffic"
)

// All gives every rule, in the order in which they are listed and run.
func All() []doctor.Rule {
	return slices.Concat(
		env.Rules(),
		tool.Rules(),
		program.Rules(),
		resolver.Rules(),
		traffic.Rules(),
		container.Rules(),
		browser.Rules(),
		ours.Rules(),
	)
}
