// Package transfer moves everything that one store holds into another, row by
// row, and proves that it arrived.
package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A Kind is a kind of row. The order of Kinds is the one to copy them in: what is
// referred to comes before what refers to it.
type Kind string

// Kinds are all kinds of row that a store holds. New ones come last: a copy that an
// earlier release has begun says by number how far it was.
var Kinds = []Kind{
	"environments", "api_keys", "meta", "factors", "challenges", "users", "phones", "replays", "events",
	"messages", "tallies",
}

// A Row is one row of any kind: the field of its kind is set.
type Row struct {
	Environment *Environment
	Key         *Key
	Meta        *Meta
	Factor      *mfa.Factor
	Challenge   *mfa.Challenge
	User        *mfa.User
	Phone       *mfa.PhoneLimit
	Replay      *mfa.Replay
	Event       *mfa.Event

	// Not written where they are not set, so that the digest of older kinds, by which
	// a copy knows its source again, stays what it was.
	Message *mfa.MessageRef `json:",omitempty"`
	Tally   *mfa.Tally      `json:",omitempty"`
}

// An Environment is an environment with all that is stored of it.
type Environment struct {
	mfa.Environment
	CreatedAt time.Time
}

// A Key is an API key with all that is stored of it.
type Key struct {
	access.Key
	Hash access.Hash
}

// Meta is a named value.
type Meta struct {
	Name  string
	Value []byte
}

// A Store can be read out and filled. Every store of ours is one.
type Store interface {
	// Export lists up to limit rows of a kind in an order of the store's own,
	// beginning behind the place that an earlier call returned, "" for the start.
	// No rows mean the end.
	Export(ctx context.Context, kind Kind, place string, limit int) (rows []Row, next string, err error)
	// Import stores rows, all or none. A row that is there already stays as it is.
	Import(ctx context.Context, rows []Row) error
	// Meta returns what is stored under name, nil if nothing is.
	Meta(ctx context.Context, name string) ([]byte, error)
	// PutMeta stores value under name in place of what was there.
	PutMeta(ctx context.Context, name string, value []byte) error
	// SwapMeta stores value under name if old is stored there, or if nothing is and
	// old is nil. It reports whether it did: of many at once only one does.
	SwapMeta(ctx context.Context, name string, old, value []byte) (bool, error)
	// MarkMoved stores the name of target under MetaMoved, and returns when no
	// transaction that has not seen it can be committed any more.
	MarkMoved(ctx context.Context, target string) error
	// DeleteMeta removes what is stored under name.
	DeleteMeta(ctx context.Context, name string) error
}

// Names of values that say where a copy stands. They are not copied themselves.
const (
	metaProgress = "copy_progress" // in the target, until all is proven
)

// MetaMoved is the name of the mark in a store that was copied away, or is being
// copied: it holds the name of the target. A store refuses every Update, every change
// of environments and keys, and every Sweep while it has the mark.
const MetaMoved = "moved_to"

// Moved is the error of a store with the mark.
func Moved(target []byte) error {
	return fmt.Errorf("%w: this store was copied to %s, or a copy was begun, and new writes here would be missing there; "+
		"use that store, finish the copy, or remove the mark with 'countersign copy --unmark'", mfa.ErrUnavailable, target)
}

// Servable returns an error if a store must not be served from, because it was
// copied away, or because a copy into it is not finished.
func Servable(ctx context.Context, s Store) error {
	moved, err := s.Meta(ctx, MetaMoved)
	if err != nil {
		return err
	}
	if moved != nil {
		return Moved(moved)
	}
	progress, err := s.Meta(ctx, metaProgress)
	if err == nil && progress != nil {
		err = errors.New("the copy into this store is not finished; run 'countersign copy' again")
	}
	return err
}

// Unmark removes the mark of a store that was copied away.
func Unmark(ctx context.Context, s Store) error { return s.DeleteMeta(ctx, MetaMoved) }

var (
	// ErrNotEmpty means that the target holds rows that no copy of this source put
	// there.
	ErrNotEmpty = errors.New("the target is not empty; copy into a new store")
	// ErrDiffers means that source and target do not hold the same.
	ErrDiffers = errors.New("the target does not hold what the source holds")
)

// progress is where a copy stands, kept in the target.
type progress struct {
	Source string // digest of what identifies the source
	Kind   int    // index of the kind in hand
	Place  string // behind which to go on

	stored []byte // as it is in the target, nil if it is not
}

const batch = 500

// Copy copies everything from one store to another that is empty, or into which a
// copy from the same source was begun before. First it marks the source with the name
// of the target, so that a server that runs on it stores nothing more. report is
// called for each kind that is done. At the end both stores are read again and
// compared. If Copy fails, it removes the mark, unless the source had it before.
func Copy(ctx context.Context, from, to Store, target string, report func(Kind, Sum)) (err error) {
	at, err := begin(ctx, from, to)
	if err != nil {
		return err
	}
	before, err := from.Meta(ctx, MetaMoved)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && before == nil {
			err = errors.Join(err, Unmark(context.WithoutCancel(ctx), from))
		}
	}()
	if err := from.MarkMoved(ctx, target); err != nil {
		return fmt.Errorf("stop the servers of the source: %w", err)
	}
	return copyAll(ctx, from, to, at, report)
}

