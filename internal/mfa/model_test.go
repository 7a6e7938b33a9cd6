package mfa_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// Random sequences of requests, time and restarts end as the rules say. Try
// -rapid.checks=2000 after a change of the rules.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newFixture(t, ruledOptions)
		defer w.store.Close()
		m := &model{
			fixture: w, free: make(map[string]time.Time),
			rules: &rules{
				now: w.clock.Now, failures: make(map[mfa.UserKey]int),
				sends: make(map[string][]ruledSend), events: make(map[mfa.Bucket][]string),
				bypasses: make(map[mfa.BypassKey]*ruledBypass), answers: make(map[string]mfa.ChallengeID),
				sets: make(map[mfa.UserKey]*ruledFactor), created: make(map[mfa.UserKey][]time.Time),
			},
		}
		for range 2 {
			rt.Repeat(map[string]func(*rapid.T){
				"":              m.countMessages,
				"enroll":        m.enroll,
				"challenge":     m.challenge,
				"verify":        m.verify,
				"verify more":   m.verify,
				"resend":        m.resend,
				"guess":         m.guess,
				"delete":        m.delete,
				"prove, delete": m.deleteWith,
				"expire":        m.expire,
				"unlock factor": m.unlockFactor,
				"suspend":       m.suspend,
				"resume":        m.resume,
				"bypass":        m.createBypass,
				"end bypass":    m.revokeBypass,
				"use bypass":    m.useBypass,
				"make codes":    m.createRecovery,
				"delete codes":  m.deleteRecovery,
				"use a code":    m.useRecovery,
				"use codes":     m.useRecovery,
				"verify user":   m.verifyUser,
				"unlock user":   m.unlockUser,
				"time passes":   m.timePasses,
				"again":         m.again,
				"key reused":    m.keyReused,
				"sweep":         m.sweep,
				"restart":       m.restart,
			})
			m.compare(rt)
		}
	})
}

// bothEnvs have the settings that the rules know. Production accepts recovery codes at all
// challenges, and replaces each used one.
var bothEnvs = func() []mfa.Caller {
	values := map[string]string{
		"max_factors_per_user": fmt.Sprint(ruledFactors), "delete_requires_challenge": "10m", "webauthn_rp_id": "localhost", "webauthn_origins": page,
	}
	both := []mfa.Caller{sandbox, production}
	for i := range both {
		if both[i].Production {
			values["accept_recovery"], values["recovery_profile"] = "true", "nist"
		}
		settings, err := mfa.LoadSettings(values)
		if err != nil {
			panic(err)
		}
		both[i].Settings = settings
	}
	return both
}()

// A model drives a fixture and the rules side by side.
type model struct {
	*fixture
	*rules
	factors    []*ruledFactor
	challenges []*ruledChallenge
	requests   []request
	free       map[string]time.Time // since when a key is free to use again
}

// A request was made under a key and can be made again.
type request struct {
	do     func(fingerprint string) error
	answer string
	until  time.Time
	made   *ruledFactor // by an enrollment that succeeded
	about  *ruledFactor // the factor that is challenged or verified
	of     mfa.ChallengeID
	hidden time.Time   // when the secret that the answer shows is not shown again; zero: never
	erased bool        // the answer: the recovery codes in it were replaced
	swept  time.Time   // when the challenge to verify may be swept; zero for others
	lacks  func() bool // whether a user has no factors for one-call verification; nil for other requests
}

// outcome names the result of a request, without the ids that differ from run to run.
func outcome(err error) string {
	limit, limited := errors.AsType[*mfa.LimitError](err)
	switch {
	case err == nil:
		return "done"
	case limited && errors.Is(err, delivery.ErrSendLimit):
		return fmt.Sprint("send limit, wait ", limit.After)
	case limited:
		return fmt.Sprint(limit.Kind, ", wait ", limit.After)
	}
	for kind, name := range map[error]string{
		mfa.ErrNotFound: "not found", mfa.ErrExpired: "expired", mfa.ErrAlreadyVerified: "already verified",
		delivery.ErrNotDelivered: "not delivered", mfa.ErrKeyReused: "key reused",
		mfa.ErrNotSent: "not sent", mfa.ErrResendLimit: "sent too often",
		mfa.ErrInvalid: "invalid", mfa.ErrNotLocked: "not locked", mfa.ErrSuspended: "suspended", mfa.ErrNotSuspended: "not suspended",
		operator.ErrAllSuspended: "all suspended", operator.ErrNoBypass: "no bypass", mfa.ErrSoleFactor: "sole factor",
	} {
		if errors.Is(err, kind) {
			return name
		}
	}
	return err.Error()
}

