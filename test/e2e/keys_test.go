package e2e_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestKeysOfAnotherProcess creates and revokes API keys while the server runs.
func TestKeysOfAnotherProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serve(t, "--store", storeIn(t, dir))
	first, second := createKey(t, dir, "staging"), createKey(t, dir, "staging")
	for _, key := range []string{first, second} {
		p.apiAs(key).want(http.StatusNotFound, "GET", "/auth/factors/x", "") // at once
	}

	list := succeed(t, "key", "list", "--store", storeIn(t, dir))
	if strings.Contains(list, first) || strings.Contains(list, second) {
		t.Error("the list shows a key")
	}
	id := regexp.MustCompile(`(?m)^(key_\w+) .*…` + first[len(first)-4:] + ` `).FindStringSubmatch(list)
	if id == nil {
		t.Fatalf("the list does not tell which key ends in …%s:\n%s", first[len(first)-4:], list)
	}
	succeed(t, "key", "revoke", id[1], "--store", storeIn(t, dir))

	revoked := time.Now()
	poll(t, "the key is refused", func() bool {
		got, err := p.apiAs(first).send(t.Context(), "GET", "/auth/factors/x", "", "")
		return err == nil && got.status == http.StatusUnauthorized
	})
	if took := time.Since(revoked); took > 5*time.Second {
		t.Errorf("a revoked key was honoured for %v; want 5 s at most", took)
	} else {
		t.Logf("a revoked key was refused after %v", took)
	}
	p.apiAs(second).want(http.StatusNotFound, "GET", "/auth/factors/x", "")
}

func TestNothingIsSeenFromAnotherEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serve(t, "--store", storeIn(t, dir))
	succeed(t, "environment", "create", "production", "--production", "--store", storeIn(t, dir))
	live, test := createKey(t, dir, "production"), createKey(t, dir, "staging")
	if !strings.HasPrefix(live, "sk_live_") || !strings.HasPrefix(test, "sk_test_") {
		t.Error("a key does not tell its kind")
	}
	enrolled := p.apiAs(live).enroll(`{"type":"generic_otp"}`)
	other := p.apiAs(test)
	got := other.want(http.StatusNotFound, "GET", "/auth/factors/"+enrolled.ID, "")
	other.want(http.StatusNoContent, "DELETE", "/auth/factors/"+other.enrollTOTP().ID, "")
	other.want(http.StatusNotFound, "DELETE", "/auth/factors/"+enrolled.ID, "")
	if want := "Authentication Factor not found: '" + enrolled.ID + "'."; got.Message != want {
		t.Errorf("message %q; want %q, as for any unknown one", got.Message, want)
	}
}

func TestAnOperatorUnlocksAFactor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := dev(t, dir, "--factor-failures", "3")
	api := p.api()
	factor := api.enroll(`{"type":"generic_otp"}`).ID
	made := api.challenge(factor)
	for range 3 {
		api.verify(made.ID, wrong)
	}
	if why := api.refused(http.StatusBadRequest, made.ID, made.Code); why != "one_time_code_too_many_attempts" {
		t.Fatalf("the right code of a locked factor: %s", why)
	}
	said := succeed(t, "factor", "unlock", factor, "--store", storeIn(t, dir))
	if said != "unlocked "+factor {
		t.Errorf("it said %q", said)
	}
	if !api.verify(made.ID, made.Code) {
		t.Error("the right code of an unlocked factor is not valid")
	}
	if said := succeed(t, "factor", "unlock", factor, "--store", storeIn(t, dir)); said != factor+" is not locked: no wrong codes are counted" {
		t.Errorf("of a factor that is not locked it said %q", said)
	}
}

func TestAnOperatorUnlocksAUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := dev(t, dir, "--user-failures", "3")
	api := p.api()
	var factors []string
	for range 3 {
		factors = append(factors, api.enroll(`{"type":"generic_otp","user_id":"user_1"}`).ID)
	}
	var made []answer
	for _, f := range factors {
		c := api.challenge(f)
		api.verify(c.ID, wrong)
		made = append(made, c)
	}
	if why := api.refused(http.StatusBadRequest, made[0].ID, made[0].Code); why != "one_time_code_too_many_attempts" {
		t.Fatalf("the right code of a locked user: %s", why)
	}
	others := api.challenge(api.enroll(`{"type":"generic_otp","user_id":"user_2"}`).ID)
	if !api.verify(others.ID, others.Code) {
		t.Error("the lock of a user holds up another one")
	}
	if said := succeed(t, "user", "unlock", "user_1", "--env", "sandbox", "--store", storeIn(t, dir)); !strings.HasPrefix(said, "unlocked user user_1;") {
		t.Errorf("it said %q", said)
	}
	if said := succeed(t, "user", "unlock", "user_2", "--env", "sandbox", "--store", storeIn(t, dir)); !strings.HasPrefix(said, "user user_2 is not locked") {
		t.Errorf("of a user that is not locked it said %q", said)
	}
	refuses(t, `no user "user_11"`, "user", "unlock", "user_11", "--env", "sandbox", "--store", storeIn(t, dir))
	for _, c := range made {
		if !api.verify(c.ID, c.Code) {
			t.Error("the right code of an unlocked user is not valid")
		}
	}
}

// TestABackOffCanBeCutShort locks a factor for a time with wrong codes, and then
// lets an operator unlock it.
func TestABackOffCanBeCutShort(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	api := dev(t, dir, "--free-failures", "1").api()
	factor := api.enroll(`{"type":"generic_otp"}`).ID
	made := api.challenge(factor)
	api.verify(made.ID, wrong)
	api.verify(made.ID, wrong)
	api.refused(http.StatusBadRequest, made.ID, made.Code)
	succeed(t, "factor", "unlock", factor, "--store", storeIn(t, dir))
	if !api.verify(made.ID, made.Code) {
		t.Error("the right code is not valid")
	}
}

// TestRetireWaitsForReceipts rotates the keyset of a running server, and retires the old keys too early.
func TestRetireWaitsForReceipts(t *testing.T) {
	t.Parallel()
	onlySQLite(t)
	dir := t.TempDir()
	dev(t, dir)
	file := filepath.Join(dir, "countersign.db.keyset")
	succeed(t, "keyset", "add", file)
	succeed(t, "keyset", "promote", file)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, stderr, code := command(t, "keyset", "retire", file)
	if code != 1 || !strings.Contains(stderr, "receipts that were signed with the old key can be valid until") {
		t.Errorf("retire exits with %d and says %q; want 1 and that receipts can be valid", code, stderr)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file has changed (%v)", err)
	}
	succeed(t, "keyset", "retire", file, "--unchecked")
}
