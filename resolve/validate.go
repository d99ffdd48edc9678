package resolve

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"watertight/dnssec"
	"watertight/dnswire"
	"watertight/fault"
)

// Mode says what is asked of the signatures of an answer.
type Mode string

// The modes.
const (
	Off           Mode = "off"            // nothing: the resolver is believed, and signatures are not asked for
	Validate      Mode = "validate"       // it is secure, or it is proven that its owner does not sign
	RequireSecure Mode = "require-secure" // it is secure
)

// DNSSEC says whether answers are validated here, and by what. The zero DNSSEC validates nothing. What is not answered by
// an upstream is not validated: special-use names that are answered here.
type DNSSEC struct {
	Mode Mode // empty means Off
	// Anchors are the trust anchors of the root; none means those that the program comes with. They are where RFC 5011
	// begins: while the Resolver lives, it follows the keys of the root as they roll over.
	Anchors []dnssec.Anchor
	// NegativeAnchors are names at and below which nothing is validated (RFC 7646), canonical.
	NegativeAnchors []string
	// Keep keeps what is learnt of the keys of the root beyond the life of the Resolver; nil keeps nothing.
	Keep Keeper
}

func (d *DNSSEC) validate() error {
	switch d.Mode {
	case Validate:
	case Off, "":
		if len(d.Anchors)+len(d.NegativeAnchors) > 0 {
			return errors.New("trust anchors, and nothing is validated")
		}
	case RequireSecure:
		if len(d.NegativeAnchors) > 0 {
			return errors.New("negative trust anchors, and nothing that is not secure is taken")
		}
	default:
		return fmt.Errorf("no mode of validation is called %q", d.Mode)
	}
	return nil
}

func (d *DNSSEC) on() bool { return d.Mode == Validate || d.Mode == RequireSecure }

// validation judges the answers of a Resolver.
type validation struct {
	mode      Mode
	validator *dnssec.Validator
	clock     clockwork
	anchors   *anchors
	chain     atomic.Uint64    // look-ups
	judged    [4]atomic.Uint64 // by state
}

// newValidation makes the validation of r, whose upstreams the chain's look-ups go to; nil where there is none.
func newValidation(d DNSSEC, r *Resolver) (*validation, error) {
	if !d.on() {
		return nil, nil
	}
	o := dnssec.Options{Anchors: d.Anchors, NegativeAnchors: d.NegativeAnchors, Now: r.now}
	if len(o.Anchors) == 0 {
		o.Anchors = dnssec.RootAnchors()
	}
	v := &validation{mode: d.Mode, clock: clockwork{now: r.now, floor: r.options.Floor}}
	var err error
	if v.anchors, err = restore(o.Anchors, d.Keep); err != nil {
		return nil, err
	}
	if trusted := v.anchors.set.Anchors(); len(trusted) > 0 {
		o.Anchors = trusted
	}
	v.validator, err = dnssec.New(o, r.askChain)
	return v, err
}

// subjectKey is the key of a context for the name whose answer is being validated.
type subjectKey struct{}

// askChain puts a question of the chain to the upstreams. It goes to those that know the name which is validated: no
// other learns of the zones that it is in.
func (r *Resolver) askChain(ctx context.Context, q dnswire.Question) ([]byte, error) {
	r.validation.chain.Add(1)
	name, ok := ctx.Value(subjectKey{}).(string)
	if !ok {
		name = q.Name
	}
	said := r.askFor(ctx, name, q)
	if said.fail != nil {
		return nil, said.fail.Fault
	}
	return said.answer.Wire, nil
}

// judge gives an answer as it may be used, or the fault that it is.
func (r *Resolver) judge(ctx context.Context, a *dnswire.Answer) (*dnswire.Answer, *fault.Error) {
	v := r.validation
	if v == nil {
		return a, nil
	}
	v.anchors.follow(r)
	now, f := v.clock.read(a.Name)
	if f == nil {
		f = v.anchors.fault(a.Name)
	}
	if f != nil {
		return nil, f
	}
	result, err := v.validator.Validate(context.WithValue(ctx, subjectKey{}, a.Name), a.Question, a.Wire)
	switch {
	case over(ctx):
		return nil, fault.New(fault.DNSTimeout, "the answer about "+shown(a.Name)+" could not be validated in time", context.Cause(ctx))
	case err != nil:
		return nil, fault.New(fault.DNSServFail, "the answer about "+shown(a.Name)+" is none that can be validated", err)
	}
	v.judged[result.State].Add(1)
	if f := v.verdict(a.Name, result); f != nil {
		return nil, f
	}
	if result.State == dnssec.Secure {
		v.clock.passed(now)
	}
	good, err := a.Validated(result.State == dnssec.Secure, result.TTL)
	if err != nil {
		return nil, unreadable(err)
	}
	return good, nil
}

// over says that there is no time left: a look-up of the chain may have ended at the same deadline, and noticed it first.
func over(ctx context.Context) bool {
	deadline, limited := ctx.Deadline()
	return ctx.Err() != nil || limited && !time.Now().Before(deadline)
}

// verdict gives the fault that a judgement means, or nil.
func (v *validation) verdict(name string, r dnssec.Result) *fault.Error {
	f := fault.New(fault.DNSBogus, "", errors.New(r.Reason))
	f.EDE = r.EDE
	switch {
	case r.State == dnssec.Secure, r.State == dnssec.Insecure && v.mode != RequireSecure:
		return nil
	case r.State == dnssec.Insecure:
		f.Message = shown(name) + " is not signed, and this channel takes nothing else"
		f.Hint = "ask through a channel whose resolver has `dnssec: validate`, or no `dnssec`"
		if f.EDE == dnssec.EDENone {
			f.EDE = dnssec.EDESignaturesMissing
		}
	case r.State == dnssec.Bogus:
		if f.EDE == dnssec.EDENone {
			f.EDE = dnssec.EDEBogus
		}
		f.Message = "the answer about " + shown(name) + " failed validation: " + dnswire.EDE{Code: f.EDE}.Name()
	default:
		f.Code, f.EDE = fault.DNSServFail, dnssec.EDEIndeterminate
		f.Message = "the answer about " + shown(name) + " could not be validated: its chain of signatures was not found"
		f.Hint = "the resolver has to pass on DNSSEC records: DS, DNSKEY and signatures"
	}
	return f
}

// Validation is how answers were judged, and by what.
type Validation struct {
	Mode          Mode   `json:"mode"`
	Secure        uint64 `json:"secure"`
	Insecure      uint64 `json:"insecure"`
	Bogus         uint64 `json:"bogus"`
	Indeterminate uint64 `json:"indeterminate"`
	Chain         uint64 `json:"chain"` // look-ups of keys and delegations
	// Anchors are the keys of the root by tag, and where each stands (RFC 5011).
	Anchors map[uint16]dnssec.AnchorState `json:"anchors,omitempty"`
	// AnchorsError is why the last look at the keys of the root failed; empty where it did not.
	AnchorsError string `json:"anchors_error,omitempty"`
}

func (v *validation) stats() Validation {
	if v == nil {
		return Validation{Mode: Off}
	}
	s := Validation{
		Mode:   v.mode,
		Secure: v.judged[dnssec.Secure].Load(), Insecure: v.judged[dnssec.Insecure].Load(),
		Bogus: v.judged[dnssec.Bogus].Load(), Indeterminate: v.judged[dnssec.Indeterminate].Load(),
		Chain: v.chain.Load(),
	}
	s.Anchors, s.AnchorsError = v.anchors.states()
	return s
}
