package sqlite_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
	"github.com/countersign-mfa/countersign/internal/store/transfer"
)

// old creates a file with an earlier schema.
func old(t *testing.T, version int, statements ...string) (path string) {
	t.Helper()
	path = t.TempDir() + "/countersign.db"
	db, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	var migrations []string
	for _, name := range []string{"0001_init.sql", "0002_delivery.sql"}[:version] {
		sql, err := os.ReadFile("migrations/" + name)
		if err != nil {
			t.Fatal(err)
		}
		migrations = append(migrations, string(sql))
	}
	statements = append(statements, fmt.Sprintf("PRAGMA user_version = %d", version))
	for _, s := range append(migrations, statements...) {
		if err := db.Exec(s); err != nil {
			t.Fatalf("%v in\n%s", err, s)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// insert returns an INSERT statement with values in the form in which earlier programs
// bound them.
func insert(into string, values ...any) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteString(", ")
		}
		switch v := v.(type) {
		case nil:
			b.WriteString("NULL")
		case string:
			b.WriteString("'" + strings.ReplaceAll(v, "'", "''") + "'")
		case []byte:
			fmt.Fprintf(&b, "x'%x'", v)
		case time.Time:
			ms := int64(0)
			if !v.IsZero() {
				ms = v.UnixMilli()
			}
			fmt.Fprint(&b, ms)
		default:
			fmt.Fprint(&b, v)
		}
	}
	return "INSERT INTO " + into + " VALUES (" + b.String() + ")"
}

