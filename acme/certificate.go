package acme

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// When the authority is asked.
const (
	floor       = time.Minute   // between two attempts for the same names
	mostBackOff = 6 * time.Hour // after failures
	mostWait    = 24 * time.Hour
	logEvery    = time.Minute // handshakes without a certificate
)

// kept is what is kept of a certificate from one run to the next.
type kept struct {
	Directory string    `json:"directory"`
	Names     []string  `json:"names"`
	Chain     string    `json:"chain,omitempty"` // PEM, the certificate first
	Key       string    `json:"key,omitempty"`   // PEM
	Tried     time.Time `json:"tried"`           // when the last attempt began
	Next      time.Time `json:"next"`            // before which no other begins; zero after a success
	Failures  int       `json:"failures,omitempty"`
}

// certificate is one that is kept for a set of names.
type certificate struct {
	names     []string
	directory string
	file      string // the name of its text
	log       *slog.Logger

	mu      sync.Mutex
	kept    kept
	current *tls.Certificate // nil: there is none
	renew   time.Time        // when current is to be renewed
	limited time.Time        // until when the authority said not to come
	again   time.Time        // when what was not begun is looked at again
	why     string           // the last error
	told    time.Time        // when a refused handshake was logged
	left    int              // that were not
	seen    string           // the text that is kept
	wake    chan struct{}    // told that the time of the next attempt has changed
}

func newCertificate(names []string, directory string, log *slog.Logger) *certificate {
	sum := sha256.Sum256([]byte(directory + "\n" + keyOf(names)))
	return &certificate{
		names: names, directory: directory, file: "certificate-" + hex.EncodeToString(sum[:8]), log: log,
		kept: kept{Directory: directory, Names: names}, wake: make(chan struct{}, 1),
	}
}

// parseKept reads what was kept of a certificate. It is one only where the key is its key, it names all names, and a chain
// that can be read stands in it.
func parseKept(text []byte) (kept, *tls.Certificate, error) {
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return kept{}, nil, errors.New("it is no JSON of a certificate")
	}
	if k.Failures < 0 || k.Chain == "" && k.Key != "" {
		return kept{}, nil, errors.New("it is incomplete")
	}
	if k.Chain == "" {
		return k, nil, nil
	}
	c, err := pair(k.Chain, k.Key, k.Names)
	if err != nil {
		return kept{}, nil, err
	}
	return k, c, nil
}

// pair makes a certificate of its PEM texts, and checks that it is for the names.
func pair(chain, key string, names []string) (*tls.Certificate, error) {
	c, err := tls.X509KeyPair([]byte(chain), []byte(key))
	if err != nil {
		return nil, err
	}
	for _, der := range c.Certificate[1:] {
		if _, err := x509.ParseCertificate(der); err != nil {
			return nil, err
		}
	}
	if len(names) == 0 {
		return nil, errors.New("it is for no name")
	}
	for _, n := range names {
		if err := c.Leaf.VerifyHostname(n); err != nil {
			return nil, err
		}
	}
	if !c.Leaf.NotAfter.After(c.Leaf.NotBefore) {
		return nil, errors.New("it ends before it begins")
	}
	return &c, nil
}

// load reads what was kept, if it is not known. What cannot be used is logged, and then there is no certificate.
func (c *certificate) load(s Store) {
	text, err := s.Read(c.file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var k kept
	var current *tls.Certificate
	if err == nil {
		if string(text) == c.seen {
			return
		}
		k, current, err = parseKept(text)
	}
	if err == nil && (k.Directory != c.directory || keyOf(k.Names) != keyOf(c.names)) {
		err = errors.New("it is another's")
	}
	if err != nil {
		c.log.Warn("a certificate that was kept cannot be used; another is asked for", "file", s.Path(c.file), "error", err)
		return
	}
	c.kept, c.seen = k, string(text)
	if c.use(current); current != nil && time.Now().Before(c.renew) {
		c.why, c.again = "", time.Time{} // another program has renewed it
	}
}

// use puts a certificate in force. c.mu is held.
func (c *certificate) use(current *tls.Certificate) {
	if c.current = current; current == nil {
		return
	}
	life := current.Leaf.NotAfter.Sub(current.Leaf.NotBefore)
	// A third of the life is left for what may fail, and not all come at once.
	c.renew = current.Leaf.NotAfter.Add(-life/3 - rand.N(life/20+1))
}

// save keeps the present state. c.mu is held.
func (c *certificate) save(s Store) error {
	text, err := json.Marshal(c.kept)
	if err == nil {
		err = s.Write(c.file, text)
	}
	if err == nil {
		c.seen = string(text)
	}
	return err
}

// show gives the certificate for a handshake; the error is why there is none.
func (c *certificate) show() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	why := c.why
	switch {
	case c.current == nil && why == "":
		why = "it was not asked for yet"
	case c.current == nil:
	case !now.Before(c.current.Leaf.NotAfter):
		why = strings.TrimSuffix("it ended at "+c.current.Leaf.NotAfter.Format(time.RFC3339)+"; "+why, "; ")
	default:
		return c.current, nil
	}
	if now.Sub(c.told) < logEvery && !now.Before(c.told) {
		c.left++
	} else {
		c.log.Warn("a handshake was refused: the listener has no certificate", "names", strings.Join(c.names, " "), "why", why,
			"next", c.nextTry().Format(time.RFC3339), "left_out", c.left)
		c.told, c.left = now, 0
	}
	return nil, fmt.Errorf("acme: there is no certificate: %s", why)
}

