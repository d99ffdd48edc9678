package guard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	nftPatience = 20 * time.Second
	maxListing  = 16 << 20 // octets that nft may tell: 65,536 connections are some 8 MiB
	maxSaid     = 4 << 10  // octets of its errors
)

var errTooMuch = fmt.Errorf("nft tells more than %d octets", maxListing)

// find gives the path of nft.
func (g *Guard) find() (string, error) {
	if g.nft != "" {
		return g.nft, nil
	}
	for _, path := range []string{"/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"} {
		if about, err := os.Stat(path); err == nil && about.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", ErrNoNft
}

// run gives what nft writes.
func (g *Guard) run(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	path, err := g.find()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(ctx, nftPatience)
	defer stop()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env, cmd.Dir = []string{"LC_ALL=C"}, "/"
	cmd.Stdin = strings.NewReader(stdin)
	out, said := &limited{most: maxListing}, &limited{most: maxSaid, cut: true}
	cmd.Stdout, cmd.Stderr = out, said
	cmd.WaitDelay = time.Second
	if cmd.SysProcAttr, err = rights(); err != nil {
		return nil, err
	}
	switch err := cmd.Run(); {
	case out.over:
		return nil, errTooMuch
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("%s %s: %w", path, strings.Join(args, " "), ctx.Err())
	case err != nil:
		return nil, failed(path, args, err, said.b.String())
	}
	return out.b.Bytes(), nil
}

// failed says what nft said.
func failed(path string, args []string, err error, said string) error {
	if strings.Contains(said, "Operation not permitted") {
		return ErrRights
	}
	said = strings.TrimSpace(said)
	if _, ok := errors.AsType[*exec.ExitError](err); !ok || said == "" {
		return fmt.Errorf("%s %s: %w", path, strings.Join(args, " "), err)
	}
	return fmt.Errorf("%s %s: %s", path, strings.Join(args, " "), said)
}

// rights hands CAP_NET_ADMIN on where this process has it and is not root.
func rights() (*syscall.SysProcAttr, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil, fmt.Errorf("which rights this process has cannot be known: %w", err)
	}
	attr := &syscall.SysProcAttr{Pdeathsig: 0}
	if os.Geteuid() != 0 && data[0].Permitted&(1<<unix.CAP_NET_ADMIN) != 0 {
		attr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN}
	}
	return attr, nil
}

// load has nft take rules, wholly or not at all.
func (g *Guard) load(ctx context.Context, rules string) error {
	_, err := g.run(ctx, rules, "-f", "-")
	if err != nil && !errors.Is(err, ErrRights) && !errors.Is(err, ErrNoNft) && ctx.Err() == nil {
		return fmt.Errorf("%w\nIt takes nft 1.0.1 and a kernel of Linux 5.16 with nf_tables and its egress, fib, reject and ct; `watertight guard print` shows the rules", err)
	}
	return err
}

// limited keeps what is written to it up to a bound. What is more is cut where that is said, and an error otherwise.
type limited struct {
	b    bytes.Buffer
	most int
	cut  bool
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	room := l.most - l.b.Len()
	if len(p) <= room {
		return l.b.Write(p)
	}
	l.b.Write(p[:room])
	if l.cut {
		return len(p), nil
	}
	l.over = true
	return room, errors.New("too much")
}
