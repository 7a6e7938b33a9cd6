package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A story collects sentences.
type story []string

func (s *story) add(format string, args ...any) { *s = append(*s, fmt.Sprintf(format, args...)) }

// explainChallenge explains a challenge with its timeline. rows are its rows, if it is stored.
// next says whether to tell when the next message may be sent, and of a bypass code.
func (r *reader) explainChallenge(ctx context.Context, c *Challenge, rows mfa.Rows, next bool) ([]string, error) {
	var s story
	used := fmt.Sprintf("%d of %d attempts used", c.Attempts, c.MaxAttempts)
	switch c.State {
	case ChallengeOpen:
		s.add("A right code verifies the challenge until %s, in %s; %s.", r.clock(c.ExpiresAt), r.in(c.ExpiresAt), used)
	case ChallengeBlocked:
		s.add("The challenge does not expire before %s, but no code is checked now; %s.", r.clock(c.ExpiresAt), used)
	case ChallengeVerified:
		s.add("A right %s verified the challenge at %s, with attempt %d of %d.", c.codeWords(), r.clock(c.VerifiedAt), c.Attempts, c.MaxAttempts)
	case ChallengeExhausted:
		s.add("%s, and none was right: this challenge accepts no further code. A new challenge does.", used)
	case ChallengeExpired:
		s.add("The challenge %s without a right code; %s.", r.expiry(c), used)
	case ChallengeNotSent:
		s.add("The challenge was withdrawn, because its message could not be sent.")
	}
	if c.State == ChallengeExpired && c.Attempts == 0 && !c.wasRefused() {
		s.add("No code was entered.")
	}
	r.explainCodes(&s, c)
	r.explainMessages(&s, c)
	if rows.Factor != nil && c.State != ChallengeVerified {
		f := r.factor(c.Environment, rows.Factor)
		if next {
			if err := r.completeFactor(ctx, &f, rows.Factor); err != nil {
				return nil, err
			}
		}
		f.userLocked = rows.User != nil && rows.User.Failures >= r.limits.UserFailures
		r.explainLocks(&s, &f)
		if next {
			r.explainBypass(&s, f.Bypass)
			if err := r.explainNextMessage(ctx, &s, c, rows.Factor, f.Phone); err != nil {
				return nil, err
			}
		}
	}
	if !c.Stored {
		if err := r.explainRemoval(ctx, &s, c); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// expiry tells when a challenge expired. The time of a removed challenge is not known.
func (r *reader) expiry(c *Challenge) string {
	if c.ExpiresAt.IsZero() {
		return "expired"
	}
	return "expired at " + r.clock(c.ExpiresAt)
}

// codeWords names the code that verified the challenge.
func (c *Challenge) codeWords() string {
	for _, e := range c.Timeline {
		if e.Type == mfa.ChallengeSucceeded && e.Reason == reasonBypass {
			return "bypass code, which an operator issued,"
		}
		if e.Type == mfa.ChallengeSucceeded && e.Reason == reasonRecovery {
			return "recovery code of the user"
		}
	}
	return "code"
}

func (c *Challenge) wasRefused() bool {
	for _, e := range c.Timeline {
		if e.Type == mfa.ChallengeRefused {
			return true
		}
	}
	return false
}

// explainCodes explains wrong and refused codes.
func (r *reader) explainCodes(s *story, c *Challenge) {
	spent := 0
	var drift, refused *Entry
	for i := range c.Timeline {
		switch e := &c.Timeline[i]; {
		case e.Type == mfa.ChallengeFailed && e.Reason == reasonSpentCode:
			spent++
		case e.Type == mfa.ChallengeFailed && e.Offset != 0:
			drift = e
		case e.Type == mfa.ChallengeRefused:
			refused = e
		}
	}
	if spent > 0 {
		s.add("%s had been used before. Each code of an app is accepted once: the user must wait for the next one. If the user did not "+
			"enter it before, it may have been intercepted.", plural(spent, "code"))
	}
	if drift != nil {
		direction := "behind"
		d := -drift.Offset
		if d < 0 {
			direction, d = "ahead", -d
		}
		s.add("The code of %s belongs to another time: the clock of the user's phone seems to be %s %s, or the code was old. The phone must "+
			"set its time automatically.", r.clock(drift.At), span(d), direction)
	}
	if refused != nil {
		s.add("At %s a code was refused without a check: %s.", r.clock(refused.At), cmp.Or(refusalWords[refused.Reason], refused.Reason))
	}
}

// plural returns a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// explainMessages explains each message, from the rows or else from the events.
func (r *reader) explainMessages(s *story, c *Challenge) {
	for i, m := range c.Messages {
		which := "The message"
		if len(c.Messages) > 1 {
			which = fmt.Sprintf("Message %d of %d", i+1, len(c.Messages))
		}
		r.explainMessage(s, which, m)
	}
	if c.Stored {
		return
	}
	for _, e := range c.Timeline {
		if e.Type == mfa.ChallengeVoided {
			s.add("At %s %s.", r.clock(e.At), cmp.Or(unsentWords[e.Reason], "no provider accepted its message"))
			if e.Reason == "recipient_refused" {
				s.add("The number is not valid, cannot receive text messages, opted out or is blocked. Another try has the same result.")
			}
		}
	}
	for i := len(c.Timeline) - 1; i >= 0; i-- { // the last state of a message
		if e := c.Timeline[i]; messageWords[messageState(e.Type)] != "" {
			s.add("Last news of its messages, at %s: %s.", r.clock(e.At), e.Text)
			return
		}
	}
}

func (r *reader) explainMessage(s *story, which string, m Message) {
	at := r.clock(m.UpdatedAt)
	by, through := "the inbox", "" // of a server for development
	if m.Provider != "" {
		by = "the provider " + m.Provider
		through = ", through " + by
	}
	reason := ""
	if m.Reason != "" {
		reason = " " + m.Reason
		if m.Meaning != "" {
			reason += " (" + m.Meaning + ")"
		}
	}
	switch m.State {
	case delivery.Queued:
		s.add("%s was accepted by %s at %s. No receipt has arrived: the carrier has not answered, or the provider does not report.", which, by, r.clock(m.SentAt))
	case delivery.Sent:
		s.add("%s was handed to the carrier by %s at %s. The phone has not confirmed it: it may be switched off, or the carrier does not report.", which, by, at)
	case delivery.Delivered:
		s.add("%s was delivered to the phone by %s at %s.", which, by, at)
	case delivery.Undelivered:
		s.add("%s did not arrive: the phone's carrier reported%s at %s%s.", which, cmp.Or(reason, " a failure"), at, through)
	case delivery.Failed:
		if text := unsentWords[m.Reason]; text != "" {
			s.add("%s was not sent at %s: %s.", which, at, text)
			return
		}
		s.add("%s failed at %s: %s reported%s.", which, at, by, cmp.Or(reason, " a failure"))
	}
}

// explainLocks explains why no code of a factor is checked now.
func (r *reader) explainLocks(s *story, f *Factor) {
	switch f.State {
	case mfa.StatusSuspended:
		s.add("The factor is suspended: it cannot be used until an operator resumes it.")
		if f.Suspension.By == "" {
			s.add("It was suspended at %s.", r.clock(f.SuspendedAt))
			break
		}
		s.add("At %s it was suspended by %s: %s.", r.clock(f.SuspendedAt), f.Suspension.By, f.Suspension.Reason)
	case mfa.StatusLocked:
		if f.LockedUntil.IsZero() {
			s.add("The factor is locked after %d wrong codes in a row, until an operator unlocks it.", f.Failures)
			break
		}
		s.add("The factor is locked until %s, for another %s, after %d wrong codes in a row. It unlocks by itself.", r.clock(f.LockedUntil), r.in(f.LockedUntil), f.Failures)
	}
	if f.userLocked {
		s.add("The user is locked after %d wrong codes in a row over all factors, until an operator unlocks the user.", r.limits.UserFailures)
	}
}

// explainNextMessage tells when the next message to the phone of a factor may be sent.
func (r *reader) explainNextMessage(ctx context.Context, s *story, c *Challenge, f *mfa.Factor, phone delivery.Phone) error {
	if f.Type != mfa.SMS {
		return nil
	}
	if phone.E164() == "" {
		s.add("When the next message may be sent is not known without the keyset.")
		return nil
	}
	limit, err := r.nextMessage(ctx, c.Environment, f, phone)
	switch {
	case err != nil:
		return err
	case limit == nil:
		s.add("The next message may be sent now.")
	case errors.Is(limit, delivery.ErrPrefixPaused):
		s.add("No message is sent to numbers with this prefix for another %s: too few of their codes were entered, which looks like SMS pumping. "+
			"'countersign sms release' ends the pause.", span(limit.After))
	case errors.Is(limit, delivery.ErrDailyLimit):
		s.add("The environment has used its messages of 24 hours; the next message may be sent in %s.", span(limit.After))
	default:
		s.add("The next message may be sent in %s.", span(limit.After))
	}
	return nil
}

// nextMessage returns why no message may be sent to the phone of a factor now, or nil.
func (r *reader) nextMessage(ctx context.Context, env mfa.Environment, f *mfa.Factor, phone delivery.Phone) (*delivery.LimitError, error) {
	policy, err := delivery.NewPolicy(delivery.Options{
		Limits: delivery.Limits{Spacing: r.limits.SendSpacing, Windows: r.limits.Sends}, Rules: r.opts.SMS, RulesOf: r.opts.SMSOf,
	})
	if err != nil {
		return nil, err
	}
	k := policy.Keys(r.keys, env.Tenant(), phone)
	rows, err := r.store.View(ctx, mfa.Read{Bucket: k.Bucket, Phone: k.Phone, Counters: k.Counters})
	if err != nil {
		return nil, err
	}
	return policy.Wait(env.Tenant(), delivery.Rows{Phone: rows.Phone, Counters: rows.Counters}, f.Source(r.now), r.now), nil
}

// explainRemoval tells why a challenge is not stored.
func (r *reader) explainRemoval(ctx context.Context, s *story, c *Challenge) error {
	if (c.Factor != mfa.FactorID{}) {
		rows, err := r.store.View(ctx, mfa.Read{Bucket: c.Factor.Bucket(), Factor: c.Factor})
		if err != nil {
			return err
		}
		switch {
		case rows.Factor != nil:
		case c.State == ChallengeVerified:
			s.add("Its factor was deleted later.")
		default:
			s.add("Its factor was deleted, so no code can verify it.")
		}
	}
	s.add("The challenge is not stored any more; this is told from its events.")
	return nil
}

// explainFactor explains a factor.
func (r *reader) explainFactor(f *Factor) []string {
	var s story
	r.explainLocks(&s, f)
	switch f.State {
	case FactorGone:
		s.add("The factor was deleted; this is told from its events.")
		for i := len(f.Timeline) - 1; i >= 0; i-- {
			if e := f.Timeline[i]; e.Type == mfa.FactorDeleted {
				s.add("It was deleted at %s by %s.", r.clock(e.At), callerWords(e.Caller))
				break
			}
		}
		return s
	case mfa.StatusUnverified:
		s.add("No code of the factor has been right yet.")
	case mfa.StatusVerified:
		if !f.userLocked {
			s.add("Codes of the factor are checked.")
		}
	}
	if f.Failures > 0 && f.State != mfa.StatusLocked {
		s.add("%s in a row; at %d the factor is locked.", plural(f.Failures, "wrong code"), f.MaxFailures)
	}
	r.explainRecovery(&s, f)
	if !f.LastUsed.IsZero() {
		s.add("The last right code was entered at about %s.", r.clock(f.LastUsed))
	}
	r.explainBypass(&s, f.Bypass)
	return s
}

// explainRecovery tells how many codes of a set of recovery codes are left; nothing for another factor.
func (r *reader) explainRecovery(s *story, f *Factor) {
	switch c := f.Recovery; {
	case c == nil:
	case c.Remaining == 0:
		s.add("All %d recovery codes were used: the application can create new ones.", c.Total)
	case c.CreatedAt.IsZero():
		s.add("%d of %d recovery codes are left.", c.Remaining, c.Total)
	default:
		s.add("%d of %d recovery codes are left; they were created at %s.", c.Remaining, c.Total, r.clock(c.CreatedAt))
	}
}

// explainBypass tells which bypass code can be used now. It does not have the code.
func (r *reader) explainBypass(s *story, b *Bypass) {
	if b != nil {
		s.add("A bypass code can be used until %s, in place of the code of any factor that is not suspended. It was issued by %s: %s.",
			r.clock(b.ExpiresAt), b.Operator, b.Reason)
	}
}

// callerWords names who caused an event.
func callerWords(caller string) string {
	switch {
	case caller == "":
		return "Countersign itself"
	case len(caller) > len("operator:") && caller[:len("operator:")] == "operator:":
		return "the operator " + caller[len("operator:"):]
	}
	return "the application, with the API key " + caller
}

// explainUser explains a user.
func (r *reader) explainUser(u *User) []string {
	var s story
	switch {
	case u.Locked:
		s.add("The user is locked after %d wrong codes in a row over all factors, until an operator unlocks the user.", u.Failures)
	case u.Failures > 0:
		s.add("%s in a row over all factors; at %d the user is locked.", plural(u.Failures, "wrong code"), u.MaxFailures)
	}
	total := len(u.Factors)
	codes := u.RecoveryCodes()
	if codes != nil {
		total--
	}
	if total == 0 {
		s.add("The user has no factors.")
	}
	usable := 0
	var until time.Time
	for i := range u.Factors {
		f := &u.Factors[i]
		if f.Recovery != nil {
			continue // told below
		}
		switch f.State {
		case mfa.StatusVerified, mfa.StatusUnverified:
			usable++
		case mfa.StatusLocked:
			if f.LockedUntil.IsZero() {
				continue
			}
			if until.IsZero() || f.LockedUntil.Before(until) {
				until = f.LockedUntil
			}
		}
	}
	switch {
	case total == 0 || u.Locked:
	case usable == 0 && !until.IsZero():
		s.add("No factor can be used before %s, in %s.", r.clock(until), r.in(until))
	case usable == 0:
		s.add("No factor can be used.")
	default:
		s.add("%d of %s can be used.", usable, plural(total, "factor"))
	}
	if codes != nil {
		r.explainRecovery(&s, codes)
		if codes.State == mfa.StatusLocked && !u.Locked {
			s.add("The recovery codes are locked after wrong codes.")
		}
	}
	for i := range u.Factors {
		if f := &u.Factors[i]; f.Suspension.By != "" {
			s.add("At %s the %s factor %s was suspended by %s: %s.", r.clock(f.SuspendedAt), f.Type, f.ID, f.Suspension.By, f.Suspension.Reason)
		}
	}
	r.explainBypass(&s, u.Bypass)
	if len(u.Challenges) > 0 {
		c := &u.Challenges[0]
		if len(c.Explanation) > 0 {
			s.add("The last challenge, created at %s: %s", r.clock(c.CreatedAt), c.Explanation[0])
		}
	}
	return s
}