func equal(t *rapid.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %s; want %s", what, got, want)
	}
}

func pick[T any](t *rapid.T, from []T, label string) T {
	if len(from) == 0 {
		t.Skip("nothing there yet")
	}
	return from[rapid.IntRange(0, len(from)-1).Draw(t, label)]
}

// env is mostly the factor's own.
func (m *model) env(t *rapid.T, f *ruledFactor) mfa.Caller {
	foreign := rapid.IntRange(0, 9).Draw(t, "env") == 9
	if foreign == (f.Environment == sandbox.ID) {
		return bothEnvs[1]
	}
	return bothEnvs[0]
}

// once makes every other request one with a key: one whose time is over, or a new one.
func once[T any](t *rapid.T, m *model) *idempotency.Request[T] {
	if rapid.Bool().Draw(t, "without key") {
		return nil
	}
	keep := rapid.SampledFrom([]time.Duration{30 * time.Second, 24 * time.Hour}).Draw(t, "keep")
	kind := fmt.Sprintf("%T for %v ", *new(T), keep)
	key := fmt.Sprintf("%s%04d", kind, len(m.free))
	for known, at := range m.free {
		if strings.HasPrefix(known, kind) && !m.clock.Now().Before(at) {
			key = min(key, known)
		}
	}
	o := onceKey[T](key, "the request")
	o.Keep = keep
	o.TargetInBody = rapid.Bool().Draw(t, "claim")
	m.free[key] = m.clock.Now().Add(keep)
	return o
}

// recorded keeps a request whose answer was recorded; about completes it. An answer "not
// found" is not recorded.
func recorded[T any](m *model, o *idempotency.Request[T], result T, err error, about func(*request), do func(*idempotency.Request[T]) error) {
	if o == nil || errors.Is(err, mfa.ErrNotFound) {
		return
	}
	r := request{
		answer: told(result, err), until: m.clock.Now().Add(o.Keep),
		do: func(fingerprint string) error {
			again := *o
			again.Fingerprint = onceKey[T]("", fingerprint).Fingerprint
			return do(&again)
		},
	}
	about(&r)
	m.requests = append(m.requests, r)
}

func (m *model) enroll(t *rapid.T) {
	p := mfa.EnrollParams{
		Type: rapid.SampledFrom([]mfa.FactorType{mfa.TOTP, mfa.SMS, mfa.GenericOTP, mfa.WebAuthn}).Draw(t, "type"),
		User: rapid.SampledFrom([]string{"", "ada", "grace"}).Draw(t, "user"),
	}
	switch p.Type {
	case mfa.TOTP:
		p.Challenge = rapid.Bool().Draw(t, "challenge")
		p.Algorithm = rapid.SampledFrom([]string{"", "SHA512"}).Draw(t, "algorithm")
		p.Digits = rapid.SampledFrom([]string{"", "8"}).Draw(t, "digits")
		p.Period = rapid.SampledFrom([]string{"", "60"}).Draw(t, "period")
	case mfa.SMS:
		p.PhoneNumber = rapid.SampledFrom([]string{adasPhone, gracesPhone}).Draw(t, "phone")
	}
	env, o := pick(t, bothEnvs, "env"), once[mfa.Enrollment](t, m)
	e, err := m.Enroll(m.t.Context(), env, p, o)
	equal(t, "enroll", outcome(err), m.mayEnroll(mfa.UserKey{Environment: env.ID, ID: p.User}, m.factors))
	if err != nil {
		return
	}
	f := &ruledFactor{Enrollment: e, phone: p.PhoneNumber}
	m.factors = append(m.factors, f)
	m.rules.enroll(f)
	if p.Type == mfa.TOTP {
		f.key, _ = totp.ParseSecret(e.Secret.Reveal())
	}
	if e.Challenge != nil {
		m.challenges = append(m.challenges, &ruledChallenge{ruledFactor: f, id: e.Challenge.ID, made: m.clock.Now()})
	}
	recorded(m, o, e, err, func(r *request) {
		r.made = f
		if p.Type == mfa.TOTP {
			r.hidden = m.clock.Now().Add(10 * time.Minute)
		}
	}, func(o *idempotency.Request[mfa.Enrollment]) error {
		return fresh(m.Enroll(m.t.Context(), env, p, o))
	})
}

