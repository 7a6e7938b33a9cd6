package server

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/receipt"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

const rowsAStep = 500

// OldKeysUnused returns an error if a row of the store, or a receipt that has not expired, still needs a
// key that keys.Retire drops, or if keys is not the keyset of the store. written is when the
// file of the keyset was last changed. It reads the whole store, and calls progress from time
// to time with the kind and the number of its rows so far.
func OldKeysUnused(ctx context.Context, name string, keys *secret.Keyset, written, now time.Time, progress func(kind string, rows int)) (err error) {
	opened, err := openInUse(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	store := opened.transfer
	proof, err := store.Meta(ctx, metaKeyset)
	if err != nil {
		return err
	}
	if proof == nil {
		return errors.New("no server has used this store yet; name the store that the keyset belongs to")
	}
	if err := proveKeyset(ctx, store, keys, proof); err != nil {
		return err
	}
	steps, err := rotationSteps(ctx, opened.events)
	if err != nil {
		return err
	}
	if until := receiptsUntil(keys, steps, written); now.Before(until) {
		return fmt.Errorf("receipts that were signed with the old key can be valid until %s, %v after 'keyset promote', and services could not check them any more; wait until then",
			until.UTC().Format(time.RFC3339), receipt.MaxExpiry)
	}
	var found []string
	for _, kind := range transfer.Kinds {
		uses, err := usesOf(ctx, store, kind, keys, now, 0, func(rows int) { progress(string(kind), rows) })
		if err != nil {
			return fmt.Errorf("read %s: %w", kind, err)
		}
		if uses.old > 0 {
			found = append(found, fmt.Sprintf("%d of %s", uses.old, kind))
		}
	}
	if found != nil {
		return fmt.Errorf("rows still need the old keys, and without them the servers could not start or read these rows: %s; "+
			"give the promoted file to every node, wait for \"all rows are sealed under the newest key\" in the log, and then a day", strings.Join(found, ", "))
	}
	return nil
}

// receiptsUntil returns when the last receipt of an old signing key of keys expires, or the zero time if keys
// does not have such a key. The key signed until it was replaced: at the last recorded promotion, or if no event records it,
// at the latest when the file of the keyset was written.
func receiptsUntil(keys *secret.Keyset, steps []KeysetEvent, written time.Time) time.Time {
	old := slices.ContainsFunc(keys.Keys(), func(k secret.KeyInfo) bool { return k.Use == secret.UseSign && k.State == secret.KeyOld })
	if !old {
		return time.Time{}
	}
	replaced := written
	for _, s := range steps {
		if s.Step == operator.KeysPromoted && s.At.After(replaced) {
			replaced = s.At
		}
	}
	if replaced.IsZero() {
		return replaced
	}
	return replaced.Add(receipt.MaxExpiry)
}

// keyUses counts rows by the keys under which their values were made.
type keyUses struct {
	rows int            // all rows that were read
	by   map[string]int // rows with a value under a key, by the id of the key
	old  int            // rows in use with a value under a key that Retire drops
	more bool           // whether there are further rows
}

// usesOf reads rows of a kind, up to most if that is not 0. It calls progress from time to
// time with the number of rows so far.
func usesOf(ctx context.Context, store transfer.Store, kind transfer.Kind, keys *secret.Keyset, now time.Time, most int, progress func(rows int)) (keyUses, error) {
	uses := keyUses{by: make(map[string]int)}
	finder := keys.Finder()
	for place := ""; ; {
		rows, next, err := store.Export(ctx, kind, place, rowsAStep)
		if err != nil || len(rows) == 0 {
			return uses, err
		}
		for _, r := range rows {
			uses.add(r, keys, finder, now)
		}
		progress(uses.rows)
		if place = next; most > 0 && uses.rows >= most {
			rows, _, err := store.Export(ctx, kind, place, 1)
			uses.more = len(rows) > 0
			return uses, err
		}
	}
}

// add counts a row.
func (u *keyUses) add(r transfer.Row, keys *secret.Keyset, finder *secret.KeyFinder, now time.Time) {
	u.rows++
	seen, old := make(map[string]bool), false
	eachBytes(reflect.ValueOf(r), func(value []byte) {
		if id, ok := finder.Find(value); ok && !seen[id] {
			seen[id] = true
			u.by[id]++
		}
		old = old || keys.OfOldKey(value)
	})
	expired := r.Challenge != nil && !r.Challenge.NeedsKeys(now) || r.Replay != nil && !now.Before(r.Replay.ExpiresAt)
	// An answer of a receiver is not shown any more if it does not open.
	if old && !expired && r.Attempt == nil {
		u.old++
	}
}

// eachBytes calls fn with every slice of bytes in v: a new field that is sealed needs no
// change here.
func eachBytes(v reflect.Value, fn func([]byte)) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			eachBytes(v.Elem(), fn)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				eachBytes(v.Field(i), fn)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			fn(v.Bytes())
			return
		}
		for i := range v.Len() {
			eachBytes(v.Index(i), fn)
		}
	}
}
