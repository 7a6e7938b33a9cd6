package mfa

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/receipt"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// ErrNoReceipts means that receipts of an environment have no issuer: neither the setting of
// the environment nor Options.PublicURL names one.
var ErrNoReceipts = errors.New("receipts have no issuer")

// The methods of a proof, as RFC 8176 names them, and its class in OpenID EAP ACR Values 1.0.
type methods struct {
	amr      []string
	class    string
	verified *bool // see receipt.Claims.Verified
}

// bypassMethods are the methods of a bypass code, which proves no factor.
var bypassMethods = methods{amr: []string{"otp"}}

// bypassType is the factor type in the receipt for a bypass code.
const bypassType = "bypass_code"

// receiptFaults returns the wrong fields of the request of a receipt, which may be nil.
func receiptFaults(r *receipt.Request) (wrong []FieldError) {
	if r == nil {
		return nil
	}
	for _, f := range r.Check() {
		name := "receipt." + f.Field
		wrong = append(wrong, FieldError{name, f.Code, name + " " + f.Must})
	}
	return wrong
}

// issuer returns the issuer of the receipts of an environment. Each environment has another
// one: a receipt of a sandbox must not be accepted in place of one of production.
func (s *Service) issuer(env Environment) (string, error) {
	if issuer := env.Settings.Values().ReceiptIssuer; issuer != "" {
		return issuer, nil
	}
	if s.opts.PublicURL == "" {
		return "", ErrNoReceipts
	}
	return s.opts.PublicURL + issuerPath + url.PathEscape(env.Name), nil
}

// issuerPath is the part of the issuer of an environment without the setting, before its name.
const issuerPath = "/environments/"

// CheckIssuer returns an *InvalidError if the setting receipt_issuer of e is the issuer of another
// environment, or can become one. The signing keys are the same, so a receipt of e would pass for one of
// that environment. all has all environments, also e.
func (e Environment) CheckIssuer(all []Environment) error {
	issuer := e.Settings.Values().ReceiptIssuer
	if issuer == "" {
		return nil
	}
	if i := strings.LastIndex(issuer, issuerPath); i >= 0 {
		if of := issuer[i+len(issuerPath):]; of != url.PathEscape(e.Name) {
			return errForeignIssuer
		}
	}
	for _, other := range all {
		if other.ID != e.ID && other.Settings.Values().ReceiptIssuer == issuer {
			return errForeignIssuer
		}
	}
	return nil
}

var errForeignIssuer = invalid("settings", "invalid", "receipt_issuer must not be the issuer of another environment: only the issuer tells their receipts apart")

func (c *Challenge) associatedReceipt() []byte { return associate("challenges.receipt", c.ID) }

// bind seals the request of a receipt in a new challenge. Title and details often name a
// person.
func (s *Service) bind(c *Challenge, r *receipt.Request) (err error) {
	if c.Receipt, err = s.keys.Load().Seal(r.Encode(), c.associatedReceipt()); err != nil {
		return fmt.Errorf("seal the request of a receipt: %w", err)
	}
	return nil
}

// receiptOf returns the request of the receipt that the verification of c returns: that of
// the challenge, or else given, which may be nil. A challenge that was created for one receipt
// does not give another one, so a verification cannot change the action that the person has seen.
func (s *Service) receiptOf(c *Challenge, given *receipt.Request) (*receipt.Request, error) {
	if c.Receipt == nil {
		return given, nil
	}
	b, err := s.keys.Load().Open(c.Receipt, c.associatedReceipt())
	if err != nil {
		return nil, fmt.Errorf("open the request of the receipt of %s: %w", c.ID, err)
	}
	bound, err := receipt.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.ID, err)
	}
	if given != nil && *given != *bound {
		return nil, invalid("receipt", "not_that_of_challenge", "receipt differs from that of the challenge: leave it out, or send the same")
	}
	return bound, nil
}

// A draft is a receipt that is not signed yet.
type draft struct {
	request *receipt.Request
	claims  receipt.Claims
}

// draft returns the receipt r of a verification of tx, that was proven as how says.
func (s *Service) draft(tx *Tx, env Environment, r *receipt.Request, how methods, now time.Time) (*draft, error) {
	issuer, err := s.issuer(env)
	if err != nil {
		return nil, err
	}
	f := tx.Factor
	return &draft{r, receipt.Claims{
		Issuer: issuer, Subject: f.User, ID: tx.Challenge.ID.String(), At: now, FactorID: f.ID.String(), FactorType: string(f.Type),
		Methods: how.amr, Class: how.class, Verified: how.verified,
	}}, nil
}

// draftBypass returns the receipt r of a verification of tx by a bypass code.
func (s *Service) draftBypass(tx *Tx, env Environment, r *receipt.Request, now time.Time) (*draft, error) {
	d, err := s.draft(tx, env, r, bypassMethods, now)
	if err == nil {
		d.claims.FactorID, d.claims.FactorType, d.claims.Recovery = "", bypassType, true
	}
	return d, err
}

// sign signs the receipt of v, if it has one that is not signed.
func (s *Service) sign(v *Verification) error {
	if v.draft == nil {
		return nil
	}
	text, err := s.signDraft(v.draft)
	if err != nil {
		return err
	}
	v.Receipt, v.draft = text, nil
	return nil
}

// signDraft signs a receipt. It returns "" for nil.
func (s *Service) signDraft(d *draft) (secret.String, error) {
	if d == nil {
		return secret.String{}, nil
	}
	text, err := receipt.Sign(s.keys.Load().Signer(), d.request, d.claims)
	return secret.NewString(text), err
}

// signRecorded signs the receipt of v if the answer is recorded in the transaction, as that to a
// request with an idempotency key is; signatures are deterministic. Other receipts are signed
// after the transaction, in which others would wait.
func (s *Service) signRecorded(v *Verification, once *idempotency.Operation[Verification]) error {
	if once == nil {
		return nil
	}
	return s.sign(v)
}

// ReceiptKeys returns the JSON Web Key Set that verifies receipts.
func (s *Service) ReceiptKeys() ([]byte, error) { return receipt.Keys(s.keys.Load()) }
