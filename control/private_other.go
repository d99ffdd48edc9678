//go:build !unix

package control

import (
	"errors"
	"os"
)

var errNoControl = errors.New("there is no control socket on this system: it cannot be told whose a directory is")

func checkPrivate(string) error { return errNoControl }

func takeLock(string) (*os.File, error) { return nil, errNoControl }
