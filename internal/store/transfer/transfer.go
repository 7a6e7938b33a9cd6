// Package transfer copies all rows of one store to another store, row by row, and
// verifies the copy.
package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/certs"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/stats"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// A Kind is a kind of row. Kinds lists the kinds in the order for a copy: a row comes
// after the rows that it refers to.
type Kind string

// Kinds lists all kinds of rows in a store. Append new kinds: a copy that an earlier
// release started records its progress as an index into this list.
var Kinds = []Kind{
	"environments", "api_keys", "meta", "factors", "challenges", "users", "phones", "replays", "events",
	"messages", "tallies", "webhook_endpoints", "webhook_deliveries", "webhook_attempts",
	"event_contexts", "deleted_factors", "erasures",
	"operators", "operator_passkeys", // but no sessions and links: operators sign in again
	"statistics", "statistics_positions",
	"bypasses",
}

// A Row is one row of any kind. Only the field of its kind is set.
type Row struct {
	Environment *Environment
	Key         *Key
	Meta        *Meta
	Factor      *mfa.Factor
	Challenge   *mfa.Challenge
	User        *mfa.User
	Phone       *delivery.PhoneLimit
	Replay      *mfa.Replay
	Event       *mfa.Event

	// Unset fields are left out of the JSON text. The digest of older kinds therefore
	// does not change, and a copy still recognizes its source by this digest.
	Message *delivery.MessageRef `json:",omitempty"`
	Counter *delivery.Counter    `json:",omitempty"`

	Endpoint *webhook.Endpoint `json:",omitempty"`
	Delivery *webhook.Delivery `json:",omitempty"`
	Attempt  *webhook.Attempt  `json:",omitempty"`

	EventContext  *mfa.EventContext  `json:",omitempty"`
	DeletedFactor *mfa.DeletedFactor `json:",omitempty"`
	Erasure       *mfa.Erasure       `json:",omitempty"`

	Operator *signin.Operator `json:",omitempty"`
	Passkey  *signin.Passkey  `json:",omitempty"`

	Statistic         *stats.StoredRow      `json:",omitempty"`
	StatisticPosition *stats.StoredPosition `json:",omitempty"`
	Bypass            *mfa.Bypass           `json:",omitempty"`
}

// An Environment is an environment with all its stored values.
type Environment struct {
	mfa.Environment
	CreatedAt time.Time
}

// MarshalJSON returns the text for the digest of a copy. It is that of older releases for an
// environment without settings.
func (e Environment) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		tenant
		CreatedAt time.Time
		Settings  map[string]string `json:",omitempty"`
	}{tenantOf(e.Environment), e.CreatedAt, e.Settings.Texts()})
}

// A tenant is an environment without its settings.
type tenant struct {
	ID         mfa.EnvironmentID
	Name       string
	Production bool
}

func tenantOf(e mfa.Environment) tenant { return tenant{e.ID, e.Name, e.Production} }

// A Key is an API key with all its stored values.
type Key struct {
	access.Key
	Hash access.Hash
}

// MarshalJSON returns the text for the digest of a copy. Values that older releases do not
// know are left out of keys that have the defaults, so the digest of their keys does not
// change. The last use is left out: it may change while a copy begins.
func (k Key) MarshalJSON() ([]byte, error) {
	text := struct {
		ID                   access.KeyID
		Environment          tenant
		Hint                 string
		CreatedAt, RevokedAt time.Time
		Hash                 access.Hash
		Name                 string        `json:",omitempty"`
		Scopes               access.Scopes `json:",omitempty"`
		ExpiresAt            time.Time     `json:",omitzero"`
	}{k.ID, tenantOf(k.Environment), k.Hint, k.CreatedAt, k.RevokedAt, k.Hash, k.Name, k.Scopes, k.ExpiresAt}
	if k.Scopes == access.DefaultScopes {
		text.Scopes = 0
	}
	return json.Marshal(text)
}

// Meta is a named value.
type Meta struct {
	Name  string
	Value []byte
}

// A Store can be exported and filled. All stores of Countersign implement it.
type Store interface {
	// Export lists up to limit rows of a kind in an order that the store chooses. The
	// list starts after the place that an earlier call returned, or at the first row
	// for place "". An empty list means the end.
	Export(ctx context.Context, kind Kind, place string, limit int) (rows []Row, next string, err error)
	// Import stores all rows or none. It does not change rows that already exist.
	Import(ctx context.Context, rows []Row) error
	// Meta returns the value with that name, or nil if it does not exist.
	Meta(ctx context.Context, name string) ([]byte, error)
	// PutMeta stores value under name and replaces the previous value.
	PutMeta(ctx context.Context, name string, value []byte) error
	// SwapMeta stores value under name if the stored value is old, or if old is nil and
	// no value is stored. It reports whether it stored value: only one of several
	// concurrent calls does.
	SwapMeta(ctx context.Context, name string, old, value []byte) (bool, error)
	// MarkMoved stores the name of target under MetaMoved. After it returns, a
	// transaction that has not seen the mark can no longer commit.
	MarkMoved(ctx context.Context, target string) error
	// DeleteMeta removes the value with that name.
	DeleteMeta(ctx context.Context, name string) error
}

