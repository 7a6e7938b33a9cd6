package mfa_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/totp"
)

func TestNothingSecretIsStoredInTheClear(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	app := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada-the-user"})
	phone := w.enroll(mfa.EnrollParams{Type: mfa.SMS, User: "ada-the-user", PhoneNumber: adasPhone})
	generic := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada-the-user"})
	once := onceKey[mfa.IssuedChallenge]("the key", "the request")
	c, err := w.Challenge(t.Context(), sandbox, generic.ID, mfa.ChallengeParams{}, once)
	if err != nil {
		t.Fatal(err)
	}
	sent := w.challenge(phone.ID)
	code := w.carrier.Last().Code.Reveal()
	w.mustVerify(sent.ID, wrong, false)

	key, err := totp.ParseSecret(app.Secret.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	hidden := map[string][]byte{
		"the secret":              key,
		"the secret in base32":    []byte(app.Secret.Reveal()),
		"the phone number":        []byte(adasPhone[1:]),
		"the code that was sent":  []byte(code),
		"the code of generic_otp": []byte(c.Code.Reveal()),
		"a code that was tried":   []byte(wrong),
	}
	if f := w.stored(app.ID); bytes.Contains(f.Sealed, key) || len(f.Sealed) <= len(key) {
		t.Error("the row of the totp factor holds its secret")
	}
	files := bytes.Join([][]byte{read(t, w.path), read(t, w.path+"-wal")}, nil)
	if !bytes.Contains(files, []byte("ada-the-user")) {
		t.Fatal("the files do not even hold the user's id: they were not read right")
	}
	for what, b := range hidden {
		if bytes.Contains(files, b) {
			t.Errorf("the files hold %s", what)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSealedValueOpensOnlyInItsOwnRow(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	move := func(from, to mfa.FactorID) {
		t.Helper()
		f := w.stored(to)
		f.Sealed = w.stored(from).Sealed
		w.update(f.Update())
	}
	app := func() mfa.Enrollment { return w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"}) }
	sms := func(phone string) mfa.Enrollment {
		return w.enroll(mfa.EnrollParams{Type: mfa.SMS, User: "ada", PhoneNumber: phone})
	}

	t.Run("secret of another factor", func(t *testing.T) {
		attackers, victims := app(), app()
		move(attackers.ID, victims.ID)
		c := w.challenge(victims.ID)
		v, err := w.verify(c.ID, w.app(attackers, 0))
		if !errors.Is(err, secret.ErrOpen) || v.Valid {
			t.Errorf("Verify = %v, %v; want %v", v.Valid, err, secret.ErrOpen)
		}
		if n := w.attempts(c.ID); n != 0 {
			t.Errorf("%d attempts were counted of a code that could not be checked", n)
		}
	})
	t.Run("phone number of another factor", func(t *testing.T) {
		attackers, victims := sms(gracesPhone), sms(adasPhone)
		move(attackers.ID, victims.ID)
		if _, err := w.Factor(t.Context(), sandbox, victims.ID); !errors.Is(err, secret.ErrOpen) {
			t.Errorf("Factor = %v; want %v", err, secret.ErrOpen)
		}
		_, err := w.Challenge(t.Context(), sandbox, victims.ID, mfa.ChallengeParams{}, nil)
		if !errors.Is(err, secret.ErrOpen) || w.carrier.Sent() != 0 {
			t.Errorf("Challenge = %v, %d messages sent; want %v, none", err, w.carrier.Sent(), secret.ErrOpen)
		}
	})
	t.Run("code of another challenge", func(t *testing.T) {
		f := w.enroll(mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}).ID
		attackers, victims := w.challenge(f), w.challenge(f)
		forged := victims.Challenge
		forged.CodeMAC, forged.SealedCode = attackers.CodeMAC, nil
		w.update(mfa.DeleteChallenge{ID: victims.ID}, mfa.InsertChallenge{Challenge: &forged})
		w.mustVerify(victims.ID, attackers.Code.Reveal(), false)
	})
}

// update writes rows like an attacker with the database but without keys.
func (w *fixture) update(writes ...mfa.Write) {
	w.t.Helper()
	err := w.store.Update(w.t.Context(), mfa.Read{}, func(tx *mfa.Tx) error {
		tx.Writes = writes
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestDeletedFactorTakesItsSecretAlong(t *testing.T) {
	w := newFixture(t, mfa.Options{})
	e := w.enroll(mfa.EnrollParams{Type: mfa.TOTP, User: "ada"})
	sealed := w.stored(e.ID).Sealed
	if err := w.DeleteFactor(t.Context(), sandbox, e.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.store.Close(); err != nil { // copies the log into the database
		t.Fatal(err)
	}
	if bytes.Contains(read(t, w.path), sealed) {
		t.Error("the file still holds the sealed secret")
	}
}
