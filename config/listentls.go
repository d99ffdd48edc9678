package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// maxKeyFile bounds a file with certificates or a key, in octets.
const maxKeyFile = 1 << 20

// cutScheme takes tls://, quic:// or https:// from the front of an address to listen on, and from the end of the last the
// path.
func cutScheme(s string) (scheme, address string) {
	for _, scheme := range []string{SchemeTLS, SchemeQUIC, SchemeHTTPS} {
		address, ok := strings.CutPrefix(s, scheme+"://")
		if !ok {
			continue
		}
		if scheme == SchemeHTTPS {
			address = strings.TrimSuffix(address, DoHPath)
		}
		return scheme, address
	}
	return "", s
}

// ServerTLS is what a listener that speaks TLS shows to its clients, and which certificates it asks of them.
type ServerTLS struct {
	// CertFile and KeyFile are where Certificate was read from. Nil: the listener is in clear.
	CertFile, KeyFile string
	Certificate       *tls.Certificate
	// Names are what a certificate is obtained for by ACME, in place of the files.
	Names []string
	// ClientCAFile is where ClientCAs was read from: those who certify clients. Nil: clients show no certificate.
	ClientCAFile string
	ClientCAs    *x509.CertPool
}

// Speaks says whether TLS was written, though it may be wrong.
func (t ServerTLS) Speaks() bool { return t.CertFile != "" || len(t.Names) > 0 }

// keyFiles are the files of `tls` of a listener.
type keyFiles struct {
	cert, key, clientCA string
	names               []string // of `acme`
	pos                 pos
}

func (l *loader) keyFiles(n *node, row, path string) *keyFiles {
	f := &keyFiles{pos: n.pos}
	l.fields(n, row, path, func(key string, n *node, path string) {
		if key == "acme" {
			if f.names = l.acmeNames(n, path); len(f.names) == 0 {
				f.names = []string{""} // what was written counts, and not what could be read of it: that is reported already
			}
			return
		}
		t, _ := l.text(n, path)
		switch key {
		case "cert":
			f.cert = t.value
		case "key":
			f.key = t.value
		case "client_ca":
			f.clientCA = t.value
		}
	})
	return f
}

// credentials reads the certificate of a listener that speaks TLS, and refuses one where it would not be shown.
func (l *loader) credentials(one *DNSListener, files *keyFiles, at pos, path string) {
	switch {
	case !one.Address.IsValid(): // reported already
	case one.Scheme == "" && files != nil:
		l.problem(files.pos, fmt.Sprintf("`%s.tls` would not be used: the address speaks DNS over UDP and TCP", path), "write the address as tls://IP:PORT, quic://IP:PORT or https://IP:PORT"+DoHPath)
	case one.Scheme != "" && (files == nil || len(files.names) == 0 && (files.cert == "" || files.key == "")):
		l.problem(at, fmt.Sprintf("%s://%s has no certificate to show", one.Scheme, one.Address),
			fmt.Sprintf("write {address: \"%s://%s\", tls: {cert: FILE, key: FILE}}, or {acme: NAME} to have one obtained", one.Scheme, one.Address))
	case one.Scheme != "":
		one.ServerTLS = l.serverTLS(files, strings.TrimSuffix(path, ".address")+".tls")
	}
}

// serverTLS reads the certificate of a listener, and the authorities of its clients.
func (l *loader) serverTLS(files *keyFiles, path string) (t ServerTLS) {
	var err error
	switch obtained := len(files.names) > 0; {
	case obtained && (files.cert != "" || files.key != ""):
		l.problem(files.pos, fmt.Sprintf("`%s` has a certificate in files, and asks for another by `acme`", path), "keep one of the two")
		t.Names = files.names
	case obtained:
		t.Names = files.names
	case files.cert == "" || files.key == "":
		l.problem(files.pos, fmt.Sprintf("`%s` has no certificate to show", path), "write {cert: FILE, key: FILE}, or {acme: NAME} to have one obtained")
		return t
	default:
		t.CertFile, t.KeyFile = l.relative(files.cert), l.relative(files.key)
		if t.Certificate, err = readPair(l.host, t, files.cert, files.key); err == nil && l.host.Exposed(t.KeyFile) {
			l.warn(files.pos, fmt.Sprintf("every user of this host may read or change the key %s", files.key), "chmod 600 "+files.key)
		}
		if err != nil {
			l.problem(files.pos, "the certificate cannot be used: "+err.Error(), "give PEM files: the certificate with its chain, and the key that belongs to it")
		}
	}
	if files.clientCA == "" {
		return t
	}
	t.ClientCAFile = l.relative(files.clientCA)
	if t.ClientCAs, err = l.authorities(files.clientCA, t.ClientCAFile); err != nil {
		l.problem(l.at(path+".client_ca"), "the authorities of clients cannot be used: "+err.Error(), "give a PEM file with the certificates of those who issue certificates to clients, and nothing else")
	}
	return t
}

// tlsTree gives the tree of `tls` of a listener.
func (c *Config) tlsTree(at string, t ServerTLS) entries {
	files := entries{{"cert", c.text(at+".cert", t.CertFile)}, {"key", c.text(at+".key", t.KeyFile)}}
	if len(t.Names) > 0 {
		files = entries{{"acme", texts(t.Names, func(i int, n string) string { return c.text(fmt.Sprintf("%s.acme[%d]", at, i), n) })}}
	}
	if t.ClientCAFile != "" {
		files = append(files, entry{"client_ca", c.text(at+".client_ca", t.ClientCAFile)})
	}
	return files
}

// Read gives the certificate with its chain and its key, as the files have them now. The error holds nothing of what is in them.
func (t ServerTLS) Read(h Host) (*tls.Certificate, error) {
	return readPair(h, t, t.CertFile, t.KeyFile)
}

// readPair is Read for files that an error is to call cert and key.
func readPair(h Host, t ServerTLS, cert, key string) (*tls.Certificate, error) {
	certPEM, err := h.ReadFile(t.CertFile, maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("the file %s cannot be read: %s", clip(cert), reason(err))
	}
	keyPEM, err := h.ReadFile(t.KeyFile, maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("the file %s cannot be read: %s", clip(key), reason(err))
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	return &pair, err
}

// errNoAuthority is for a file in which there is no certificate, or something else beside.
var errNoAuthority = errors.New("it holds something else than certificates, or none")

// authorities reads the certificates of those who certify clients. What is no certificate is an error: a file that is half
// understood would turn away clients without a word.
func (l *loader) authorities(written, path string) (*x509.CertPool, error) {
	rest, err := l.host.ReadFile(path, maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("the file %s cannot be read: %s", written, reason(err))
	}
	pool := x509.NewCertPool()
	for found := 0; ; found++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if found == 0 || len(strings.TrimSpace(string(rest))) > 0 {
				return nil, fmt.Errorf("the file %s: %w", written, errNoAuthority)
			}
			return pool, nil
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("the file %s: %w", written, errNoAuthority)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("the file %s: a certificate cannot be read: %w", written, err)
		}
		pool.AddCert(c)
	}
}
