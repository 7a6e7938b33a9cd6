package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/pgtest"
)

// idsOf returns the ids of events in JSON Lines. A last line may be cut off.
func idsOf(t testing.TB, text []byte) (ids []string) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct{ ID, Event, Environment string }
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		if !strings.HasPrefix(e.ID, "event_") || e.Event == "" || e.Environment == "" {
			t.Errorf("the line %q is not an event", lines.Bytes())
		}
		ids = append(ids, e.ID)
	}
	return ids
}

func readIfThere(path string) []byte {
	text, _ := os.ReadFile(path)
	return text
}

// TestTheSinkLosesNoEventInAKill kills the server twice while it serves requests and
// writes their events to a file.
func TestTheSinkLosesNoEventInAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "events.jsonl")
	flags := append(slices.Clone(unlocking), "--events-sink", "file:"+path)
	all := newCrowd(t, 4)
	for range 2 {
		before := len(readIfThere(path))
		p := dev(t, dir, flags...)
		all.moveTo(p.api())
		all.audit(t.Context())
		poll(t, "the sink to write", func() bool { // after a kill, another process waits for a while
			p.api().challenge(p.api().enroll(`{"type":"generic_otp"}`).ID)
			return len(readIfThere(path)) > before
		})
		all.liveUntil(t.Context(), 100, p.kill)
	}
	p := dev(t, dir, flags...)
	all.moveTo(p.api())
	all.audit(t.Context())
	stored := idsOf(t, []byte(succeed(t, "events", "export", "--store", storeIn(t, dir))))
	if len(stored) < 100 {
		t.Fatalf("only %d events are stored", len(stored))
	}
	poll(t, "the sink to write all events", func() bool {
		written := idsOf(t, readIfThere(path))
		slices.Sort(written)
		return !slices.ContainsFunc(stored, func(id string) bool {
			_, ok := slices.BinarySearch(written, id)
			return !ok
		})
	})
	t.Logf("%d lines for %d events", len(idsOf(t, readIfThere(path))), len(stored))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode of the file is %v, %v", info.Mode(), err)
	}
}

// TestTailFollowsARunningServer reads the store of a server from another process.
func TestTailFollowsARunningServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := dev(t, dir)
	a := server.api()
	store := storeIn(t, dir)
	tail := launch(t, nil, "events", "tail", "--store", store)
	lines := launch(t, nil, "events", "tail", "--store", store, "--json", "--type", "authentication.*", "--since", "1h")
	tail.await(tail.out, `TIME +ENVIRONMENT +WHAT +USER +IP ADDRESS +REASON +CALLER +SUBJECT\n`)
	factor := a.enroll(`{"type":"generic_otp","user_id":"user_42"}`).ID
	challenge := a.challenge(factor).ID
	a.want(http.StatusCreated, "POST", verifyPath(challenge), `{"code":"12345","ip_address":"198.51.100.9","user_agent":"Browser 7"}`)
	tail.await(tail.out, `factor enrolled +user_42 .*key_[0-9a-f]+ +generic_otp `+factor+`\n`)
	tail.await(tail.out, `wrong code +user_42 +198.51.100.9 +- +key_[0-9a-f]+ +generic_otp `+factor+`\n`)
	got := lines.await(lines.out, `(?m)^(\{.*"authentication.mfa_failed".*\})$`)[1]
	var e struct {
		Data struct {
			User      string `json:"user_id"`
			Challenge string `json:"challenge_id"`
		}
	}
	if err := json.Unmarshal([]byte(got), &e); err != nil || e.Data.User != "user_42" || e.Data.Challenge != challenge {
		t.Errorf("tail --json printed %s (%v)", got, err)
	}
	for _, p := range []*program{tail, lines} {
		p.signal(os.Interrupt)
		if code := p.wait(); code != 0 {
			t.Errorf("after Ctrl-C the exit code is %d:\n%s", code, p.log.tail())
		}
	}
	if text := lines.out.String(); strings.Contains(text, "factor.enrolled") {
		t.Errorf("tail shows other types: %s", text)
	}
	counts := succeed(t, "events", "list", "--store", store, "--type", "authentication.mfa_failed", "--count-by", "user")
	if !strings.Contains(counts, "user_42") || !strings.HasPrefix(counts, "COUNT") {
		t.Errorf("the counts are\n%s", counts)
	}
	if !pgtest.Chosen() { // there the keyset of dev is elsewhere
		if text := succeed(t, "events", "list", "--store", store, "--csv", "--type", "authentication.mfa_failed"); !strings.Contains(text, ",user_42,198.51.100.9,Browser 7,") {
			t.Errorf("list printed\n%s", text)
		}
	}
	other := filepath.Join(t.TempDir(), "other.keyset")
	succeed(t, "keyset", "create", other)
	shown, note, code := command(t, "events", "list", "--store", store, "--keyset", "file:"+other)
	if code != 0 || !strings.Contains(shown, "user_42") || strings.Contains(shown, "198.51.100.9") || strings.Count(note, "\n") != 1 || !strings.Contains(note, "stay sealed") {
		t.Errorf("with another keyset, list ended with %d, printed\n%s and\n%s", code, shown, note)
	}
	if status := a.want(http.StatusOK, "GET", "/auth/factors/"+factor, ""); status.status != http.StatusOK {
		t.Error("the server does not serve any more")
	}
	if pgtest.Chosen() {
		return
	}
	succeed(t, "user", "erase", "user_42", "--env", "sandbox", "--store", store, "--as", "ada")
	a.want(http.StatusNotFound, "GET", "/auth/factors/"+factor, "")
	rest := succeed(t, "events", "list", "--store", store, "--csv", "--factor", factor)
	if !strings.Contains(rest, "factor.deleted") || !strings.Contains(rest, "operator:ada") || strings.Contains(rest, "user_42") || strings.Contains(rest, "198.51.100.9") {
		t.Errorf("after the erasure, list printed\n%s", rest)
	}
}

