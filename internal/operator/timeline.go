package operator

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// maxEvents is the largest number of events on the timeline of a user or a factor. That of a
// challenge is always shorter: no challenge has so many.
const (
	maxEvents          = 50
	maxChallengeEvents = 500
)

// events returns a service that reads events and opens their personal data.
func (r *reader) events() *events.Service {
	return events.NewService(r.store, events.Options{Keys: func() *secret.Keyset { return r.keys }, Now: r.opts.Now})
}

// userEvents returns the newest events of a user, oldest first, and whether there are older
// ones.
func (r *reader) userEvents(ctx context.Context, q events.Query) (found []events.Event, more bool, err error) {
	q.Newest = true
	page, err := r.events().List(ctx, q)
	if err != nil {
		return nil, false, err
	}
	for i := len(page.Events) - 1; i >= 0; i-- {
		found = append(found, page.Events[i])
	}
	return found, page.More, nil
}

// timeline returns events as the entries of a timeline.
func timeline(all []events.Event) []Entry {
	entries := make([]Entry, len(all))
	providers := make(map[mfa.ChallengeID]string) // that accepted the last message of a challenge
	for i := range all {
		e := &all[i]
		if e.Type == messageQueued {
			providers[e.Challenge] = e.Reason
		}
		entries[i] = Entry{
			ID: e.ID, At: e.At, Type: e.Type, Factor: e.Factor, Challenge: e.Challenge, Kind: e.Kind, Reason: e.Reason,
			Offset: time.Duration(e.ClockOffset) * totp.Period,
			Caller: e.Caller, Request: e.Request, IPAddress: e.IPAddress, UserAgent: e.UserAgent,
			Text: words(e, providers[e.Challenge]),
		}
	}
	return entries
}

const messageQueued = mfa.EventType("message." + delivery.Queued)

// words tells an event in words. provider accepted the last message before it.
func words(e *events.Event, provider string) string {
	reason := e.Reason
	switch e.Type {
	case mfa.FactorEnrolled:
		text := "factor enrolled: " + kindWords(e.Kind)
		if reason == reasonDuplicateSeed {
			text += ", with the secret of another factor of the user"
		}
		return text
	case mfa.FactorLocked:
		return "factor locked after wrong codes"
	case mfa.FactorUnlocked:
		return because("factor unlocked", reason)
	case mfa.FactorDeleted:
		return because("factor deleted", cmp.Or(deletionWords[reason], reason))
	case mfa.FactorSuspended:
		return because("factor suspended", reason)
	case mfa.FactorResumed:
		return because("factor resumed", reason)
	case mfa.BypassCreated:
		return because("bypass code issued", reason)
	case mfa.BypassUsed:
		return because("bypass code used", reason)
	case mfa.BypassRevoked:
		if reason == reasonTooMany {
			return "bypass code ended after wrong codes"
		}
		return because("bypass code ended", reason)
	case mfa.FactorCloneSuspected:
		return "the counter of the passkey did not increase: there may be two copies of its key"
	case mfa.RecoveryUsed:
		return "recovery code used; left: " + reason
	case mfa.RecoveryLow:
		return "few recovery codes left: " + reason
	case mfa.RecoveryRegenerated:
		return "new recovery codes replaced all earlier ones"
	case mfa.UserLocked:
		return "user locked after wrong codes"
	case mfa.UserUnlocked:
		return because("user unlocked", reason)
	case mfa.ChallengeCreated:
		return "challenge created for " + kindWords(e.Kind)
	case mfa.ChallengeSucceeded:
		switch reason {
		case reasonBypass:
			return "right bypass code"
		case reasonRecovery:
			return "right recovery code"
		}
		if e.Kind == mfa.WebAuthn {
			return "right response of the passkey"
		}
		return "right code"
	case mfa.ChallengeFailed:
		text := cmp.Or(failureWords[reason], because("wrong code", reason))
		if reason == reasonWrongCode && e.ClockOffset != 0 {
			text += ": it was right " + away(e.ClockOffset)
		}
		return text
	case mfa.ChallengeRefused:
		return "code refused without a check: " + cmp.Or(refusalWords[reason], reason)
	case mfa.ChallengeVoided:
		return "challenge withdrawn: " + cmp.Or(unsentWords[reason], "its message could not be sent")
	case mfa.Viewed:
		what, why := viewed(reason)
		return because("an operator opened the view of the "+what, why)
	}
	if state := messageState(e.Type); messageWords[state] != "" {
		return messageText(state, provider, reason)
	}
	return because(strings.NewReplacer(".", " ", "_", " ").Replace(string(e.Type)), reason)
}

func because(what, reason string) string {
	if reason == "" {
		return what
	}
	return what + ": " + reason
}

// kindWords names a kind of factor.
func kindWords(k mfa.FactorType) string {
	switch k {
	case mfa.TOTP:
		return "an authenticator app"
	case mfa.SMS:
		return "text messages"
	case mfa.GenericOTP:
		return "codes that the application delivers"
	case mfa.WebAuthn:
		return "a passkey or security key"
	case mfa.RecoveryCodes:
		return "recovery codes"
	case "":
		return "a factor"
	}
	return string(k)
}