func copyAll(ctx context.Context, from, to Store, at progress, report func(Kind, Sum)) error {
	for ; at.Kind < len(Kinds); at.Kind, at.Place = at.Kind+1, "" {
		if err := copyKind(ctx, from, to, &at); err != nil {
			return fmt.Errorf("copy %s: %w", Kinds[at.Kind], err)
		}
	}
	for _, kind := range Kinds {
		there, err := SumOf(ctx, from, kind)
		if err != nil {
			return err
		}
		here, err := SumOf(ctx, to, kind)
		if err != nil {
			return err
		}
		if there != here {
			return fmt.Errorf("%w: %d %s in the source, %d in the target, or not the same ones; was the source still served from?",
				ErrDiffers, there.Rows, kind, here.Rows)
		}
		report(kind, here)
	}
	return to.DeleteMeta(ctx, metaProgress)
}

func copyKind(ctx context.Context, from, to Store, at *progress) error {
	for {
		rows, next, err := from.Export(ctx, Kinds[at.Kind], at.Place, batch)
		if err != nil || len(rows) == 0 {
			return err
		}
		if err := to.Import(ctx, withoutOwn(rows)); err != nil {
			return err
		}
		at.Place = next
		// If this is lost, the next run stores some rows again, which changes
		// nothing.
		if err := save(ctx, to, at); err != nil {
			return err
		}
	}
}

// begin returns where to begin, or ErrNotEmpty.
func begin(ctx context.Context, from, to Store) (at progress, err error) {
	source, err := identity(ctx, from)
	if err != nil {
		return at, err
	}
	saved, err := to.Meta(ctx, metaProgress)
	if err != nil {
		return at, err
	}
	if saved != nil {
		if err := json.Unmarshal(saved, &at); err != nil {
			return at, fmt.Errorf("read how far the copy was: %w", err)
		}
		if at.Source != source {
			return at, fmt.Errorf("%w: a copy from another source was begun in it", ErrNotEmpty)
		}
		at.stored = saved
		return at, nil
	}
	for _, kind := range Kinds {
		rows, _, err := to.Export(ctx, kind, "", 1)
		if err != nil {
			return at, err
		}
		if len(withoutOwn(rows)) > 0 {
			return at, fmt.Errorf("%w: it holds %s", ErrNotEmpty, kind)
		}
	}
	at = progress{Source: source}
	return at, save(ctx, to, &at)
}

// save stores where a copy stands, unless another copy into the same store has.
func save(ctx context.Context, to Store, at *progress) error {
	b, err := json.Marshal(at)
	if err != nil {
		return err
	}
	saved, err := to.SwapMeta(ctx, metaProgress, at.stored, b)
	if err != nil {
		return err
	}
	if !saved {
		return errors.New("another copy into this store is running; wait until it has ended")
	}
	at.stored = b
	return nil
}

// identity is a digest of the environments and API keys of a store, which no two
// that were made apart have in common.
func identity(ctx context.Context, s Store) (string, error) {
	h := sha256.New()
	for _, kind := range []Kind{"environments", "api_keys", "meta"} {
		sum, err := SumOf(ctx, s, kind)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d %x\n", kind, sum.Rows, sum.Digest)
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// withoutOwn leaves out the values that belong to a store or to the copy itself.
func withoutOwn(rows []Row) []Row {
	kept := rows[:0:0]
	for _, r := range rows {
		if r.Meta == nil || r.Meta.Name != metaProgress && r.Meta.Name != MetaMoved {
			kept = append(kept, r)
		}
	}
	return kept
}

// A Sum tells whether two stores hold the same rows of a kind, in whatever order.
type Sum struct {
	Rows   int
	Digest [4]uint64 // the SHA-256 of all rows, added up in four lanes
}

func (s *Sum) add(r Row) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	h := sha256.Sum256(b)
	for i := range s.Digest {
		s.Digest[i] += binary.BigEndian.Uint64(h[8*i:])
	}
	s.Rows++
	return nil
}

// SumOf reads all rows of a kind.
func SumOf(ctx context.Context, s Store, kind Kind) (sum Sum, err error) {
	for place := ""; ; {
		rows, next, err := s.Export(ctx, kind, place, batch)
		if err != nil {
			return sum, fmt.Errorf("read %s: %w", kind, err)
		}
		if len(rows) == 0 {
			return sum, nil
		}
		for _, r := range withoutOwn(rows) {
			if err := sum.add(r); err != nil {
				return sum, fmt.Errorf("sum up %s: %w", kind, err)
			}
		}
		place = next
	}
}

// Place writes parts of a key as a place to go on behind.
func Place(parts ...any) string {
	b, err := json.Marshal(parts)
	if err != nil {
		panic(err) // keys are numbers, strings and bytes
	}
	return string(b)
}

// ReadPlace reads what Place wrote into pointers; a place "" leaves them as they
// are.
func ReadPlace(place string, parts ...any) error {
	if place == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(place), &parts); err != nil {
		return fmt.Errorf("read a place: %w", err)
	}
	return nil
}
