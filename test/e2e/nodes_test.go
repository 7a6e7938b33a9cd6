package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// A fleet is a group of nodes over one PostgreSQL database, behind a balancer.
type fleet struct {
	t        testing.TB
	store    string
	flags    []string // of each node
	nodes    []*program
	balancer *balancer
	key      string
	api      *api // whose every request goes to the next node
}

// newFleet starts nodes at the same moment over a database that may be empty.
func newFleet(t testing.TB, store string, size int, flags ...string) *fleet {
	t.Helper()
	keyset := filepath.Join(t.TempDir(), "keyset")
	succeed(t, "keyset", "create", keyset)
	f := &fleet{t: t, store: store, flags: append([]string{"--keyset", "file:" + keyset}, flags...)}
	for range size {
		f.nodes = append(f.nodes, f.launch())
	}
	f.balancer = newBalancer(t)
	for _, n := range f.nodes {
		n.awaitServing()
		f.balancer.add(address(n))
	}
	f.key = f.createKey()
	f.api = f.balancer.api(t, f.key)
	return f
}

func (f *fleet) launch() *program {
	args := []string{"serve", "--addr", "127.0.0.1:0", "--log-format", "text", "--store", f.store}
	return launch(f.t, nil, append(args, f.flags...)...)
}

func address(p *program) string { return strings.TrimPrefix(p.url, "http://") }

func (f *fleet) createKey() string {
	f.t.Helper()
	key := succeed(f.t, "key", "create", "--env", "staging", "--store", f.store)
	logcapture.Secret(f.t, key)
	return key
}

// replace kills a node, waits, and starts another node.
func (f *fleet) replace(i int, wait func()) {
	f.t.Helper()
	f.nodes[i].kill()
	wait()
	f.nodes[i] = f.launch()
	f.nodes[i].awaitServing()
	f.balancer.add(address(f.nodes[i]))
}

// race makes many requests at the same time, and returns their answers. A request that is
// answered 503 is repeated, as by a client: on a slow machine, the last of many that wait for the
// lock of one row wait for too long.
func (f *fleet) race(racers int, request func(racer int) (method, path, body, key string)) []answer {
	f.t.Helper()
	answers := make([]answer, racers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			method, path, body, key := request(i)
			<-start
			for deadline := time.Now().Add(patience); ; {
				var err error
				if answers[i], err = f.api.send(f.t.Context(), method, path, body, key); err != nil {
					f.t.Errorf("%s %s: %v", method, path, err)
				}
				if answers[i].status != http.StatusServiceUnavailable || time.Now().After(deadline) {
					return
				}
			}
		})
	}
	close(start)
	wg.Wait()
	return answers
}

// raceCodes submits a code to several challenges, with all requests at the same
// time.
func (f *fleet) raceCodes(racers int, code string, challenges ...string) []answer {
	f.t.Helper()
	return f.race(racers, func(racer int) (method, path, body, key string) {
		return "POST", verifyPath(challenges[racer%len(challenges)]), codeBody(code), ""
	})
}

// count returns the number of answers for which a function returns true.
func count(answers []answer, is func(answer) bool) (n int) {
	for _, a := range answers {
		if is(a) {
			n++
		}
	}
	return n
}

func isValid(a answer) bool { return a.status == http.StatusCreated && a.Valid }

func isLookedAt(a answer) bool { return a.status == http.StatusCreated }

func isRefused(a answer) bool {
	return a.Code == "authentication_challenge_previously_verified" || a.Code == "one_time_code_too_many_attempts"
}