func (m *model) challenge(t *rapid.T) {
	f := pick(t, m.factors, "factor")
	m.issue(t, f, m.env(t, f), rapid.Bool().Draw(t, "accept recovery"), once[mfa.IssuedChallenge](t, m), drawFate(t))
}

func drawFate(t *rapid.T) fate {
	return rapid.SampledFrom([]fate{sent, sent, sent, sent, lost, unsure, timedOut}).Draw(t, "fate")
}

// meet lets messages come to what fate has for them.
func (m *model) meet(f fate) {
	m.carrier.Lost, m.carrier.Unsure = nil, nil
	switch f {
	case lost:
		m.carrier.Lost = errCarrier
	case unsure:
		m.carrier.Unsure = errCarrier
	case timedOut:
		m.carrier.Unsure = context.DeadlineExceeded
	}
}

// issue challenges f. accept says whether recovery codes can verify the challenge. It returns nil if
// there is no challenge to be verified.
func (m *model) issue(t *rapid.T, f *ruledFactor, env mfa.Caller, accept bool, o *idempotency.Request[mfa.IssuedChallenge], fate fate) *ruledChallenge {
	m.meet(fate)
	do := func(o *idempotency.Request[mfa.IssuedChallenge]) (mfa.IssuedChallenge, error) {
		return m.Challenge(m.t.Context(), env, f.ID, mfa.ChallengeParams{AcceptRecovery: accept}, o)
	}
	seen := m.carrier.Sent()
	c, err := do(o)
	equal(t, "challenge", outcome(err), m.rules.challenge(f, env.ID, c.ID, accept, fate))
	made := &ruledChallenge{ruledFactor: f, id: c.ID, accepts: accept, code: c.Code.Reveal(), creates: f.passkey == nil, made: m.clock.Now(), gone: err != nil}
	if m.carrier.Sent() > seen {
		made.id, made.code = m.carrier.Last().Challenge, m.carrier.Last().Code.Reveal()
	} else if f.Type == mfa.SMS && err == nil {
		made.unsent = true
	}
	if outcome(err) == "not delivered" {
		m.voided(t, f)
	} else if !errors.Is(err, delivery.ErrSendLimit) {
		recorded(m, o, c, err, func(r *request) { r.about, r.of = f, c.ID }, func(o *idempotency.Request[mfa.IssuedChallenge]) error { return fresh(do(o)) })
	}
	if made.id != (mfa.ChallengeID{}) {
		m.challenges = append(m.challenges, made)
	}
	if made.gone {
		return nil
	}
	return made
}

// voided expects the two events of a challenge whose message failed. Only they
// tell its id.
func (m *model) voided(t *rapid.T, f *ruledFactor) {
	events := m.fixture.events(f.ID.Bucket())
	id := events[len(events)-1].Challenge
	m.happened(f, id, mfa.ChallengeCreated, "")
	m.happened(f, id, mfa.ChallengeVoided, "delivery_failed")
}

