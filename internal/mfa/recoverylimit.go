package mfa

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// A user gets at most recoverySets sets of recovery codes within recoverySpan. A person needs
// one set, and a few more after a failed print. Each set makes the codes on paper worthless and costs
// ten slow hashes, so a client in a loop is stopped after 100 hashes, or a few more if its requests race.
const (
	recoverySets = 10
	recoverySpan = time.Hour
)

// ErrRecoveryLimit means that too many sets of recovery codes were created for a user. It comes in a LimitError.
var ErrRecoveryLimit = errors.New("too many sets of recovery codes for this user")

// recoveryLimitKey returns the key of the row that records when sets were created for a user.
// The row is not one of the factor, because it must outlive the deletion of the codes. It is stored with the
// limits of phone numbers, in the bucket of the user.
func recoveryLimitKey(keys *secret.Keyset, user UserKey) delivery.PhoneKey {
	key := delivery.PhoneKey(keys.Index(fmt.Appendf(nil, "recovery.sets/%d/%s", user.Environment, user.ID)))
	binary.BigEndian.PutUint16(key[:], uint16(user.Bucket()))
	return key
}

// recoveryLimit returns a LimitError if no further set may be created at now. limit may be nil.
func recoveryLimit(limit *delivery.PhoneLimit, now time.Time) error {
	if limit == nil {
		return nil
	}
	sets := limit.Sends
	for len(sets) > 0 && now.Sub(sets[0].At) >= recoverySpan {
		sets = sets[1:]
	}
	if n := len(sets) - recoverySets; n >= 0 {
		return &LimitError{Kind: ErrRecoveryLimit, After: sets[n].At.Add(recoverySpan).Sub(now)}
	}
	return nil
}

// countRecovery counts a set that is created at now, or returns the error of recoveryLimit. limit may be nil.
func countRecovery(limit *delivery.PhoneLimit, key delivery.PhoneKey, now time.Time) (*delivery.PhoneLimit, error) {
	if err := recoveryLimit(limit, now); err != nil {
		return nil, err
	}
	if limit == nil {
		limit = &delivery.PhoneLimit{Bucket: key.Bucket(), Key: key}
	}
	limit.Sends = slices.DeleteFunc(limit.Sends, func(s delivery.Send) bool { return now.Sub(s.At) >= recoverySpan })
	limit.Sends = append(limit.Sends, delivery.Send{At: now})
	limit.ExpiresAt = now.Add(recoverySpan)
	return limit, nil
}
