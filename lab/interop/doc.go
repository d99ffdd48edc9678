// Package interop is the interoperability matrix: tests only, in which Watertight meets software that is not ours.
// Resolvers (unbound, Knot Resolver, dnsdist, BIND, with nsd behind them) are its upstreams, proxies (dante, microsocks,
// squid, tinyproxy) are its hops, programs that people use are its clients, of the proxy and of the DNS door, and nginx is
// the origin.
//
// It promises that every case runs on the lab's internet with all packets captured, after the client was seen leaking
// without a proxy and a leaky proxy was caught by the same checks. It never sleeps, and never touches the real network.
package interop