// resend sends the code of a challenge again, mostly of one that was sent, up to
// five times in a row.
func (m *model) resend(t *rapid.T) {
	c := pick(t, m.challenges, "challenge")
	if c.Type != mfa.SMS && rapid.Bool().Draw(t, "another") {
		t.Skip("not sent")
	}
	for range rapid.IntRange(1, 5).Draw(t, "times") {
		env, o, fate := m.env(t, c.ruledFactor), once[mfa.IssuedChallenge](t, m), drawFate(t)
		do := func(o *idempotency.Request[mfa.IssuedChallenge]) (mfa.IssuedChallenge, error) {
			return m.Resend(m.t.Context(), env, c.id, o)
		}
		m.meet(fate)
		seen := m.carrier.Sent()
		again, err := do(o)
		equal(t, "resend", outcome(err), m.rules.resend(c, env.ID, fate))
		if m.carrier.Sent() > seen {
			last := m.carrier.Last()
			equal(t, "message", fmt.Sprint(last.Challenge, last.Code.Reveal()), fmt.Sprint(c.id, c.code))
		}
		if err == nil {
			left := m.ResendsLeft(&again.Challenge)
			equal(t, "resend", fmt.Sprint(again.ID, again.Code.Reveal(), left), fmt.Sprint(c.id, "", ruledResends-c.resends))
		}
		switch outcome(err) {
		case "done", "already verified", "expired", "suspended", "too many attempts, wait 0s":
			recorded(m, o, again, err, func(r *request) { r.about, r.of, r.swept = c.ruledFactor, c.id, c.made.Add(24*time.Hour) },
				func(o *idempotency.Request[mfa.IssuedChallenge]) error { return fresh(do(o)) })
		}
		m.clock.Advance(rapid.SampledFrom([]time.Duration{0, 30 * time.Second}).Draw(t, "pause"))
	}
}

func (m *model) verify(t *rapid.T) {
	c := pick(t, m.challenges, "challenge")
	code := wrong
	switch rapid.SampledFrom([]string{"right", "right", "right", "wrong", "of another step", "of another challenge"}).Draw(t, "code") {
	case "right":
		code = c.code
		switch c.Type {
		case mfa.TOTP:
			code = c.App.Code(c.key, c.App.Step(m.clock.Now()))
		case mfa.WebAuthn:
			code = m.answer(c)
		case mfa.RecoveryCodes:
			code = m.unused(c.ruledFactor)
		}
		if rapid.Bool().Draw(t, "in groups") && len(code) == 6 {
			code = code[:3] + " " + code[3:]
		}
	case "of another step":
		if c.Type == mfa.TOTP {
			code = c.App.Code(c.key, c.App.Step(m.clock.Now())+int64(rapid.IntRange(-7, 7).Draw(t, "steps")))
		}
	case "of another challenge":
		code = pick(t, m.challenges, "other").code
	}
	m.try(t, c, m.env(t, c.ruledFactor), code, once[mfa.Verification](t, m))
}

// answer returns the response of an authenticator to a webauthn challenge: that of a new passkey, or
// that of the passkey of the factor.
func (m *model) answer(c *ruledChallenge) string {
	if c.code == "" {
		return wrong // it could not be issued
	}
	var response []byte
	if c.creates {
		var key *passkeytest.Passkey
		key, response = passkeytest.Create(m.fixture.t, []byte(c.code), page)
		c.offered = key
	} else {
		response = c.passkey.Get(m.fixture.t, []byte(c.code))
	}
	m.answers[string(response)] = c.id
	return string(response)
}

func (m *model) try(t *rapid.T, c *ruledChallenge, env mfa.Caller, code string, o *idempotency.Request[mfa.Verification]) {
	do := func(o *idempotency.Request[mfa.Verification]) (mfa.Verification, error) {
		return m.Verify(m.t.Context(), env, c.id, mfa.VerifyParams{Code: code}, o)
	}
	v, err := do(o)
	got := outcome(err)
	if err == nil {
		got = map[bool]string{true: "valid", false: "invalid"}[v.Valid]
	}
	equal(t, "verify", got, m.rules.verify(c, env.ID, code))
	m.spent(t, c.ruledFactor, v.Recovery)
	recorded(m, o, v, err, func(r *request) {
		r.about, r.of, r.swept, r.hidden = c.ruledFactor, c.id, c.made.Add(24*time.Hour), m.hiddenAt(code)
	},
		func(o *idempotency.Request[mfa.Verification]) error { return fresh(do(o)) })
}

// guess tries wrong codes, each against a new challenge of the same factor.
func (m *model) guess(t *rapid.T) {
	f := pick(t, m.factors, "factor")
	if f.Type == mfa.SMS {
		t.Skip("takes too many messages")
	}
	env := bothEnvs[f.Environment-sandbox.ID]
	for range rapid.IntRange(1, 8).Draw(t, "guesses") {
		if c := m.issue(t, f, env, false, nil, sent); c != nil {
			m.try(t, c, env, wrong, nil)
		}
	}
}