func TestUpgradeOfTheFirstSchemaKeepsEverything(t *testing.T) {
	f := storetest.NewFactor(storetest.NewUser())
	want := storetest.NewChallenge(f)
	want.Attempts = 1
	path := old(t, 1,
		insert("factors (id, environment, type, last_step, failures, locked_until, created_at, updated_at)",
			f.ID[:], 1, "generic_otp", 0, 0, 0, f.CreatedAt, f.CreatedAt),
		insert("challenges (id, factor, code_mac, sealed_code, attempts, created_at, updated_at, expires_at, verified_at)",
			want.ID[:], f.ID[:], want.CodeMAC, want.SealedCode, 1, want.CreatedAt, want.UpdatedAt, want.ExpiresAt, want.VerifiedAt))
	s := open(t, path)
	read := mfa.Read{Bucket: want.ID.Bucket(), Challenge: want.ID}
	for range 2 {
		rows, err := s.View(t.Context(), read)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(rows.Challenge, want) {
			t.Errorf("got  %+v\nwant %+v", rows.Challenge, want)
		}
		want.Messages = []delivery.Record{{State: delivery.Sent, At: want.CreatedAt, UpdatedAt: want.CreatedAt}}
		if err := s.Update(t.Context(), read, storetest.Writing(want.Update())); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestUpgradeOfTheSecondSchemaKeepsRows has rows of every kind that later schemas
// change, with and without optional values.
func TestUpgradeOfTheSecondSchemaKeepsRows(t *testing.T) {
	full, bare := storetest.NewFactor(storetest.NewUser()), storetest.NewFactor(mfa.UserKey{Environment: 2})
	later := full.CreatedAt.Add(90 * time.Minute)
	full.Type, full.Sealed = mfa.TOTP, []byte{0, 1}
	full.Old = mfa.Unsealed{Issuer: "Zoë's", Account: "zoe", Replay: bytes.Repeat([]byte{1, 2}, 16)}
	full.LastStep, full.Failures, full.LockedUntil, full.UpdatedAt = 1<<40, 6, later, later.Add(-time.Second)
	bare.Type = "carrier_pigeon"
	verified, unused := storetest.NewChallenge(full), storetest.NewChallenge(bare)
	verified.SealedCode, verified.Attempts, verified.UpdatedAt, verified.VerifiedAt = nil, 3, later, later
	unused.CodeMAC, unused.Messages = nil, []delivery.Record{{Provider: "one", ID: "id", State: delivery.Queued, Segments: 1, At: later, UpdatedAt: later}}
	failed, odd := storetest.NewEvent(full), storetest.NewEvent(bare)
	failed.Type, failed.Challenge, failed.Reason = mfa.ChallengeFailed, verified.ID, "wrong_code"
	odd.Type, odd.Factor, odd.Reason = "pigeon.released", mfa.FactorID{}, "42"
	failed.Kind, odd.Kind = "", "" // no event had it
	replay, claim := storetest.NewReplay(7), storetest.NewReplay(8)
	replay.About, replay.PendingUntil = full.ID, later
	claim.Sealed = nil
	message, early := storetest.NewMessage(9), storetest.NewMessage(9)
	message.Bucket, early.Bucket = message.Key.Bucket(), early.Key.Bucket()
	message.Number, early.Challenge, early.State, early.Reason = 2, mfa.ChallengeID{}, delivery.Failed, "30003"

	const (
		factors    = "factors (id, environment, type, user_id, issuer, account, sealed, replay, last_step, failures, locked_until, created_at, updated_at)"
		challenges = "challenges (id, factor, code_mac, sealed_code, attempts, created_at, updated_at, expires_at, verified_at, messages)"
		events     = "events (id, environment, type, factor, challenge, reason)"
		replays    = "replays (bucket, key, fingerprint, factor, sealed, expires_at, pending)"
		messages   = "messages (key, challenge, number, state, reason, expires_at)"
	)
	deliveries := []byte("\x03one\x02id\x06queued\x00\x00\x01")
	deliveries = binary.AppendVarint(binary.AppendVarint(deliveries, later.UnixMilli()), later.UnixMilli())
	path := old(t, 2,
		insert(factors, full.ID[:], 1, "totp", full.User, full.Old.Issuer, full.Old.Account, full.Sealed, full.Old.Replay, full.LastStep, 6, full.LockedUntil, full.CreatedAt, full.UpdatedAt),
		insert(factors, bare.ID[:], 2, "carrier_pigeon", nil, nil, nil, nil, nil, 0, 0, 0, bare.CreatedAt, bare.UpdatedAt),
		insert(challenges, verified.ID[:], full.ID[:], verified.CodeMAC, nil, 3, verified.CreatedAt, verified.UpdatedAt, verified.ExpiresAt, verified.VerifiedAt, nil),
		insert(challenges, unused.ID[:], bare.ID[:], nil, unused.SealedCode, 0, unused.CreatedAt, unused.UpdatedAt, unused.ExpiresAt, 0, deliveries),
		insert(events, failed.ID[:], 1, "challenge.failed", full.ID[:], verified.ID[:], "wrong_code"),
		insert(events, odd.ID[:], 2, "pigeon.released", nil, nil, "42"),
		insert(replays, 7, replay.Key[:], replay.Fingerprint[:], full.ID[:], replay.Sealed, replay.ExpiresAt, replay.PendingUntil),
		insert(replays, 8, claim.Key[:], claim.Fingerprint[:], nil, nil, claim.ExpiresAt, 0),
		insert(messages, message.Key[:], message.Challenge[:], 2, nil, nil, message.ExpiresAt),
		insert(messages, early.Key[:], nil, 0, "failed", "30003", early.ExpiresAt),
	)
	s := open(t, path)
	for kind, want := range map[transfer.Kind][]transfer.Row{
		"factors":    {{Factor: full}, {Factor: bare}},
		"challenges": {{Challenge: verified}, {Challenge: unused}},
		"events":     {{Event: &failed}, {Event: &odd}},
		"replays":    nil, // their keys were hashes without a key
		"messages":   nil,
	} {
		rows, _, err := s.Export(t.Context(), kind, "", 10)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(rows, want) {
			t.Errorf("%s: got  %s\nwant %s", kind, text(rows), text(want))
		}
	}
	found, err := s.Factors(t.Context(), mfa.FactorQuery{User: mfa.UserKey{Environment: 1, ID: full.User}, Limit: 10})
	if err != nil || len(found) != 1 || found[0].ID != full.ID {
		t.Errorf("Factors = %+v, %v; want the one of the user", found, err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// text formats the values behind the pointers in rows.
func text(rows []transfer.Row) string {
	var b strings.Builder
	for _, r := range rows {
		v := reflect.ValueOf(r)
		for i := range v.NumField() {
			if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
				fmt.Fprintf(&b, "\n\t%+v", f.Elem())
			}
		}
	}
	return b.String()
}

// TestUpgradeFailsWhole opens a file with rows that cannot be upgraded.
func TestUpgradeFailsWhole(t *testing.T) {
	f := storetest.NewFactor(storetest.NewUser())
	path := old(t, 2, "DROP TABLE events",
		insert("factors (id, environment, type, last_step, failures, locked_until, created_at, updated_at)", f.ID[:], 1, "totp", 0, 0, 0, 0, 0))
	for range 2 { // the first attempt must leave the file unchanged
		if s, err := sqlite.Open(path, nil); err == nil {
			t.Fatal(errors.Join(errors.New("it was opened"), s.Close()))
		} else if !strings.Contains(err.Error(), "0003_integers") {
			t.Errorf("Open = %v; want an error that names the migration", err)
		}
	}
	db, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Exec("SELECT id FROM factors"); err != nil {
		t.Error(err)
	}
}
