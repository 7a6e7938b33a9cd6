package mfa

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// RecoveryCodes is a set of codes that a user keeps on paper, each for one use.
const RecoveryCodes FactorType = "recovery_codes"

const (
	recoveryTotal  = 10 // codes in a set
	recoveryLength = 16 // Crockford characters in a code: 80 bits (NIST SP 800-63B, 4.2.1.1)
	recoveryLow    = 3  // the number of codes at which a set is low
)

// recoveryKind has the rules of the factor whose secret is a set of recovery codes. A user has
// at most one such factor. Factor.LastStep has a bit for each code that was used, so the
// number of the other codes is known without the keyset.
type recoveryKind struct{}

func (recoveryKind) validate(Environment, EnrollParams) []FieldError {
	return []FieldError{{"type", "unsupported", "recovery codes are created at /user_management/users/{user}/recovery_codes"}}
}

// enroll is never called, because validate accepts nothing. Service.CreateRecoveryCodes
// creates the factor.
func (recoveryKind) enroll(*Service, Environment, EnrollParams, *Enrollment) error {
	return errors.New("recovery codes are not enrolled")
}

func (recoveryKind) issue(_ *Service, _ Environment, _ *Factor, c *IssuedChallenge) error {
	c.sent = secret.String{} // the user has the codes
	return nil
}

// check is called only for input that does not have the form of a recovery code: a code of
// that form is hashed first; see recoveryGuess.
func (recoveryKind) check(*Service, attempt) (result, error) {
	return result{wrong: reasonWrongCode}, nil
}

// methods returns the methods of a bypass code: a recovery code proves no factor that the user carries.
func (recoveryKind) methods(*Factor, *result) methods { return bypassMethods }

func (recoveryKind) describe(keys *secret.Keyset, f *Factor, _ label) (Details, error) {
	codes, err := f.openRecovery(keys)
	if err != nil {
		return Details{}, err
	}
	return Details{Factor: *f, Recovery: &RecoveryState{recoveryTotal, f.RecoveryLeft(), codes.createdAt}}, nil
}

func (recoveryKind) unlisted() bool { return true }

func (recoveryKind) unprompted() bool { return true }

func (recoveryKind) recovers() bool { return true }

// An unlisted is a kind whose factors are not in the lists of a user's factors unless the
// caller asks for them: some client libraries fail at a type that they do not know.
type unlisted interface {
	unlisted() bool
}

// A RecoveryState describes a set of recovery codes.
type RecoveryState struct {
	Total     int       // codes that were created
	Remaining int       // codes that were not used
	CreatedAt time.Time // when the codes were created, in place of all earlier ones
}

// RecoveryTotal is the number of codes in a set of recovery codes.
const RecoveryTotal = recoveryTotal

// RecoveryLeft returns the number of codes of a set that were not used; 0 for a factor of
// another kind.
func (f *Factor) RecoveryLeft() int {
	if f.Type != RecoveryCodes {
		return 0
	}
	return max(recoveryTotal-bits.OnesCount64(uint64(f.LastStep)), 0)
}

// A recoverySet is the secret of the factor. All codes have the same salt, so a check needs one
// slow hash.
type recoverySet struct {
	iterations int // of PBKDF2-HMAC-SHA-256
	salt       [16]byte
	createdAt  time.Time
	digests    [recoveryTotal][32]byte // also of the codes that were used
}

// sameHash reports whether the slow hashes of both sets are the same function.
func (r *recoverySet) sameHash(o *recoverySet) bool {
	return r.iterations == o.iterations && r.salt == o.salt
}

// digest returns what a set stores of a code: a hash under the keyset of its slow hash.
// It is bound to its factor. The key is the one that no rotation replaces, because the codes
// are not known any more when a key is retired.
func (f *Factor) recoveryDigest(keys *secret.Keyset, slow []byte) [32]byte {
	return keys.Index(slices.Concat([]byte("recovery/"), f.ID[:], slow))
}

// find returns the position of the code with the given digest, or -1. It compares all.
func (r *recoverySet) find(digest [32]byte) int {
	found := -1
	for i := range r.digests {
		if subtle.ConstantTimeCompare(r.digests[i][:], digest[:]) == 1 {
			found = i
		}
	}
	return found
}

// recoveryForm is the first byte of an encoded set.
const recoveryForm = 1

func (r *recoverySet) encode() []byte {
	b := append(make([]byte, 0, 29+recoveryTotal*32), recoveryForm)
	b = binary.BigEndian.AppendUint32(b, uint32(r.iterations))
	b = append(b, r.salt[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.createdAt.UnixMilli()))
	for i := range r.digests {
		b = append(b, r.digests[i][:]...)
	}
	return b
}

func (r *recoverySet) decode(b []byte) error {
	if len(b) != 29+recoveryTotal*32 || b[0] != recoveryForm {
		return errors.New("not a set of recovery codes")
	}
	r.iterations = int(binary.BigEndian.Uint32(b[1:]))
	copy(r.salt[:], b[5:])
	r.createdAt = time.UnixMilli(int64(binary.BigEndian.Uint64(b[21:]))).UTC()
	for i := range r.digests {
		copy(r.digests[i][:], b[29+32*i:])
	}
	return nil
}

func (f *Factor) openRecovery(keys *secret.Keyset) (*recoverySet, error) {
	plain, err := f.open(keys)
	if err != nil {
		return nil, err
	}
	r := new(recoverySet)
	if err := r.decode(plain); err != nil {
		return nil, fmt.Errorf("open %s: %w", f.ID, err)
	}
	return r, nil
}

// crockford is the alphabet of recovery codes: no I, L, O and U.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// newRecoveryCode makes a code of 10 random bytes.
func newRecoveryCode(random [10]byte) secret.String {
	code := make([]byte, 0, recoveryLength)
	for i := 0; i < len(random); i += 5 {
		word := uint64(binary.BigEndian.Uint32(random[i:]))<<8 | uint64(random[i+4])
		for shift := 35; shift >= 0; shift -= 5 {
			code = append(code, crockford[word>>shift&31])
		}
	}
	return secret.NewString(string(code))
}

// FormatRecoveryCode returns a code as people read it: XXXX-XXXX-XXXX-XXXX.
func FormatRecoveryCode(code secret.String) string {
	c := code.Reveal()
	if len(c) != recoveryLength {
		return c
	}
	return c[:4] + "-" + c[4:8] + "-" + c[8:12] + "-" + c[12:]
}

// recoveryCode returns a typed code in its usual form. ok is false if the text, which typedCode
// has returned, does not have the form of a recovery code. It accepts small letters, O for 0
// and I or L for 1. No other kind of code has this form.
func recoveryCode(typed string) (code string, ok bool) {
	if len(typed) != recoveryLength {
		return "", false
	}
	var b [recoveryLength]byte
	for i := range b {
		c := typed[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		switch {
		case c == 'O':
			c = '0'
		case c == 'I' || c == 'L':
			c = '1'
		case c == 'U' || (c < '0' || c > '9') && (c < 'A' || c > 'Z'):
			return "", false
		}
		b[i] = c
	}
	return string(b[:]), true
}
