// Package ordinary is what most programs are: a client, and a proxy, that let the host resolve their names. The demo
// and the lab show what that gives away, and use it as the control without which a proof proves nothing.
//
// It promises to leak. It is the one package of the tree that may use the host's resolver, and nothing that serves
// users may import it.
package ordinary

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// Limits of one call.
const (
	callLimit = 10 * time.Second
	bodyLimit = 64 << 10
)

// Main runs one of
//
//	get [-ca FILE] [-ech BASE64] URL…   call each URL, by way of the proxy variables of the environment
//	proxy ADDRESS                       be a proxy (HTTP CONNECT, SOCKS4a, SOCKS5) that resolves names as the host does
//
// and gives its exit code.
func Main(args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "get":
			return report(get(args[1:]))
		case "proxy":
			if len(args) == 2 {
				return report(proxy(args[1]))
			}
		}
	}
	fmt.Fprintln(os.Stderr, "usage: get [-ca FILE] [-ech BASE64] URL... | proxy ADDRESS")
	return 2
}

func report(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

func get(args []string) error {
	flags := flag.NewFlagSet("get", flag.ContinueOnError)
	caFile := flags.String("ca", "", "`FILE` of trusted authorities")
	ech := flags.String("ech", "", "encrypted client hello configuration list, `BASE64`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := tlsConfig(*caFile, *ech)
	if err != nil {
		return err
	}
	client := http.Client{
		Timeout: callLimit,
		Transport: &http.Transport{
			Proxy:             http.ProxyFromEnvironment,
			TLSClientConfig:   config,
			ForceAttemptHTTP2: true,
		},
	}
	var errs []error
	for _, url := range flags.Args() {
		errs = append(errs, call(&client, url))
	}
	return errors.Join(errs...)
}

func call(client *http.Client, url string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(os.Stdout, io.LimitReader(response.Body, bodyLimit))
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return err
}

func tlsConfig(caFile, ech string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(pem)
	}
	if ech != "" {
		list, err := base64.StdEncoding.DecodeString(ech)
		if err != nil {
			return nil, err
		}
		config.EncryptedClientHelloConfigList = list
	}
	return config, nil
}