// TestOneOfThreeNodesWritesTheSink kills the node that writes. All nodes write to the same
// file, so an event that two of them write is in it twice.
func TestOneOfThreeNodesWritesTheSink(t *testing.T) {
	t.Parallel()
	store := pgtest.Shared(t).Database(t)
	path := filepath.Join(t.TempDir(), "events.jsonl")
	f := newFleet(t, store, 3, append(slices.Clone(unlocking), "--events-sink", "file:"+path)...)
	writer := -1
	poll(t, "a node to write", func() bool {
		writer = slices.IndexFunc(f.nodes, func(p *program) bool { return strings.Contains(p.log.String(), "this node writes") })
		return writer >= 0
	})
	live := func() {
		for range 30 {
			f.api.challenge(f.api.enroll(`{"type":"generic_otp"}`).ID)
		}
	}
	live()
	poll(t, "the first events", func() bool { return len(idsOf(t, readIfThere(path))) >= 60 })
	export := func() []string {
		return idsOf(t, []byte(succeed(t, append([]string{"events", "export", "--store", store}, f.flags[:2]...)...)))
	}
	first := len(export())
	f.replace(writer, live)
	live()
	stored := export()
	if len(stored) < 180 {
		t.Errorf("%d events are stored; want at least 180", len(stored))
	}
	var written []string
	poll(t, "all events", func() bool {
		written = idsOf(t, readIfThere(path))
		slices.Sort(written)
		return !slices.ContainsFunc(stored, func(id string) bool {
			_, ok := slices.BinarySearch(written, id)
			return !ok
		})
	})
	if again := len(written) - len(slices.Compact(slices.Clone(written))); again > first {
		t.Errorf("%d of %d events were written twice; want at most the first %d", again, len(stored), first)
	}
}

func TestTheSinkWritesToStandardOutput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := createKey(t, dir, "staging")
	p := serve(t, "--store", storeIn(t, dir), "--events-sink", "stdout", "--events-sink-format", "ocsf")
	a := p.apiAs(key)
	a.verify(a.challenge(a.enroll(`{"type":"generic_otp","user_id":"user_42"}`).ID).ID, "12345")
	p.await(p.out, `(?m)^\{"activity_id":1,.*"type_uid":300201,.*"status":"Failure".*"uid":"user_42".*\}$`)
}

// TestASinkThatNobodyReadsDelaysNothing has a reader that does not read.
func TestASinkThatNobodyReadsDelaysNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := createKey(t, dir, "staging")
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	args := []string{"-c", `exec "$0" "$@" > ` + pipe, binary,
		"serve", "--addr", "127.0.0.1:0", "--log-format", "text", "--store", storeIn(t, dir), "--events-sink", "stdout", "--rate-limit", "1000000"}
	p := launchBy(t, nil, exec.Command("sh", args...))
	p.awaitServing()
	a := p.apiAs(key)
	for range 300 { // more than a pipe holds
		a.challenge(a.enroll(`{"type":"generic_otp"}`).ID)
	}
	began := time.Now()
	if code := p.stop(); code != 0 || time.Since(began) > 10*time.Second {
		t.Errorf("the server ended after %v with exit code %d:\n%s", time.Since(began), code, p.log.tail())
	}
}
