package daemon

import (
	"bytes"
	"crypto/tls"
	"slices"
	"sync/atomic"

	"watertight/config"
)

// followedFiles are those with the certificates of listeners, by the paths of certificate and key. They are read again when
// they change.
type followedFiles map[[2]string]*followed

// followed is one certificate in files. Its owner holds the lock for all but now.
type followed struct {
	files config.ServerTLS
	now   atomic.Pointer[tls.Certificate] // what is shown
	// looked is how the files were at the last look, and read how they were when they were read.
	looked, read [2]stamp
}

// follow gives what shows the certificate of files, as it is at each handshake.
func (all followedFiles) follow(t config.ServerTLS) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	at := [2]string{t.CertFile, t.KeyFile}
	f := all[at]
	if f == nil {
		f = &followed{files: t}
		f.now.Store(t.Certificate)
		all[at] = f
	}
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.now.Load(), nil }
}

// reread shows what the files have now, once they have stayed the same from one look to the next: a certificate and its key
// are seldom replaced at one moment. On an error it shows what it did, until they change again.
func (f *followed) reread(h config.Host) (changed bool, err error) {
	now := [2]stamp{stampOf(f.files.CertFile), stampOf(f.files.KeyFile)}
	settled := now == f.looked
	f.looked = now
	if !settled || now == f.read || slices.Contains(now[:], stamp{}) {
		return false, nil
	}
	f.read = now
	pair, err := f.files.Read(h)
	if err != nil {
		return false, err
	}
	return !slices.EqualFunc(f.now.Swap(pair).Certificate, pair.Certificate, bytes.Equal), nil
}

// rereadCertificates looks at the files of the listeners in force.
func (d *Daemon) rereadCertificates() {
	d.reloading.Lock() // a reload reads the same files
	defer d.reloading.Unlock()
	if d.serving == nil {
		return
	}
	for _, f := range d.serving.files {
		changed, err := f.reread(config.ThisHost())
		switch {
		case err != nil:
			d.o.Log.Error("the certificate of a listener has changed and is not used; the one before is still shown", "file", f.files.CertFile, "error", err)
		case changed:
			d.o.Log.Info("the certificate of a listener has changed, and was read again", "file", f.files.CertFile)
		}
	}
}
