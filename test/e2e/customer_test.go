package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/totp"
)

// attempts is the number of codes that one challenge accepts.
const attempts = 5

// A customer uses the API: it enrolls, challenges, verifies and deletes at random,
// and remembers every complete answer. It has its own factors and sends one request
// at a time.
type customer struct {
	t        testing.TB
	api      *api
	name     string
	random   *rand.Rand
	requests int
	outages  bool // whether 503 is an answer like none, and no fault
	upgrades bool // whether some answers come from the previous release

	factors    []*factor
	recorded   []exchange // under idempotency keys
	unanswered *operation // to be asked again under its key
	cut        int        // requests without an answer
	torn       int        // unanswered requests whose answer had begun
}

// A factor holds the facts that its customer knows about it.
type factor struct {
	id         string
	secret     string // totp
	deleted    outcome
	spentStep  int64  // totp: the last one accepted
	spentCode  string // of spentStep
	challenges []*challenge
}

// A challenge holds the facts that its customer knows about it.
type challenge struct {
	id       string
	code     string // generic_otp
	verified outcome
	verifier string // the code that did, or may have done
	tries    int    // answered, right or wrong
	lost     int    // tries without an answer
	used     bool   // no more may be tried
}

// An outcome is the known result of an action that was requested once.
type outcome int

const (
	no    outcome = iota
	maybe         // asked for, and no answer came
	yes
)

// An operation is a request and the conclusions from its answer, or from a missing
// answer.
type operation struct {
	method, path, body string
	key                string // Idempotency-Key; "" sends no header
	learn              func(answer) error
	lose               func()
}

// An exchange is an operation with its answer.
type exchange struct {
	*operation
	answer answer
}

// live makes requests until ctx ends or a request gets no answer. It calls heard
// after every answer.
func (c *customer) live(ctx context.Context, heard func()) {
	for ctx.Err() == nil {
		if !c.do(ctx, c.next()) {
			return
		}
		heard()
	}
}

var errOutage = errors.New("the server cannot take the request, or does not know what became of it")

// do sends the request of an operation and reports whether it was answered.
func (c *customer) do(ctx context.Context, op *operation) bool {
	got, err := c.api.send(ctx, op.method, op.path, op.body, op.key)
	if err == nil && c.outages && got.status == http.StatusServiceUnavailable {
		err = errOutage
	}
	if err != nil {
		c.cut++
		if _, torn := errors.AsType[*tornError](err); torn {
			c.torn++
		}
		if op.key != "" {
			c.unanswered = op
		} else if op.lose != nil {
			op.lose()
		}
		return false
	}
	if err := op.learn(got); err != nil {
		c.t.Errorf("%s: %s %s %s = %d %.300s: %v", c.name, op.method, op.path, op.body, got.status, got.body, err)
	}
	if op.key != "" {
		c.recorded = append(c.recorded, exchange{op, got})
	}
	return true
}

// next chooses the next operation.
func (c *customer) next() *operation {
	f := c.pick()
	switch dice := c.random.IntN(20); {
	case f == nil || dice < 3:
		return c.enroll()
	case dice == 3:
		return c.delete(f)
	case len(f.challenges) == 0 || dice < 10:
		return c.challenge(f)
	default:
		return c.try(f, f.challenges[len(f.challenges)-1])
	}
}

// pick returns one of the newest factors, or nil if that factor has too many
// challenges.
func (c *customer) pick() *factor {
	recent := c.factors[max(0, len(c.factors)-3):]
	if len(recent) == 0 {
		return nil
	}
	// Each factor gets few challenges, so their failures do not lock it.
	if f := recent[c.random.IntN(len(recent))]; f.deleted == no && len(f.challenges) < 8 {
		return f
	}
	return nil
}

// maybeKey returns an idempotency key for every other request.
func (c *customer) maybeKey() string {
	c.requests++
	if c.requests%2 == 0 {
		return ""
	}
	return fmt.Sprintf("%s-%d", c.name, c.requests)
}

func (c *customer) enroll() *operation {
	body := `{"type":"generic_otp"}`
	if c.random.IntN(3) == 0 {
		body = fmt.Sprintf(`{"type":"totp","totp_issuer":"Example","totp_user":"%s"}`, c.name)
	}
	return &operation{
		method: "POST", path: "/auth/factors/enroll", body: body, key: c.maybeKey(),
		learn: func(got answer) error {
			if got.status != http.StatusCreated {
				return errors.New("want 201")
			}
			c.factors = append(c.factors, &factor{id: got.ID, secret: got.TOTP.Secret})
			return nil
		},
	}
}

func (c *customer) delete(f *factor) *operation {
	return &operation{
		method: "DELETE", path: "/auth/factors/" + f.id,
		learn: func(got answer) error {
			if got.status != http.StatusNoContent {
				return errors.New("want 204")
			}
			f.deleted = yes
			return nil
		},
		lose: func() { f.deleted = maybe },
	}
}