func (m *model) delete(t *rapid.T) {
	f := pick(t, m.factors, "factor")
	env := m.env(t, f)
	equal(t, "delete", outcome(m.DeleteFactor(m.t.Context(), env, f.ID)), m.remove(f, env.ID))
}

// deleteWith deletes a factor as an application does, with a challenge as its proof.
func (m *model) deleteWith(t *rapid.T) {
	f := pick(t, m.factors, "factor")
	var proof *ruledChallenge
	var id mfa.ChallengeID
	switch rapid.SampledFrom([]string{"none", "any", "fresh", "fresh", "fresh"}).Draw(t, "proof") {
	case "any":
		proof = pick(t, m.challenges, "challenge")
	case "fresh": // of another factor of the same user
		f, proof = m.prove(t)
	}
	if proof != nil {
		id = proof.id
	}
	env := m.env(t, f)
	equal(t, "delete with a proof", outcome(m.DeleteFactorWith(m.t.Context(), env, f.ID, id)), m.removeWith(f, env.ID, proof))
	if proof != nil && proof.used {
		m.requests = slices.DeleteFunc(m.requests, func(r request) bool { return r.of == id })
	}
}

// prove draws two factors of one user and answers a challenge of each. It returns the first factor,
// and the challenge of the second one.
func (m *model) prove(t *rapid.T) (f *ruledFactor, proof *ruledChallenge) {
	by := pick(t, bothEnvs, "env")
	for range 2 {
		e, err := m.Enroll(m.t.Context(), by, mfa.EnrollParams{Type: mfa.GenericOTP, User: "ada"}, nil)
		equal(t, "enroll", outcome(err), m.mayEnroll(mfa.UserKey{Environment: by.ID, ID: "ada"}, m.factors))
		if err == nil {
			m.factors = append(m.factors, &ruledFactor{Enrollment: e})
			m.rules.enroll(m.factors[len(m.factors)-1])
		}
	}
	var pairs [][2]*ruledFactor
	for _, f := range m.factors {
		for _, g := range m.factors {
			if f != g && !f.deleted && !g.deleted && f.User != "" && f.user() == g.user() && (g.Type == mfa.GenericOTP || g.Type == mfa.WebAuthn) {
				pairs = append(pairs, [2]*ruledFactor{f, g})
			}
		}
	}
	pair := pick(t, pairs, "pair")
	for _, g := range pair {
		if g.Type != mfa.GenericOTP && g.Type != mfa.WebAuthn {
			continue
		}
		env := bothEnvs[g.Environment-sandbox.ID]
		if proof = m.issue(t, g, env, false, nil, sent); proof == nil {
			t.Skip("a factor is locked")
		}
		code := proof.code
		if g.Type == mfa.WebAuthn {
			code = m.answer(proof)
		}
		m.try(t, proof, env, code, nil)
	}
	return pair[0], proof
}

// expire removes the factors that were not verified in time.
func (m *model) expire(t *rapid.T) {
	equal(t, "expire", outcome(m.ExpireFactors(m.t.Context())), "done")
	m.rules.expire(m.factors)
}

func (m *model) unlockFactor(t *rapid.T) {
	f := pick(t, m.factors, "factor")
	equal(t, "unlock factor", outcome(m.fixture.unlockFactor(f.ID)), m.rules.unlockFactor(f))
}

func (m *model) suspend(t *rapid.T) {
	f := pick(t, m.factors, "factor")
	if rapid.Bool().Draw(t, "another time") {
		t.Skip("most factors are in use")
	}
	equal(t, "suspend", outcome(m.operator().SuspendFactor(m.t.Context(), adaWhy, f.ID)), m.rules.suspend(f))
}

func (m *model) resume(t *rapid.T) {
	f := pick(t, m.factors, "factor")
	equal(t, "resume", outcome(m.operator().ResumeFactor(m.t.Context(), adaWhy, f.ID)), m.rules.resume(f))
}

