package server

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

const rowsAStep = 500

// OldKeysUnused returns an error if a row of the store still needs a key that
// keys.Retire drops, or if keys is not the keyset of the store. It reads the whole
// store.
func OldKeysUnused(ctx context.Context, name string, keys *secret.Keyset, now time.Time) (err error) {
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
	var found []error
	for _, kind := range transfer.Kinds {
		n, err := needing(ctx, store, kind, keys, now)
		if err != nil {
			return fmt.Errorf("read %s: %w", kind, err)
		}
		if n > 0 {
			found = append(found, fmt.Errorf("%d rows of %s", n, kind))
		}
	}
	if found != nil {
		return fmt.Errorf("the old keys are still needed by these rows, and the servers could not start or read them without: %w; "+
			"give the promoted file to every node, wait for \"all rows are sealed under the newest key\" in the log, and then a day", errors.Join(found...))
	}
	return nil
}

// needing counts the rows of a kind that hold a value made under an old key and are
// still in use.
func needing(ctx context.Context, store transfer.Store, kind transfer.Kind, keys *secret.Keyset, now time.Time) (n int, err error) {
	for place := ""; ; {
		rows, next, err := store.Export(ctx, kind, place, rowsAStep)
		if err != nil || len(rows) == 0 {
			return n, err
		}
		for _, r := range rows {
			if r.Attempt != nil {
				continue // an answer of a receiver is not shown any more if it does not open
			}
			expired := r.Challenge != nil && !now.Before(r.Challenge.ExpiresAt) || r.Replay != nil && !now.Before(r.Replay.ExpiresAt)
			if !expired && anyBytes(reflect.ValueOf(r), keys.OfOldKey) {
				n++
			}
		}
		place = next
	}
}

// anyBytes reports whether is holds for a slice of bytes anywhere in v: a new field that
// is sealed needs no change here.
func anyBytes(v reflect.Value, is func([]byte) bool) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && anyBytes(v.Elem(), is)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && anyBytes(v.Field(i), is) {
				return true
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return is(v.Bytes())
		}
		for i := range v.Len() {
			if anyBytes(v.Index(i), is) {
				return true
			}
		}
	}
	return false
}
