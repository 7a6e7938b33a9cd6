package mfa

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// recoveryIterations is the number of iterations of PBKDF2-HMAC-SHA-256 for new sets of recovery
// codes: the recommendation of the OWASP Password Storage Cheat Sheet. A set keeps its own number.
const recoveryIterations = 600_000

// maxWaitingHashes is the number of slow hashes that may wait for each one that runs. With more,
// the last would wait for longer than clients do.
const maxWaitingHashes = 32

// errHashBusy means that too many slow hashes wait.
var errHashBusy = fmt.Errorf("%w: too many recovery codes are being checked", ErrUnavailable)

// A SlowHash is the slow hash of a recovery code.
type SlowHash func(code string, salt []byte, iterations int) ([]byte, error)

func pbkdf2SHA256(code string, salt []byte, iterations int) ([]byte, error) {
	return pbkdf2.Key(sha256.New, code, salt, iterations, sha256.Size)
}

// slowHashes run slow hashes on at most half of the processors, so the other requests have the
// rest. A slow hash never runs inside a transaction.
type slowHashes struct {
	hash    SlowHash
	places  chan struct{}
	waiting atomic.Int32

	mu    sync.Mutex
	turns map[UserKey]*turn // of the users with a turn that runs or waits
}

// A turn lets one operation of a user after another use slow hashes.
type turn struct {
	place chan struct{} // of size 1
	all   int           // operations that run or wait
}

func newSlowHashes(hash SlowHash) *slowHashes {
	if hash == nil {
		hash = pbkdf2SHA256
	}
	return &slowHashes{hash: hash, places: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), turns: map[UserKey]*turn{}}
}

// turn waits until no other operation of a user uses slow hashes, and returns the function that ends
// the turn. So one user cannot fill the places of all others. The caller reads the locks of the user
// afterwards, and ends the turn when its guess is counted: a guess that a lock refuses needs no hash.
// If too many operations of the user wait, turn returns errHashBusy.
func (h *slowHashes) turn(ctx context.Context, user UserKey) (end func(), err error) {
	h.mu.Lock()
	t := h.turns[user]
	if t == nil {
		t = &turn{place: make(chan struct{}, 1)}
		h.turns[user] = t
	}
	if t.all > maxWaitingHashes {
		h.mu.Unlock()
		return nil, errHashBusy
	}
	t.all++
	h.mu.Unlock()
	leave := func() {
		h.mu.Lock()
		if t.all--; t.all == 0 {
			delete(h.turns, user)
		}
		h.mu.Unlock()
	}
	select {
	case t.place <- struct{}{}:
		return func() { <-t.place; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// run hashes a code with the parameters of a set. It waits for a place until ctx ends. If too
// many others wait, it returns errHashBusy.
func (h *slowHashes) run(ctx context.Context, code string, r *recoverySet) ([]byte, error) {
	if h.waiting.Add(1) > int32(maxWaitingHashes*cap(h.places)) {
		h.waiting.Add(-1)
		return nil, errHashBusy
	}
	select {
	case h.places <- struct{}{}:
		h.waiting.Add(-1)
	case <-ctx.Done():
		h.waiting.Add(-1)
		return nil, ctx.Err()
	}
	defer func() { <-h.places }()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return h.hash(code, r.salt[:], r.iterations)
}
