package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"watertight/cli"
	"watertight/wire"
)

// TestMain makes the test binary the program itself when it is started as "watertight", which stands in PATH.
func TestMain(m *testing.M) {
	child()
	if filepath.Base(os.Args[0]) != "watertight" { // the environment of the tests is their own
		for _, v := range []string{
			"http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
			"WATERTIGHT_CONFIG", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "NODE_USE_ENV_PROXY",
		} {
			_ = os.Unsetenv(v)
		}
	}
	testscript.Main(m, map[string]func(){"watertight": func() {
		wire.Seal()
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}})
}