func (c *customer) challenge(f *factor) *operation {
	return &operation{
		method: "POST", path: "/auth/factors/" + f.id + "/challenge", key: c.maybeKey(),
		learn: func(got answer) error {
			if got.status != http.StatusCreated {
				return errors.New("want 201")
			}
			f.challenges = append(f.challenges, &challenge{id: got.ID, code: got.Code})
			return nil
		},
	}
}

// try submits a right or a wrong code. For a finished challenge any code will do.
func (c *customer) try(f *factor, ch *challenge) *operation {
	if c.random.IntN(2) == 0 {
		return c.tryCode(f, ch, wrong, 0)
	}
	if f.secret == "" {
		return c.tryCode(f, ch, ch.code, 0)
	}
	// The server accepts one step before and one step after the current step.
	step := max(f.spentStep+1, totp.Step(time.Now())-1)
	return c.tryCode(f, ch, codeAt(c.t, f.secret, step), step)
}

// tryCode submits a code. For a totp factor, step is the time step of the code.
func (c *customer) tryCode(f *factor, ch *challenge, code string, step int64) *operation {
	return &operation{
		method: "POST", path: verifyPath(ch.id), body: codeBody(code), key: c.maybeKey(),
		learn: func(got answer) error { return ch.learn(f, code, step, got) },
		lose: func() {
			ch.lost++
			if code != wrong && ch.verified == no {
				ch.verified, ch.verifier = maybe, code
				if step > f.spentStep {
					f.spentStep, f.spentCode = step, "" // the code may be spent, so it is not used again
				}
			}
		},
	}
}

// learn compares the answer to a code with the known facts, and adds its news.
func (ch *challenge) learn(f *factor, code string, step int64, got answer) error {
	switch {
	case got.status == http.StatusCreated && ch.verified == yes:
		return errors.New("a verified challenge let a code be tried")
	case got.status == http.StatusCreated && ch.used:
		return errors.New("a used challenge let a code be tried")
	case got.status == http.StatusCreated && ch.tries >= attempts:
		return fmt.Errorf("try %d of a challenge was looked at", ch.tries+1)
	case got.status == http.StatusCreated && got.Valid:
		if code == wrong {
			return errors.New("a wrong code is valid")
		}
		if step != 0 && step == f.spentStep && f.spentCode != "" {
			return errors.New("a step was accepted twice")
		}
		ch.tries++
		ch.verified, ch.verifier = yes, code
		if step != 0 {
			f.spentStep, f.spentCode = step, code
		}
	case got.status == http.StatusCreated:
		if code != wrong && code == ch.code {
			return errors.New("the right code is not valid")
		}
		ch.tries++
	case got.Code == "authentication_challenge_previously_verified":
		if ch.verified == no {
			return errors.New("the challenge was never verified")
		}
		ch.verified = yes
	case got.Code == "one_time_code_too_many_attempts":
		if ch.tries+ch.lost < attempts || ch.verified == yes {
			return fmt.Errorf("after %d tries, and %d without an answer", ch.tries, ch.lost)
		}
		ch.used = true
	default:
		return errors.New("unexpected")
	}
	return nil
}

// audit checks that every fact in the answers to the customer is still true.
func (c *customer) audit(ctx context.Context) {
	c.replay(ctx)
	for _, f := range c.factors {
		c.auditFactor(ctx, f)
	}
}

// replay repeats the requests with idempotency keys. It begins with the unanswered
// requests, which the server must carry out now if it has not done so.
func (c *customer) replay(ctx context.Context) {
	if op := c.unanswered; op != nil {
		c.unanswered = nil
		if !c.do(ctx, op) {
			c.t.Errorf("%s: %s got no answer", c.name, op.path)
		}
	}
	for _, x := range c.recorded {
		got, err := c.api.send(ctx, x.method, x.path, x.body, x.key)
		switch {
		case err != nil:
			c.t.Errorf("%s: repeat %s: %v", c.name, x.path, err)
		case got.status == http.StatusUnprocessableEntity && c.madeDeleted(x):
			// The recorded answer with the secret is deleted with its factor.
		case got.status == http.StatusNotFound && c.aboutDeleted(x):
			// The server reveals nothing about a deleted factor.
		case c.upgrades && got.status == x.answer.status && bytes.Equal(got.body, withoutCode(x.answer.body)):
			// The previous release forgot the code of the challenge when it verified it.
		case got.status != x.answer.status || !bytes.Equal(got.body, x.answer.body):
			c.t.Errorf("%s: %s answered %d %.300s; the same key now answers %d %.300s", c.name, x.path,
				x.answer.status, x.answer.body, got.status, got.body)
		}
	}
}

var codePattern = regexp.MustCompile(`"code":"[0-9]{6}",`)

// withoutCode removes the code from the answer to a challenge.
func withoutCode(body []byte) []byte { return codePattern.ReplaceAll(body, nil) }

