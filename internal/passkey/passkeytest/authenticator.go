// Package passkeytest has passkeys of the software authenticator for tests, whose answers a test
// can change before they are signed.
package passkeytest

import (
	"testing"

	"github.com/countersign-mfa/countersign/internal/softkey"
)

// The flags of authenticator data.
const (
	UserPresent    = softkey.UserPresent
	UserVerified   = softkey.UserVerified
	BackupEligible = softkey.BackupEligible
	BackedUp       = softkey.BackedUp
)

// An Answer is what the authenticator and the browser are about to sign.
type Answer = softkey.Answer

// A Passkey is a credential of the software authenticator.
type Passkey struct {
	ID         []byte
	RPID       string
	UserHandle []byte
	Origin     string // of the page that uses it
	Flags      byte   // of the answers
	Counter    uint32 // of the last answer
	Step       uint32 // how much each answer adds to Counter
	key        *softkey.Key
}

// Create answers options for navigator.credentials.create on a page of origin, with a
// device-bound passkey that verifies its user and counts.
func Create(t testing.TB, options []byte, origin string, change ...func(*Answer)) (*Passkey, []byte) {
	t.Helper()
	key, err := softkey.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	o, err := softkey.ReadCreation(options)
	if err != nil {
		t.Fatalf("%v: %s", err, options)
	}
	p := &Passkey{
		ID: key.ID, RPID: o.RPID, UserHandle: o.UserHandle, Origin: origin,
		Flags: UserPresent | UserVerified, Counter: 1, Step: 1, key: key,
	}
	a := p.complete(key.NewCreation(o, origin), change)
	p.ID = a.KeyID
	response, err := a.SignCreation(key)
	if err != nil {
		t.Fatal(err)
	}
	return p, response
}

// CreateAgain answers options for navigator.credentials.create with an existing passkey, as an
// authenticator that ignores the excluded credentials.
func (p *Passkey) CreateAgain(t testing.TB, options []byte, origin string) []byte {
	t.Helper()
	o, err := softkey.ReadCreation(options)
	if err != nil {
		t.Fatalf("%v: %s", err, options)
	}
	response, err := p.complete(p.key.NewCreation(o, origin), nil).SignCreation(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// Get answers options for navigator.credentials.get with the passkey.
func (p *Passkey) Get(t testing.TB, options []byte, change ...func(*Answer)) []byte {
	t.Helper()
	o, err := softkey.ReadRequest(options)
	if err != nil {
		t.Fatalf("%v: %s", err, options)
	}
	p.Counter += p.Step
	response, err := p.complete(p.key.NewRequest(o, p.Origin), change).SignRequest(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// complete gives an answer the state of the passkey and then the changes of the test.
func (p *Passkey) complete(a *Answer, change []func(*Answer)) *Answer {
	a.RPID, a.Flags, a.Counter, a.ID, a.KeyID, a.UserHandle = p.RPID, p.Flags, p.Counter, p.ID, p.ID, p.UserHandle
	for _, c := range change {
		c(a)
	}
	return a
}
