//go:build !linux

package wire

type networkWatch struct{}

func openNetworkWatch() (*networkWatch, error) { return nil, ErrNoNetworkWatch }

func (*networkWatch) run(func()) error { return ErrNoNetworkWatch }

func (*networkWatch) close() {}
