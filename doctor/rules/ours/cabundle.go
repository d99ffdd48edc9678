package ours

import (
	"bytes"
	"strings"

	"watertight/doctor"
)

// bundles and folders are where Go looks for authorities on Linux, in its order (crypto/x509, root_linux.go).
var (
	bundles = []string{
		"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/pki/tls/cacert.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
	}
	folders = []string{"/etc/ssl/certs", "/etc/pki/tls/certs"}
)

// caVariables name a file of authorities.
var caVariables = []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}

var caBundle = doctor.Rule{
	ID: "CA-BUNDLE", Severity: doctor.Medium, Systems: []string{"linux"},
	Title:   "there are no authorities to check certificates with, or a variable names a file that is not there",
	Clients: []string{"Watertight, for resolvers and proxies without ca or pins", "curl, git, requests, Node"},
	Explain: `Without authorities no certificate can be checked: every encrypted resolver that is proven by one is refused, and people
then switch the check off, or DNS back to the clear. A minimal image often lacks the package ca-certificates. Variables that name a
file which is not there make clients fail, or, with Node, go on without it.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		if !authorities(h) {
			found = append(found, doctor.Finding{
				Fact: "this host has no authorities to check certificates with", Evidence: []string{"none of " + strings.Join(bundles, ", ") + " has a certificate"},
				Fix: "apt-get install ca-certificates   # or pins and ca in Watertight's configuration",
			})
		}
		for _, s := range h.Scopes() {
			if s.Kind == doctor.Running {
				continue // it may see other files than we do
			}
			for _, name := range caVariables {
				v, ok := s.Get(name)
				if ok && strings.HasPrefix(v.Value, "/") && !h.Files.Has(v.Value) {
					found = append(found, doctor.Finding{Fact: name + " names " + v.Value + ", which is not there", Evidence: []string{v.String()}, Fix: "unset " + name + "   # and take it out of where it is set"})
				}
			}
		}
		return doctor.Merge(found)
	},
}

// authorities says whether there is a certificate where programs look for authorities.
func authorities(h *doctor.Host) bool {
	for _, name := range bundles {
		if info, ok := h.Files.Stat(name); ok && info.Size() > doctor.MaxFile {
			return true // it is full of them
		}
		if f, ok := h.Files.Read(name); ok && bytes.Contains(f.Data, []byte("CERTIFICATE-----")) {
			return true
		}
	}
	for _, dir := range folders {
		for _, name := range h.Files.Dir(dir) {
			if f, ok := h.Files.Read(dir + "/" + name); ok && bytes.Contains(f.Data, []byte("CERTIFICATE-----")) {
				return true
			}
		}
	}
	return false
}