// owner draws a person: a user, or the owner of a factor without a user id.
func (m *model) owner(t *rapid.T) (f *ruledFactor, p operator.BypassParams, all []*ruledFactor) {
	f = pick(t, m.factors, "factor")
	p = operator.BypassParams{Environment: bothEnvs[f.Environment-sandbox.ID].Environment, User: f.User, Factor: f.ID}
	for _, other := range m.factors {
		if !other.deleted && other.BypassKey() == f.BypassKey() {
			all = append(all, other)
		}
	}
	return f, p, all
}

func (m *model) createBypass(t *rapid.T) {
	f, p, all := m.owner(t)
	p.TTL = rapid.SampledFrom([]time.Duration{0, time.Minute, time.Hour}).Draw(t, "ttl")
	code, b, err := m.operator().CreateBypass(m.t.Context(), adaWhy, p)
	want := "done"
	switch {
	case len(all) == 0:
		want = "not found"
	case !slices.ContainsFunc(all, func(f *ruledFactor) bool { return !f.paused }):
		want = "all suspended"
	}
	equal(t, "bypass", outcome(err), want)
	if err == nil {
		m.bypasses[f.BypassKey()] = &ruledBypass{code: code.Reveal(), until: b.ExpiresAt}
		m.bypassHappened(f, mfa.ChallengeID{}, mfa.BypassCreated, adaWhy.Reason)
	}
}

func (m *model) revokeBypass(t *rapid.T) {
	f, p, all := m.owner(t)
	if rapid.Bool().Draw(t, "another time") {
		t.Skip("most codes are used")
	}
	want := "done"
	switch {
	case len(all) == 0:
		want = "not found"
	case m.rules.bypass(f) == nil:
		want = "no bypass"
	}
	equal(t, "revoke bypass", outcome(m.operator().RevokeBypass(m.t.Context(), adaWhy, p)), want)
	if want == "done" {
		delete(m.bypasses, f.BypassKey())
		m.bypassHappened(f, mfa.ChallengeID{}, mfa.BypassRevoked, adaWhy.Reason)
	}
}

// useBypass tries a bypass code, mostly that of the challenged person, or a guess, on a new
// challenge or on an older one.
func (m *model) useBypass(t *rapid.T) {
	c := pick(t, m.challenges, "challenge")
	if rapid.Bool().Draw(t, "new challenge") {
		if c = m.issue(t, c.ruledFactor, bothEnvs[c.Environment-sandbox.ID], false, nil, sent); c == nil {
			return
		}
	}
	code := guess
	b := m.bypasses[c.BypassKey()]
	switch rapid.SampledFrom([]string{"own", "own", "guess", "any"}).Draw(t, "code") {
	case "own":
		if b != nil {
			code = b.code
		}
	case "any":
		for _, f := range m.factors {
			if other := m.bypasses[f.BypassKey()]; other != nil {
				code = other.code
			}
		}
	}
	m.try(t, c, m.env(t, c.ruledFactor), code, once[mfa.Verification](t, m))
}

func (m *model) unlockUser(t *rapid.T) {
	u := mfa.UserKey{Environment: pick(t, bothEnvs, "env").ID, ID: rapid.SampledFrom([]string{"ada", "grace"}).Draw(t, "user")}
	factors := 0
	for _, f := range m.factors {
		if !f.deleted && f.user() == u {
			factors++
		}
	}
	equal(t, "unlock user", outcome(m.fixture.unlockUser(bothEnvs[u.Environment-sandbox.ID], u.ID)), m.rules.unlockUser(u, factors))
}

func (m *model) timePasses(t *rapid.T) {
	m.clock.Advance(rapid.SampledFrom([]time.Duration{
		time.Millisecond, time.Second, 30*time.Second - time.Millisecond, 30 * time.Second, time.Minute, 4 * time.Minute,
		10*time.Minute - time.Millisecond, 10 * time.Minute, time.Hour, 5 * time.Hour, 24 * time.Hour,
	}).Draw(t, "time"))
}

// live returns the requests whose answers are still repeated.
func (m *model) live() (live []request) {
	for _, r := range m.requests {
		if m.clock.Now().Before(r.until) {
			live = append(live, r)
		}
	}
	return live
}

