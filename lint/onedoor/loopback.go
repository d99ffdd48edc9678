package onedoor

import (
	"go/ast"
	"go/constant"
	"net/netip"
	"strings"
)

// stays says whether what a test does with a forbidden name keeps it on this host, as far as the text tells: a call
// may name loopback addresses only. An address known only at run time passes (it is what a listener was given), and
// so does a name that is not called: the trap of package wire and the overlay job (lint/overlay) see what it does.
func (s *scanner) stays(id *ast.Ident, stack []ast.Node) bool {
	call := called(id, stack)
	if call == nil {
		return true
	}
	local := false // a socket in the file system: its address is a path
	for _, arg := range call.Args {
		tv := s.Info.Types[arg]
		if tv.Value == nil || tv.Value.Kind() != constant.String {
			continue
		}
		text := constant.StringVal(tv.Value)
		switch text {
		case "unix", "unixgram", "unixpacket":
			local = true
			continue
		case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "ip", "ip4", "ip6":
			continue
		}
		if !local && !isLoopback(text) {
			return false
		}
	}
	return true
}

// called gives the call whose function id is, if it is one.
func called(id *ast.Ident, stack []ast.Node) *ast.CallExpr {
	var child ast.Expr = id
	for i := len(stack) - 1; i >= 0; i-- {
		switch n := stack[i].(type) {
		case *ast.SelectorExpr:
			if n.Sel != child {
				return nil
			}
			child = n
		case *ast.ParenExpr:
			child = n
		case *ast.CallExpr:
			if n.Fun == child {
				return n
			}
			return nil
		default:
			return nil
		}
	}
	return nil
}

// isLoopback says whether text is a literal loopback address, with or without a port.
func isLoopback(text string) bool {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().IsLoopback()
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}
