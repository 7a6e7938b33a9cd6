package access

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Use says when a key was used.
type Use struct {
	Key KeyID
	At  time.Time // UTC, whole milliseconds
}

// useStep is how exactly the last use of a key is stored. It bounds the writes: at most one
// in this time for each key that is used, on all nodes together, up to races.
const useStep = time.Minute

// uses are the last uses of keys that are not stored yet. A request adds one only when it
// reads its key from the store, so most requests do not come here.
type uses struct {
	mu  sync.Mutex
	now map[KeyID]time.Time
}

// add records that a key, as it was just read, is used now.
func (u *uses) add(k Key, now time.Time) {
	if now.Sub(k.LastUsedAt) < useStep {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.now == nil {
		u.now = map[KeyID]time.Time{}
	}
	if now.After(u.now[k.ID]) {
		u.now[k.ID] = now
	}
}

// take returns all uses by the ids of the keys and forgets them.
func (u *uses) take() []Use {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := make([]Use, 0, len(u.now))
	for id, at := range u.now {
		all = append(all, Use{id, at.UTC().Truncate(time.Millisecond)})
	}
	u.now = nil
	slices.SortFunc(all, func(a, b Use) int { return cmp.Compare(a.Key, b.Key) })
	return all
}

// putBack remembers uses that could not be stored.
func (u *uses) putBack(all []Use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.now == nil {
		u.now = map[KeyID]time.Time{}
	}
	for _, use := range all {
		if use.At.After(u.now[use.Key]) {
			u.now[use.Key] = use.At
		}
	}
}

// StoreUses stores when keys were last used. A server calls it about once a minute and when
// it ends; a crash loses the uses since the last call.
func (s *Service) StoreUses(ctx context.Context) error {
	all := s.uses.take()
	if len(all) == 0 {
		return nil
	}
	if err := s.store.TouchKeys(ctx, all); err != nil {
		s.uses.putBack(all)
		return fmt.Errorf("store the last use of keys: %w", err)
	}
	return nil
}