// nextTry is when the authority is to be asked next. c.mu is held.
func (c *certificate) nextTry() time.Time {
	c.mend(time.Now())
	next := c.kept.Next
	if c.current != nil && c.renew.After(next) {
		next = c.renew
	}
	if c.again.After(next) {
		next = c.again
	}
	if least := c.kept.Tried.Add(floor); !c.kept.Tried.IsZero() && least.After(next) {
		next = least
	}
	return next
}

// mend takes back times that lie further ahead than any that is set here: the clock was wrong, and is right now.
func (c *certificate) mend(now time.Time) {
	if c.kept.Tried.After(now) {
		c.kept.Tried = now
	}
	if c.kept.Next.After(now.Add(mostWait)) {
		c.kept.Next = now.Add(mostBackOff)
	}
	if c.again.After(now.Add(floor)) {
		c.again = now
	}
}

func (c *certificate) due() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nextTry()
}

// hurry has what failed tried again, unless the authority said when to come.
func (c *certificate) hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept.Failures > 0 && time.Now().After(c.limited) && c.why != "" {
		c.kept.Next = time.Time{} // the floor holds
	}
	c.again = time.Time{}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// begin notes that an attempt begins, before anything is sent: what could not be kept is not begun.
func (c *certificate) begin(s Store) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.kept
	c.kept.Tried = time.Now()
	c.kept.Failures++ // until it is known how it went: who is cut off comes back later too
	c.kept.Next = c.kept.Tried.Add(backOff(c.kept.Failures))
	c.again = time.Time{}
	err := c.save(s)
	if err != nil {
		c.kept = before
	}
	return err
}

// backOff is how long to wait after so many failures.
func backOff(failures int) time.Duration {
	d := floor
	for i := 1; i < failures && d < mostBackOff; i++ {
		d *= 4
	}
	d = min(d, mostBackOff)
	return d + rand.N(d/4)
}

// failed notes why there is no new certificate. A time that the authority gave is kept.
func (c *certificate) failed(s Store, why error, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.why = clip(why)
	if wait > 0 {
		c.limited = time.Now().Add(min(wait, mostWait))
		if c.limited.After(c.kept.Next) {
			c.kept.Next = c.limited
		}
	}
	if err := c.save(s); err != nil {
		c.why = clip(fmt.Errorf("%w; and it cannot be kept: %w", why, err))
	}
	c.log.Warn("a certificate could not be obtained", "names", strings.Join(c.names, " "), "error", c.why, "next", c.kept.Next.Format(time.RFC3339))
}

// waits notes what an attempt, which has not begun, waits for, and that it is looked at again after at most the floor.
func (c *certificate) waits(why error, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again = time.Now().Add(wait)
	if said := clip(why); said != c.why {
		c.why = said
		c.log.Warn("a certificate is not asked for yet", "names", strings.Join(c.names, " "), "why", said)
	}
}

// obtained keeps a new certificate and puts it in force.
func (c *certificate) obtained(s Store, chain, key string) error {
	current, err := pair(chain, key, c.names)
	if err != nil {
		return fmt.Errorf("the authority gave a certificate that cannot be used: %w", err)
	}
	if !time.Now().Before(current.Leaf.NotAfter) {
		return errors.New("the authority gave a certificate that has ended, or the clock of this host is wrong")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.kept
	c.kept.Chain, c.kept.Key, c.kept.Failures, c.kept.Next = chain, key, 0, time.Time{}
	if err := c.save(s); err != nil {
		c.kept = before
		return fmt.Errorf("the certificate cannot be kept: %w", err)
	}
	c.use(current)
	c.why, c.limited = "", time.Time{}
	c.log.Info("a certificate was obtained", "names", strings.Join(c.names, " "), "until", current.Leaf.NotAfter.Format(time.RFC3339))
	return nil
}

func (c *certificate) status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{Names: c.names, Next: c.nextTry(), Failures: c.kept.Failures, LastError: c.why}
	if c.current != nil {
		s.NotAfter = c.current.Leaf.NotAfter
	}
	return s
}

// clip gives an error in one bounded line.
func clip(err error) string {
	s := strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, err.Error())), " ")
	if r := []rune(s); len(r) > 400 {
		return string(r[:397]) + "..."
	}
	return s
}