// Reasons of events that views explain further.
const (
	reasonWrongCode = "wrong_code"
	reasonSpentCode = "spent_code"
	reasonBypass    = "bypass"
	reasonRecovery  = "recovery"
	reasonTooMany   = "too_many_attempts"

	reasonDuplicateSeed = "duplicate_seed"
)

// away tells the distance of a time step in words: "4 min earlier".
func away(steps int) string {
	d := time.Duration(steps) * totp.Period
	if d < 0 {
		return span(-d) + " earlier"
	}
	return span(d) + " later"
}

// The words for the reasons of events; package mfa has the reasons.
var (
	failureWords = map[string]string{
		reasonWrongCode: "wrong code",
		reasonSpentCode: "a code that was used before: it may have been intercepted, or entered twice",

		string(passkey.Unreadable):        "the response of the passkey cannot be read: the page must send the JSON of the credential unchanged",
		string(passkey.UnknownCredential): "a response of another passkey than the one of the factor",
		string(passkey.OtherUser):         "a response of a passkey of another user",
		string(passkey.WrongCeremony):     "a response to the other ceremony: the page called create instead of get, or get instead of create",
		string(passkey.WrongChallenge):    "a response to another challenge: it may have been recorded and replayed",
		string(passkey.WrongOrigin):       "a response from a page of another origin: it may be a phishing page, or the origin is missing in webauthn_origins",
		string(passkey.CrossOrigin):       "a response from a page inside a frame of another site",
		string(passkey.WrongSite):         "a response for another relying party id",
		string(passkey.NotPresent):        "the user did not touch the authenticator",
		string(passkey.NotVerified):       "the authenticator did not verify its user with a PIN or a fingerprint, which is required",
		string(passkey.WrongBackupFlags):  "the passkey says something else about backups than when it was registered",
		string(passkey.WrongAlgorithm):    "the passkey has an algorithm that was not asked for",
		string(passkey.WrongAttestation):  "the model of the authenticator is not proven, or the FIDO metadata reports faults of it",
		string(passkey.ModelNotAllowed):   "the model of the authenticator is not one of webauthn_aaguids",
		string(passkey.WrongCredentialID): "the id of the new passkey is not that of its key",
		string(passkey.WrongSignature):    "the signature of the passkey is wrong",
		"already_registered":              "the factor has a passkey; a second one cannot be registered for it",
		"credential_already_registered":   "another factor of the user has the same passkey",
		"clone_suspected":                 "the counter of the passkey did not increase, so it was refused",
	}
	deletionWords = map[string]string{
		"not_verified_in_time": "it was not verified in time",
	}
	refusalWords = map[string]string{
		"expired":             "the challenge had expired",
		"previously_verified": "the challenge was already verified",
		"suspended":           "the factor is suspended",
		reasonTooMany:         "too many codes were tried, or the factor or user was locked",
	}
	unsentWords = map[string]string{
		"delivery_failed":   "no provider accepted its message",
		"recipient_refused": "the provider refuses the phone number",
	}
)

// messageState returns the state in the type of an event about a message, or "".
func messageState(t mfa.EventType) delivery.State {
	state, _ := strings.CutPrefix(string(t), "message.")
	return delivery.State(state)
}

var messageWords = map[delivery.State]string{
	delivery.Queued:      "message accepted",
	delivery.Sent:        "message handed to the carrier",
	delivery.Undelivered: "the carrier could not deliver the message",
	delivery.Failed:      "the message failed",
	delivery.Delivered:   "message delivered to the phone",
}

// messageText tells the state of a message in words. The reason of a queued message is its
// provider, and otherwise the provider's own code.
func messageText(state delivery.State, provider, reason string) string {
	text := messageWords[state]
	switch meaning := cmp.Or(unsentWords[reason], delivery.Meaning(provider, reason)); {
	case reason == "":
		return text
	case state == delivery.Queued:
		return text + " by the provider " + reason
	case unsentWords[reason] != "":
		return text + ": " + meaning
	case meaning != "":
		return fmt.Sprintf("%s: %s (%s)", text, reason, meaning)
	}
	return text + ": " + reason
}

// clock returns a time as explanations show it: with the date if it is not the day of now.
func (r *reader) clock(t time.Time) string {
	t = t.UTC()
	if t.Format(time.DateOnly) == r.now.Format(time.DateOnly) {
		return t.Format("15:04:05 UTC")
	}
	return t.Format("2006-01-02 15:04:05 UTC")
}

// in returns the time until t in words: "17 s", "4 min", "3 h".
func (r *reader) in(t time.Time) string { return span(t.Sub(r.now)) }

// span returns a duration in words, rounded up.
func span(d time.Duration) string {
	up := func(unit time.Duration) int64 { return int64((d + unit - 1) / unit) }
	switch {
	case d <= 0:
		return "0 s"
	case d <= 90*time.Second:
		return fmt.Sprintf("%d s", up(time.Second))
	case d <= 90*time.Minute:
		return fmt.Sprintf("%d min", up(time.Minute))
	case d <= 48*time.Hour:
		return fmt.Sprintf("%d h", up(time.Hour))
	}
	return fmt.Sprintf("%d days", up(24*time.Hour))
}