// MetaProgress is the name of the value, in the target of a copy, that records its progress
// until the copy is verified. The copy does not include it.
const MetaProgress = "copy_progress"

// MetaMoved is the name of the mark in a store that was copied away, or that is being
// copied. Its value is the name of the target. A store with the mark refuses every
// Update, every change of environments and keys, and every Sweep.
const MetaMoved = "moved_to"

// Moved returns the error of a store with the mark.
func Moved(target []byte) error {
	return fmt.Errorf("%w: this store was copied to %s, or a copy was begun, and new writes here would be missing there; "+
		"use that store, finish the copy, or remove the mark with 'countersign copy --unmark'", mfa.ErrUnavailable, target)
}

// A MetaReader reads the values of a store by their names; see Store.
type MetaReader interface {
	Meta(ctx context.Context, name string) ([]byte, error)
}

// Servable returns an error if a server must not use the store, because the store was
// copied away or because a copy into it is not finished.
func Servable(ctx context.Context, s MetaReader) error {
	moved, err := s.Meta(ctx, MetaMoved)
	if err != nil {
		return err
	}
	if moved != nil {
		return Moved(moved)
	}
	progress, err := s.Meta(ctx, MetaProgress)
	if err == nil && progress != nil {
		err = errors.New("the copy into this store is not finished; run 'countersign copy' again")
	}
	return err
}

// Unmark removes the mark of a store that was copied away.
func Unmark(ctx context.Context, s Store) error { return s.DeleteMeta(ctx, MetaMoved) }

var (
	// ErrNotEmpty means that the target holds rows that do not come from a copy of this
	// source.
	ErrNotEmpty = errors.New("the target is not empty; copy into a new store")
	// ErrDiffers means that source and target hold different rows.
	ErrDiffers = errors.New("the target differs from the source")
)

// progress is the progress of a copy, stored in the target.
type progress struct {
	Source string // digest that identifies the source
	Kind   int    // index of the current kind
	Place  string // the copy continues after this place

	stored []byte // the value in the target, or nil if it does not exist
}

const batch = 500

// Copy copies all rows from one store to another. The target must be empty or hold an
// unfinished copy from the same source. First Copy marks the source with the name of
// the target, so a server that uses the source can store nothing more. Copy calls
// report after each kind. At the end it reads both stores again and compares them. If
// Copy fails, it removes the mark, unless the source had the mark before. Copy calls record
// before it sets the mark of a new copy; record may write to the source.
func Copy(ctx context.Context, from, to Store, target string, record func() error, report func(Kind, Sum)) (err error) {
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
	if before == nil && at.Kind == 0 && at.Place == "" { // otherwise a copy continues
		if err := record(); err != nil {
			return fmt.Errorf("record the copy: %w", err)
		}
	}
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
	return to.DeleteMeta(ctx, MetaProgress)
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
		// If this value is lost, the next run stores some rows again, which changes
		// nothing.
		if err := save(ctx, to, at); err != nil {
			return err
		}
	}
}

// begin returns the progress from which to start, or ErrNotEmpty.
func begin(ctx context.Context, from, to Store) (at progress, err error) {
	source, err := identity(ctx, from)
	if err != nil {
		return at, err
	}
	saved, err := to.Meta(ctx, MetaProgress)
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

// save stores the progress of a copy. It returns an error if another copy into the same
// store has changed the progress.
func save(ctx context.Context, to Store, at *progress) error {
	b, err := json.Marshal(at)
	if err != nil {
		return err
	}
	saved, err := to.SwapMeta(ctx, MetaProgress, at.stored, b)
	if err != nil {
		return err
	}
	if !saved {
		return errors.New("another copy into this store is running; wait until it has ended")
	}
	at.stored = b
	return nil
}

// identity returns a digest of the environments and API keys of a store. Stores that
// were created independently have different digests.
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

// withoutOwn removes the values that belong only to one store or to the copy itself. The nodes of a store order its
// certificates, and may still do so while a copy runs.
func withoutOwn(rows []Row) []Row {
	kept := rows[:0:0]
	for _, r := range rows {
		if r.Meta == nil || r.Meta.Name != MetaProgress && r.Meta.Name != MetaMoved && !strings.HasPrefix(r.Meta.Name, certs.Prefix) {
			kept = append(kept, r)
		}
	}
	return kept
}

// A Sum shows whether two stores hold the same rows of a kind, in any order.
type Sum struct {
	Rows   int
	Digest [4]uint64 // the sum of the SHA-256 digests of all rows, in four lanes
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

// SumOf reads all rows of a kind and returns their sum.
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

// Place encodes the parts of a key as a place after which Export continues.
func Place(parts ...any) string {
	b, err := json.Marshal(parts)
	if err != nil {
		panic(err) // keys are numbers, strings and bytes
	}
	return string(b)
}

// ReadPlace decodes a place into the pointers in parts. For place "" it does not change
// them.
func ReadPlace(place string, parts ...any) error {
	if place == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(place), &parts); err != nil {
		return fmt.Errorf("read a place: %w", err)
	}
	return nil
}