// aboutDeleted reports whether x concerned a factor that may have been deleted since
// then.
func (c *customer) aboutDeleted(x exchange) bool {
	for _, f := range c.factors {
		if f.deleted == no {
			continue
		}
		for _, ch := range f.challenges {
			if strings.Contains(x.path+x.body, ch.id) {
				return true
			}
		}
		if strings.Contains(x.path+x.body, f.id) {
			return true
		}
	}
	return false
}

// madeDeleted reports whether x enrolled a factor that may have been deleted since
// then.
func (c *customer) madeDeleted(x exchange) bool {
	for _, f := range c.factors {
		if f.deleted != no && bytes.Contains(x.answer.body, []byte(f.id)) && strings.HasSuffix(x.path, "/enroll") {
			return true
		}
	}
	return false
}

func (c *customer) auditFactor(ctx context.Context, f *factor) {
	got, err := c.api.send(ctx, "GET", "/auth/factors/"+f.id, "", "")
	if err != nil {
		c.t.Errorf("%s: %v", c.name, err)
		return
	}
	switch {
	case got.status == http.StatusOK && f.deleted != yes:
		f.deleted = no
	case got.status == http.StatusNotFound && f.deleted != no:
		f.deleted = yes
	default:
		c.t.Errorf("%s: factor %s, deleted: %v, answers %d %s", c.name, f.id, f.deleted == yes, got.status, got.body)
		return
	}
	for _, ch := range f.challenges {
		c.auditChallenge(ctx, f, ch)
	}
	if f.deleted == no && f.spentCode != "" {
		c.auditStep(ctx, f)
	}
}

// auditChallenge submits codes until the challenge accepts no more.
func (c *customer) auditChallenge(ctx context.Context, f *factor, ch *challenge) {
	if f.deleted == yes {
		got, err := c.api.send(ctx, "POST", verifyPath(ch.id), codeBody(wrong), "")
		if err != nil || got.status != http.StatusNotFound {
			c.t.Errorf("%s: challenge %s of a deleted factor answers %d %s (%v)", c.name, ch.id, got.status, got.body, err)
		}
		return
	}
	if ch.tries+ch.lost == 0 {
		return // still to be used
	}
	code := wrong
	if ch.verified != no {
		code = ch.verifier
	}
	for range attempts + 1 {
		op := c.tryCode(f, ch, code, 0)
		op.key = ""
		if !c.do(ctx, op) {
			c.t.Errorf("%s: %s got no answer", c.name, op.path)
			return
		}
		if ch.used || ch.verified == yes {
			break
		}
	}
	if !ch.used && ch.verified != yes {
		c.t.Errorf("%s: challenge %s, after %d tries, takes still more", c.name, ch.id, ch.tries)
	}
	// The fate of a lost request is known now: the next audit expects the current
	// state.
	if ch.used {
		ch.lost = attempts
	}
}

// auditStep submits the last accepted code again, to a new challenge.
func (c *customer) auditStep(ctx context.Context, f *factor) {
	made, err := c.api.send(ctx, "POST", "/auth/factors/"+f.id+"/challenge", "", "")
	if err != nil || made.status != http.StatusCreated {
		c.t.Errorf("%s: challenge %s: %d %s (%v)", c.name, f.id, made.status, made.body, err)
		return
	}
	got, err := c.api.send(ctx, "POST", verifyPath(made.ID), codeBody(f.spentCode), "")
	if err != nil || got.status != http.StatusCreated || got.Valid {
		c.t.Errorf("%s: a spent code answers %d %s (%v); want valid: false", c.name, got.status, got.body, err)
	}
}

// A crowd is a group of customers of one server.
type crowd []*customer

func newCrowd(t testing.TB, size int) crowd {
	all := make(crowd, size)
	for i := range all {
		all[i] = &customer{t: t, name: fmt.Sprintf("customer-%d", i), random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
	}
	return all
}

// each calls a function for all customers at the same time.
func (all crowd) each(do func(*customer)) {
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() { do(c) })
	}
	wg.Wait()
}

// moveTo makes the customers call another server.
func (all crowd) moveTo(api *api) {
	for _, c := range all {
		c.api = api
	}
}

func (all crowd) audit(ctx context.Context) {
	all.each(func(c *customer) { c.audit(ctx) })
}

// liveUntil lets all customers live until they have received n answers. Then it
// calls end while they continue, and returns when no customer gets an answer.
func (all crowd) liveUntil(ctx context.Context, answers int, end func()) {
	heard := make(chan struct{}, answers)
	enough := make(chan struct{})
	go func() {
		defer close(enough)
		for range answers {
			select {
			case <-heard:
			case <-ctx.Done():
				return
			}
		}
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		all.each(func(c *customer) {
			c.live(ctx, func() {
				select {
				case heard <- struct{}{}:
				default: // enough were heard
				}
			})
		})
	}()
	<-enough
	end()
	<-done
}

// count returns the sum of a number over all customers.
func (all crowd) count(of func(*customer) int) (sum int) {
	for _, c := range all {
		sum += of(c)
	}
	return sum
}
