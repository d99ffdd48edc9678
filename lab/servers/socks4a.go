package servers

import (
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
)

// socks4aServer is a server with the SOCKS of IO::Socket::Socks, which is nobody's here: version 4 with its extension 4a.
const socks4aServer = `
use strict; use IO::Select; use IO::Socket::INET; use IO::Socket::Socks qw(:constants);
$SIG{CHLD} = 'IGNORE';
my $server = IO::Socket::Socks->new(SocksVersion => 4, SocksResolve => 1, ProxyAddr => $ARGV[0], ProxyPort => $ARGV[1], Listen => 64, ReuseAddr => 1)
	or die "it does not listen: $!";
while (1) {
	my $near = $server->accept() or next;
	next if fork;
	my (undef, $host, $port) = @{$near->command};
	my $far = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => 10);
	unless ($far) { $near->command_reply(REQUEST_FAILED, '0.0.0.0', 0); exit }
	$near->command_reply(REQUEST_GRANTED, $far->sockhost, $far->sockport);
	my $both = IO::Select->new($near, $far);
	while (my @ready = $both->can_read) {
		for my $from (@ready) {
			my $to = $from == $near ? $far : $near;
			exit unless sysread($from, my $octets, 65536);
			while (length $octets) { my $n = syswrite($to, $octets) or exit; substr($octets, 0, $n) = '' }
		}
	}
}
`

// SOCKS4a starts a SOCKS4a hop on port 1080. It resolves names as its host does, and has no IPv6.
func SOCKS4a(t testing.TB, h *internet.Host) *internet.Process {
	t.Helper()
	lab.NeedPerl(t, "IO::Socket::Socks")
	d := t.TempDir()
	script := write(t, d, "socks4a.pl", socks4aServer)
	return server{binary: "perl", dir: d, args: []string{script, "0.0.0.0", "1080"}, port: PortSOCKS}.start(t, h)
}