// gone reports whether what a request is about may not be there any more.
func (m *model) gone(r request) bool {
	if r.lacks != nil && r.lacks() {
		return true
	}
	return r.about != nil && (r.about.deleted || !r.swept.IsZero() && !m.clock.Now().Before(r.swept))
}

func (m *model) again(t *rapid.T) {
	r := pick(t, m.live(), "request")
	err := r.do("the request")
	if outcome(err) == "not found" && m.gone(r) {
		return
	}
	if r.made != nil && r.made.deleted {
		equal(t, "the enrollment of a deleted factor again", outcome(err), "key reused")
		return
	}
	if r.erased {
		equal(t, "the creation of replaced recovery codes again", outcome(err), "key reused")
		return
	}
	if !r.hidden.IsZero() && !m.clock.Now().Before(r.hidden) {
		equal(t, "an enrollment again after its secret is hidden", outcome(err), "key reused")
		return
	}
	if r.about != nil && r.about.deleted {
		t.Fatalf("a request about a deleted factor again: %s; want not found", outcome(err))
	}
	if again, ok := errors.AsType[*replayedError](err); !ok || again.answer != r.answer {
		t.Fatalf("the same request again: %s; want the same answer", outcome(err))
	}
}

func (m *model) keyReused(t *rapid.T) {
	r := pick(t, m.live(), "request")
	got := outcome(r.do("another"))
	if got == "not found" && m.gone(r) {
		return // a claimed key is checked first, and otherwise the row
	}
	equal(t, "another request under its key", got, "key reused")
}

func (m *model) sweep(t *rapid.T) {
	equal(t, "sweep", outcome(m.Sweep(m.t.Context())), "done")
	m.rules.sweep(m.challenges)
}

// restart continues with a new Service, one time in four over the store opened again.
func (m *model) restart(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "reopen") == 3 {
		err := m.store.Close()
		if err == nil {
			m.store, err = sqlite.Open(m.path, nil)
		}
		equal(t, "reopen", outcome(err), "done")
	}
	m.Service = m.serviceOver(m.store, ruledOptions)
	m.clock.Advance(time.Millisecond) // ids sort by what one process knows
}

func (m *model) countMessages(t *rapid.T) {
	equal(t, "messages", fmt.Sprint(m.carrier.Sent()), fmt.Sprint(m.messages))
}

// compare checks the stored rows against the rules.
func (m *model) compare(t *rapid.T) {
	for i, f := range m.factors {
		rows := m.rows(mfa.Read{Bucket: f.ID.Bucket(), Factor: f.ID})
		if f.deleted != (rows.Factor == nil) {
			t.Fatalf("factor %d deleted: %v; want %v", i, rows.Factor == nil, f.deleted)
		}
		if f.deleted {
			continue
		}
		user := 0
		if rows.User != nil {
			user = rows.User.Failures
		}
		got := fmt.Sprint(rows.Factor.Failures, rows.Factor.LockedUntil, rows.Factor.LastStep, rows.Factor.App.Ahead, rows.Factor.App.Missed, rows.Factor.LastUsedAt, rows.Factor.IsSuspended(), user)
		equal(t, fmt.Sprint("factor ", i), got, fmt.Sprint(f.failures, f.locked, f.spent, f.ahead, f.missed, f.used, f.paused, m.failures[f.user()]))
	}
	got := make(map[mfa.Bucket][]string)
	all := storetest.Events(m.fixture.t, m.store)
	refused := make(map[mfa.ChallengeID]bool)
	for _, e := range all {
		b := e.ID.Bucket()
		if e.Type == mfa.ChallengeRefused {
			if refused[e.Challenge] {
				continue // only the first is certain
			}
			refused[e.Challenge] = true
		}
		if e.Type == mfa.UserUnlocked || e.Type == mfa.BypassCreated || e.Type == mfa.BypassRevoked {
			e.Factor = mfa.FactorID{} // any factor of the user
		}
		got[b] = append(got[b], fmt.Sprintln(e.Type, e.Reason, e.Factor, e.Challenge))
	}
	for b, want := range m.rules.events {
		if !slices.Equal(got[b], want) {
			t.Fatalf("events are %q; want %q", got[b], want)
		}
		delete(got, b)
	}
	if len(got) != 0 {
		t.Fatalf("there are events of nothing: %v", got)
	}
}
