// Package dnslib reads DNS messages where only dnswire may.
package dnslib

import "github.com/miekg/dns" // want `import "github.com/miekg/dns": only dnswire reads and writes DNS messages, and dnssec their signatures; use the types of dnswire, and add what is missing there \(onedoor: dnslib\)`

var _ dns.Msg
