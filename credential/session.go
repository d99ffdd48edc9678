package credential

import (
	"crypto/hmac"
	"crypto/sha256"
	"math/big"
	"strings"
)

// Lengths of what stands for a session.
const (
	tagLength  = 8  // after a session that is kept as it was written
	hashLength = 16 // in place of one that is not
)

// session gives the session for the provider. One session of two users, or of one user in two countries, has to be two there,
// or their traffic would leave by one exit. So what is written is kept only where the template tells the users apart by
// itself or there is no user; else eight letters follow that stand for the whole identity, and where the provider's grammar
// has no room for both, sixteen letters, or as many as fit, stand for all. They come from a keyed hash: whoever knows the
// identity but not the account cannot tell them, and they are the same after a restart.
//
// Where no session is asked for and the template needs one, it is one of the channel's own, for the identity, from seed.
func (f *filling) session(raw string) string {
	if raw == "" {
		return f.g.letters(f.seed, f.whole(), f.g.hashed())
	}
	key := sha256.Sum256([]byte(f.t.provider + "\x00" + f.t.user + "\x00" + f.t.password))
	sound := onlyOf(raw, f.g.alphabet)
	switch {
	case sound && len(raw) >= f.g.min && len(raw) <= f.g.max && f.tellsApart():
		return raw
	case sound && len(raw)+tagLength >= f.g.min && len(raw)+tagLength <= f.g.max:
		return raw + f.g.letters(key[:], f.whole(), tagLength)
	}
	return f.g.letters(key[:], f.whole(), f.g.hashed())
}

// whole is all of the identity, as text that no other has.
func (f *filling) whole() string {
	if f.id.Trial != "" {
		return f.id.String() + "\x00" + f.id.Trial
	}
	return f.id.String()
}

// tellsApart says whether all of the identity but its session stands in the template by itself, and cannot be taken for that of
// another: a user may have a hyphen and no other value has, so that it tells where they end as long as no group is left out.
func (f *filling) tellsApart() bool {
	if f.id.Trial != "" {
		return false
	}
	user := f.id.User == "" || !f.t.account && f.t.Has(User)
	if !f.t.account {
		fenced, grouped := f.t.fenced()
		user = user && fenced && (!grouped || !strings.Contains(f.id.User, "-"))
	}
	for place, value := range map[string]string{Country: f.id.Country, State: f.id.State, City: f.id.City, TTL: f.id.TTL} {
		user = user && (value == "" || f.t.Has(place))
	}
	return user
}

// fenced says of a template that was written out whether something stands between all of its places that no value has but the
// user's, and whether there is a group in it.
func (t Template) fenced() (fenced, grouped bool) {
	fenced = true
	for _, text := range []string{t.user, t.password} {
		tree, err := parse(text, t.decode)
		if err != nil {
			return false, false // it was read before
		}
		between, after := "", false
		var walk func(group)
		walk = func(g group) {
			for _, n := range g {
				switch {
				case n.place != "":
					fenced = fenced && (!after || !onlyOf(between, named))
					between, after = "", true
				case n.group != nil:
					grouped = true
					walk(n.group)
				default:
					between += n.text
				}
			}
		}
		walk(tree)
	}
	return fenced, grouped
}

func (p provider) hashed() int { return min(max(hashLength, p.min), p.max) }

// letters gives so many letters of the provider's alphabet, lower case and digits alone, that stand for a text under a key.
func (p provider) letters(key []byte, text string, n int) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	sum := new(big.Int).SetBytes(mac.Sum(nil))
	base, digit := big.NewInt(int64(len(lower))), new(big.Int)
	out := make([]byte, n)
	for i := range out {
		sum.DivMod(sum, base, digit)
		out[i] = lower[digit.Int64()]
	}
	return string(out)
}

// onlyOf says whether all octets of a text are of an alphabet.
func onlyOf(text, alphabet string) bool {
	for i := range len(text) {
		if strings.IndexByte(alphabet, text[i]) < 0 {
			return false
		}
	}
	return true
}