// number returns the result of a query that yields one number.
func (f *fleet) number(query string, args ...any) (n int) {
	f.t.Helper()
	conn, err := pgx.Connect(f.t.Context(), f.store)
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close(f.t.Context())
	if err := conn.QueryRow(f.t.Context(), query, args...).Scan(&n); err != nil {
		f.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// audit checks facts that no customer can see: the events about codes whose answers
// were lost.
func (f *fleet) audit() {
	f.t.Helper()
	const exceeding = `SELECT count(*) FROM (SELECT FROM events WHERE type = ANY ($1) GROUP BY challenge HAVING count(*) > $2) AS exceeding`
	right := []string{"authentication.mfa_succeeded"}
	if n := f.number(exceeding, right, 1); n > 0 {
		f.t.Errorf("%d challenges were verified more than once", n)
	}
	if n := f.number(exceeding, append(right, "authentication.mfa_failed"), attempts); n > 0 {
		f.t.Errorf("of %d challenges more than %d codes were looked at", n, attempts)
	}
}

// TestNodesShareEverything races codes and keys on three nodes under load, and then
// kills the nodes one after the other.
func TestNodesShareEverything(t *testing.T) {
	t.Parallel()
	const customers = 12
	f := newFleet(t, pgtest.Shared(t).Database(t), 3, unlocking...)
	env := mfa.EnvironmentID(f.number(`SELECT id FROM environments WHERE name = 'staging'`))
	order := checkOrder(t, f.store, env)
	all := newCrowd(t, customers)
	all.moveTo(f.api)
	load := all.work(t)
	load.awaitAnswers(100)

	for range 4 {
		oneRacerVerifies(t, f)
		oneRacerVerifiesTOTP(t, f)
		oneFactorOfAKey(t, f)
		oneChallengeOfAKey(t, f)
	}
	for i := range f.nodes {
		load.longest()
		f.replace(i, func() { load.awaitAnswers(200) })
		load.awaitAnswers(200)
		gap, wait := load.longest()
		t.Logf("while a node was killed, and started again, nobody had an answer for %v, one customer for %v", gap, wait)
	}
	load.end()
	order.end(env)
	all.audit(t.Context())
	f.audit()
	answers, lost, _ := load.look()
	t.Logf("%d nodes gave %d answers; %d requests were cut off", len(f.nodes), answers, lost)
}

func oneRacerVerifies(t *testing.T, f *fleet) {
	t.Helper()
	made := f.api.challenge(f.api.enroll(`{"type":"generic_otp"}`).ID)
	answers := f.raceCodes(64, made.Code, made.ID)
	if valid, refused := count(answers, isValid), count(answers, isRefused); valid != 1 || refused != len(answers)-1 {
		t.Errorf("of %d racers with the right code %d were right and %d refused; want 1 and all others", len(answers), valid, refused)
	}
}

func oneRacerVerifiesTOTP(t *testing.T, f *fleet) {
	t.Helper()
	enrolled := f.api.enrollTOTP()
	var challenges []string
	for range 16 {
		challenges = append(challenges, f.api.challenge(enrolled.ID).ID)
	}
	// The code of the next step stays valid for long enough.
	code := codeAt(t, enrolled.TOTP.Secret, totp.Step(time.Now())+1)
	answers := f.raceCodes(64, code, challenges...)
	if valid := count(answers, isValid); valid != 1 {
		t.Errorf("one TOTP code was right for %d of %d racers on %d challenges; want 1", valid, len(answers), len(challenges))
	}
	if n := count(answers, isLookedAt) + count(answers, isRefused); n != len(answers) {
		t.Errorf("%d of %d racers with a TOTP code had an answer about it", n, len(answers))
	}
}

// oneFactorOfAKey enrolls many times with one idempotency key.
func oneFactorOfAKey(t *testing.T, f *fleet) {
	t.Helper()
	user := fmt.Sprintf("user_%d", time.Now().UnixNano())
	answers := f.race(32, func(int) (method, path, body, key string) {
		return "POST", "/auth/factors/enroll", `{"type":"totp","totp_issuer":"Example","totp_user":"you","user_id":"` + user + `"}`, user
	})
	wantOneAnswer(t, answers)
	if n := f.number(`SELECT count(*) FROM factors WHERE user_id = $1`, user); n != 1 {
		t.Errorf("%d requests under one key enrolled %d factors; want 1", len(answers), n)
	}
}

// oneChallengeOfAKey challenges a factor many times with one idempotency key.
func oneChallengeOfAKey(t *testing.T, f *fleet) {
	t.Helper()
	factor := f.api.enroll(`{"type":"generic_otp"}`).ID
	answers := f.race(32, func(int) (method, path, body, key string) {
		return "POST", "/auth/factors/" + factor + "/challenge", "", factor
	})
	wantOneAnswer(t, answers)
	id, err := mfa.ParseFactorID(factor)
	if err != nil {
		t.Fatal(err)
	}
	if n := f.number(`SELECT count(*) FROM challenges WHERE factor = $1`, id); n != 1 {
		t.Errorf("%d requests under one key made %d challenges; want 1", len(answers), n)
	}
}

// wantOneAnswer compares the answers to one request with one idempotency key.
func wantOneAnswer(t *testing.T, answers []answer) {
	t.Helper()
	for _, a := range answers {
		if a.status != http.StatusCreated || !bytes.Equal(a.body, answers[0].body) {
			t.Errorf("one key is answered %d %s, and %d %s", answers[0].status, answers[0].body, a.status, a.body)
		}
	}
}

// TestNodesCountTogether sends wrong codes to all nodes at the same time.
func TestNodesCountTogether(t *testing.T) {
	t.Parallel()
	const free = 5
	f := newFleet(t, pgtest.Shared(t).Database(t), 3, "--rate-limit", "10000000", "--free-failures", fmt.Sprint(free))
	for range 4 {
		factor := f.api.enroll(`{"type":"generic_otp"}`).ID
		made := f.api.challenge(factor)
		answers := f.raceCodes(64, wrong, made.ID)
		if seen, refused := count(answers, isLookedAt), count(answers, isRefused); seen != attempts || refused != len(answers)-attempts {
			t.Errorf("of %d wrong codes of a challenge %d were looked at and %d refused; want %d and all others", len(answers), seen, refused, attempts)
		}
		f.api.refused(http.StatusBadRequest, made.ID, made.Code)
	}
	for range 4 {
		factor := f.api.enroll(`{"type":"generic_otp"}`).ID
		var challenges []string
		for range 8 {
			challenges = append(challenges, f.api.challenge(factor).ID)
		}
		// The first failure after the free ones starts a back-off of the factor.
		answers := f.raceCodes(64, wrong, challenges...)
		if seen, refused := count(answers, isLookedAt), count(answers, isRefused); seen != free+1 || refused != len(answers)-free-1 {
			t.Errorf("of %d wrong codes of a factor %d were looked at and %d refused; want %d and all others", len(answers), seen, refused, free+1)
		}
	}
	f.audit()
	t.Run("a revoked key", func(t *testing.T) { refusedEverywhere(t, f) })
}

// refusedEverywhere revokes an API key that every node has cached.
func refusedEverywhere(t *testing.T, f *fleet) {
	key := f.createKey()
	for _, n := range f.nodes {
		n.apiAs(key).want(http.StatusNotFound, "GET", "/auth/factors/x", "")
	}
	list := succeed(t, "key", "list", "--store", f.store)
	id := regexp.MustCompile(`(?m)^(key_\w+) .*…` + key[len(key)-4:] + ` `).FindStringSubmatch(list)
	if id == nil {
		t.Fatalf("the list does not tell which key ends in …%s:\n%s", key[len(key)-4:], list)
	}
	succeed(t, "key", "revoke", id[1], "--store", f.store)
	revoked := time.Now()
	for _, n := range f.nodes {
		api := n.apiAs(key)
		poll(t, "the key is refused", func() bool {
			got, err := api.send(t.Context(), "GET", "/auth/factors/x", "", "")
			return err == nil && got.status == http.StatusUnauthorized
		})
	}
	if took := time.Since(revoked); took > 5*time.Second {
		t.Errorf("a revoked key was honoured for %v; want 5 s at most", took)
	} else {
		t.Logf("a revoked key was refused by all nodes after %v", took)
	}
}
