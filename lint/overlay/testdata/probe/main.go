// Command probe asks for names in one of the ways there are. None of them leaves the host: port 9 on loopback answers nobody.
package main

import (
	"context"
	"errors"
	"net"
	"os"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	refusing := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("refused")
	}}
	if os.Args[1] != "refusing" && os.Args[1] != "literal" {
		cancel() // a look-up that is not trapped ends before it asks anybody
	}
	defer cancel()
	var err error
	switch os.Args[1] {
	case "fresh":
		_, err = (&net.Resolver{}).LookupHost(ctx, "name.example")
	case "default":
		_, err = net.DefaultResolver.LookupNetIP(ctx, "ip", "name.example")
	case "nil":
		_, err = (*net.Resolver)(nil).LookupIPAddr(ctx, "name.example")
	case "dial":
		_, err = (&net.Dialer{}).DialContext(ctx, "tcp", "name.example:9")
	case "reverse":
		_, err = (&net.Resolver{PreferGo: true}).LookupAddr(ctx, "192.0.2.1")
	case "text":
		_, err = (&net.Resolver{}).LookupTXT(ctx, "name.example")
	case "refusing":
		_, err = refusing.LookupHost(ctx, "name.example")
		if err != nil {
			return
		}
		os.Exit(1)
	case "literal":
		addrs, lookupErr := net.LookupHost("192.0.2.1")
		if lookupErr != nil || len(addrs) != 1 {
			os.Exit(1)
		}
		if conn, dialErr := net.Dial("tcp", "127.0.0.1:9"); dialErr == nil {
			conn.Close()
		}
		return
	}
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(2)
	}
}
