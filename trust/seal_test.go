package trust

import (
	"crypto/x509"
	"errors"
	"testing"
)

// Where the environment leaves verification to the system the program is not to go on. That it is taken away otherwise is seen in the lab,
// by what was built for another system: there is one such choice for each process.
func TestSeal_IsRefusedWhereTheEnvironmentHasTheSystemVerify(t *testing.T) {
	t.Setenv("GODEBUG", "x509usefallbackroots=0")
	own := x509.NewCertPool()
	if system, err := x509.SystemCertPool(); err != nil || system.Equal(own) {
		t.Skip("this host has no authorities, and those that are given are taken in any case")
	}
	if err := seal(own); !errors.Is(err, errSystemVerifies) {
		t.Errorf("%v", err)
	}
}

func TestSeal_IsNothingWhereGoVerifiesByItself(t *testing.T) {
	if err := seal(nil); err != nil {
		t.Error(err)
	}
}
