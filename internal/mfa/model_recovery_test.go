package mfa_test

import (
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

func (m *model) user(t *rapid.T) (mfa.Caller, mfa.UserKey) {
	env := pick(t, bothEnvs, "env")
	return env, mfa.UserKey{Environment: env.ID, ID: rapid.SampledFrom([]string{"ada", "grace"}).Draw(t, "user")}
}

// createRecovery creates the recovery codes of a user, in place of all earlier ones; now and then more often than is allowed.
func (m *model) createRecovery(t *rapid.T) {
	env, u := m.user(t)
	for range rapid.SampledFrom([]int{1, 1, 1, 1, 1, 11}).Draw(t, "sets") {
		m.makeCodes(t, env, mfa.RecoveryParams{User: u.ID, AllowSole: rapid.Bool().Draw(t, "allow sole")}, once[mfa.NewRecoveryCodes](t, m))
	}
}

func (m *model) makeCodes(t *rapid.T, env mfa.Caller, p mfa.RecoveryParams, o *idempotency.Request[mfa.NewRecoveryCodes]) {
	u := mfa.UserKey{Environment: env.ID, ID: p.User}
	do := func(o *idempotency.Request[mfa.NewRecoveryCodes]) (mfa.NewRecoveryCodes, error) {
		return m.CreateRecoveryCodes(m.t.Context(), env, p, o)
	}
	n, err := do(o)
	equal(t, "make recovery codes", outcome(err), m.mayMakeRecovery(u, m.factors, p.AllowSole))
	if err != nil {
		return
	}
	m.rules.created[u] = append(m.rules.created[u], m.clock.Now())
	set := m.rules.set(u)
	if set == nil {
		set = &ruledFactor{Enrollment: mfa.Enrollment{Details: n.Details}}
		m.factors, m.sets[u] = append(m.factors, set), set
		m.rules.enroll(set)
	} else {
		equal(t, "the id of the recovery codes", n.ID.String(), set.ID.String())
		m.happened(set, mfa.ChallengeID{}, mfa.RecoveryRegenerated, "")
		for i := range m.requests {
			m.requests[i].erased = m.requests[i].erased || m.requests[i].made == set
		}
	}
	set.former = append(set.former, set.codes...)
	set.codes, set.spent = nil, 0
	for _, code := range n.Codes {
		set.codes = append(set.codes, code.Reveal())
	}
	recorded(m, o, n, nil, func(r *request) { r.made, r.hidden = set, m.clock.Now().Add(10*time.Minute) },
		func(o *idempotency.Request[mfa.NewRecoveryCodes]) error { return fresh(do(o)) })
}

// deleteRecovery deletes recovery codes as an application does.
func (m *model) deleteRecovery(t *rapid.T) {
	env, u := m.user(t)
	if rapid.Bool().Draw(t, "another time") {
		t.Skip("most codes are in use")
	}
	var proof *ruledChallenge
	var id mfa.ChallengeID
	if set := m.rules.set(u); set != nil {
		for _, c := range m.challenges { // the newest one is most likely to prove it
			if c.verified && c.ruledFactor != set && c.user() == u {
				proof, id = c, c.id
			}
		}
	}
	want := "not found"
	if set := m.rules.set(u); set != nil {
		want = m.removeWith(set, env.ID, proof)
	}
	equal(t, "delete recovery codes", outcome(m.DeleteRecoveryCodes(m.t.Context(), env, u.ID, id)), want)
	if proof != nil && proof.used {
		m.requests = slices.DeleteFunc(m.requests, func(r request) bool { return r.of == id })
	}
}

// unused returns a recovery code of a set that can be used; of a set without one, any of its codes.
func (m *model) unused(set *ruledFactor) string {
	for i, code := range set.codes {
		if set.spent&(1<<i) == 0 {
			return code
		}
	}
	return set.codes[0]
}

// recoveryCode draws a code for the recovery codes of a user, mostly one that can be used.
func (m *model) recoveryCode(t *rapid.T, u mfa.UserKey) string {
	const none = "ZZZZ-ZZZZ-ZZZZ-ZZZZ"
	set, code := m.rules.set(u), none
	if set == nil {
		return none
	}
	switch rapid.SampledFrom([]string{"unused", "unused", "any", "replaced", "wrong", "other"}).Draw(t, "recovery code") {
	case "unused":
		code = m.unused(set)
	case "any": // often a used one
		code = pick(t, set.codes, "position")
	case "replaced":
		if len(set.former) > 0 {
			code = pick(t, set.former, "position")
		}
	case "other":
		for _, other := range m.sets {
			if other != set && other.codes[0] < code {
				code = other.codes[0]
			}
		}
	}
	if rapid.Bool().Draw(t, "as it is shown") && len(code) == 16 {
		code = strings.ToLower(code[:4] + "-" + code[4:8] + "-" + code[8:12] + "-" + code[12:])
	}
	return code
}

// useRecovery tries recovery codes of the challenged user, mostly at a new challenge that accepts them. A
// code that was right is tried once more at a further challenge.
func (m *model) useRecovery(t *rapid.T) {
	c := pick(t, m.challenges, "challenge")
	if c.User != "" && m.rules.set(c.user()) == nil {
		m.makeCodes(t, bothEnvs[c.Environment-sandbox.ID], mfa.RecoveryParams{User: c.User, AllowSole: true}, nil)
	}
	further := func() *ruledChallenge {
		f := c.ruledFactor
		if set := m.rules.set(c.user()); set != nil && rapid.Bool().Draw(t, "of the codes") {
			f = set
		}
		return m.issue(t, f, bothEnvs[c.Environment-sandbox.ID], rapid.IntRange(0, 3).Draw(t, "accept") > 0, nil, sent)
	}
	if rapid.IntRange(0, 3).Draw(t, "new challenge") > 0 {
		if c = further(); c == nil {
			return
		}
	}
	for range rapid.IntRange(1, 6).Draw(t, "codes") {
		code := m.recoveryCode(t, c.user())
		m.try(t, c, m.env(t, c.ruledFactor), code, once[mfa.Verification](t, m))
		if c.verified {
			if c = further(); c == nil {
				return
			}
			m.try(t, c, bothEnvs[c.Environment-sandbox.ID], code, nil)
		}
	}
}

// spent puts the replacement of a used recovery code into the set of the owner of f. use is nil if no recovery
// code was right.
func (m *model) spent(t *rapid.T, f *ruledFactor, use *mfa.RecoveryUse) {
	if use == nil {
		return
	}
	set := m.rules.set(f.user())
	if use.Remaining != set.left() {
		t.Fatalf("%d recovery codes are left; want %d", use.Remaining, set.left())
	}
	i := slices.Index(set.codes, "")
	if replacement := use.Replacement.Reveal(); replacement != "" && i >= 0 {
		set.codes[i] = replacement
	} else if replacement != "" || i >= 0 {
		t.Fatalf("the replacement of a used recovery code has %d characters; the environment replaces codes: %v", len(replacement), i >= 0)
	}
}

// hiddenAt returns when the answer to a code is not given again: an answer to a recovery code may show another one.
func (m *model) hiddenAt(code string) time.Time {
	if !isRecoveryForm(code) {
		return time.Time{}
	}
	return m.clock.Now().Add(10 * time.Minute)
}

// verifyUser tries a code in one call: of an app, of the recovery codes, or a wrong one.
func (m *model) verifyUser(t *rapid.T) {
	env, u := m.user(t)
	code := wrong
	switch rapid.SampledFrom([]string{"app", "app", "recovery", "recovery", "wrong"}).Draw(t, "code") {
	case "app":
		f := pick(t, m.unprompted(u, m.factors), "app")
		code = f.App.Code(f.key, f.App.Step(m.clock.Now())+int64(rapid.SampledFrom([]int{0, 0, 0, 1, -1, 5, -5}).Draw(t, "steps")))
	case "recovery":
		code = m.recoveryCode(t, u)
	}
	o := once[mfa.UserVerification](t, m)
	do := func(o *idempotency.Request[mfa.UserVerification]) (mfa.UserVerification, error) {
		return m.VerifyUser(m.t.Context(), env, u.ID, mfa.VerifyParams{Code: code}, o)
	}
	v, err := do(o)
	got := outcome(err)
	if err == nil {
		got = map[bool]string{true: "valid", false: "invalid"}[v.Valid]
	}
	want, of := m.rules.verifyUser(u, m.factors, code)
	equal(t, "verify a user", got, want)
	if of != nil {
		equal(t, "the factor of the code", v.Factor.String(), of.ID.String())
		m.spent(t, of, v.Recovery)
	}
	lacks := func() bool { return len(m.unprompted(u, m.factors)) == 0 && m.rules.set(u) == nil }
	recorded(m, o, v, err, func(r *request) { r.hidden, r.lacks = m.hiddenAt(code), lacks },
		func(o *idempotency.Request[mfa.UserVerification]) error { return fresh(do(o)) })
}
