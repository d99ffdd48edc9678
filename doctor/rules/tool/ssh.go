package tool

import (
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

var sshUser, sshHost = []string{".ssh/config"}, []string{"/etc/ssh/ssh_config", "/etc/ssh/ssh_config.d/*.conf"}

var sshSSHFP = doctor.Rule{
	ID: "SSH-SSHFP", Severity: doctor.High,
	Title:   "ssh asks DNS for fingerprints of host keys",
	Clients: []string{"ssh, scp, sftp, git over ssh"},
	Explain: `Measured with OpenSSH 9.2: VerifyHostKeyDNS yes asks the host's resolver for SSHFP records (type 44) of the destination, also
where a ProxyCommand carries the connection and gets the name. ask does the same. The default is no.`,
	Find: settings(sshUser, sshHost, read.SSH, func(_ *doctor.Host, e read.Entry) *judged {
		if e.Key != "verifyhostkeydns" || strings.EqualFold(e.Value, "no") || strings.EqualFold(e.Value, "false") {
			return nil
		}
		j := past("VerifyHostKeyDNS "+e.Value+" asks DNS for every host, past the proxy", "VerifyHostKeyDNS no")
		j.mend = "VerifyHostKeyDNS no"
		return j
	}),
}

var sshCanon = doctor.Rule{
	ID: "SSH-CANON", Severity: doctor.High,
	Title:   "ssh looks names up to make them canonical",
	Clients: []string{"ssh, scp, sftp, git over ssh"},
	Explain: `Measured with OpenSSH 9.2: CanonicalizeHostname always looks up NAME.DOMAIN for each of CanonicalDomains, also with a
ProxyCommand, for names with no more dots than CanonicalizeMaxDots. With yes that is left out where there is a ProxyCommand.`,
	Find: settings(sshUser, sshHost, read.SSH, func(_ *doctor.Host, e read.Entry) *judged {
		if e.Key != "canonicalizehostname" || !strings.EqualFold(e.Value, "always") {
			return nil
		}
		j := past("CanonicalizeHostname always looks names up here, with a ProxyCommand too", "CanonicalizeHostname no")
		j.mend = "CanonicalizeHostname no"
		return j
	}),
}
