package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/ratelimit"
	"github.com/countersign-mfa/countersign/internal/web"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// problems is the only place where an error becomes a status.
var problems = slices.Concat([]web.Kind{
	kind(access.ErrUnauthorized, http.StatusUnauthorized, "", "Unauthorized"),
	kind(access.ErrDenied, http.StatusForbidden, "insufficient_scope", ""),
	kind(errOperatorKey, http.StatusForbidden, "operator_key_not_allowed", "An operator key opens only the operator API, under /operator/v1. Use an API key, sk_…."),
	kind(mfa.ErrNotFound, http.StatusNotFound, "entity_not_found", ""),
	kind(access.ErrNoPages, http.StatusNotFound, "entity_not_found", "No environment has this host as its webauthn_rp_id with a page under https."),
	kind(mfa.ErrSandboxOnly, http.StatusForbidden, "sandbox_only", "This is only possible with an API key of a sandbox."),
	kind(mfa.ErrNotSimulated, http.StatusForbidden, "webauthn_not_simulated", "The passkey of this factor is not one of the software authenticator. Only its own authenticator can answer."),
	kind(mfa.ErrExpired, http.StatusUnprocessableEntity, "authentication_challenge_expired", ""),
	kind(mfa.ErrAlreadyVerified, http.StatusUnprocessableEntity, "authentication_challenge_previously_verified", ""),
	kind(mfa.ErrTooManyAttempts, http.StatusBadRequest, "one_time_code_too_many_attempts", "Request could not be processed."),
	kind(mfa.ErrSuspended, http.StatusForbidden, "authentication_factor_suspended", "The authentication factor is suspended. Offer another factor; an operator of the service can resume it."),
	kind(mfa.ErrSoleFactor, http.StatusConflict, "recovery_codes_sole_factor", "The user has no other verified factor, so recovery codes would be the only one. Enroll and verify another factor first, or send allow_sole."),
	kind(delivery.ErrCountry, http.StatusForbidden, "sms_country_not_allowed", "Messages to this country are not allowed. The operator chooses the allowed countries."),
	kind(delivery.ErrNumberType, http.StatusForbidden, "sms_number_type_not_allowed", "No messages go to this kind of phone number."),
	kind(delivery.ErrSandboxNumber, http.StatusForbidden, "sms_sandbox_number_not_allowed", "A sandbox sends messages only to test numbers, such as +15005550006."),
	kind(delivery.ErrDailyLimit, http.StatusTooManyRequests, "sms_challenge_quota_reached", "Too many messages in a day. Try again later."),
	kind(delivery.ErrPrefixPaused, http.StatusTooManyRequests, "sms_prefix_paused", "Messages to numbers like this one are paused: too few of their codes were entered."),
	kind(mfa.ErrResendLimit, http.StatusForbidden, "sms_resend_limit_exceeded", "The code was sent as often as it may be. Create another challenge."),
	kind(mfa.ErrNotSent, http.StatusUnprocessableEntity, "authentication_challenge_not_sent", "Only the code of an sms factor's challenge can be sent again."),
	kind(errTooManyStreams, http.StatusTooManyRequests, "too_many_streams", "This API key has too many open streams. Close one of them."),
	kind(delivery.ErrSendLimit, http.StatusTooManyRequests, "sms_challenge_rate_limited", "Too many messages to this phone number. Try again later."),
	kind(mfa.ErrRecoveryLimit, http.StatusTooManyRequests, "recovery_codes_rate_limited", "Recovery codes were created too often for this user. Try again later."),
	kind(mfa.ErrInvalid, http.StatusUnprocessableEntity, "invalid_request_parameters", "Validation failed"),
	kind(mfa.ErrNoReceipts, http.StatusUnprocessableEntity, "receipts_not_configured", "Receipts need an issuer. The operator sets receipt_issuer of the environment, or public_url of the server."),
	kind(mfa.ErrKeyReused, http.StatusUnprocessableEntity, "idempotency_error", "This Idempotency-Key was used before: with another request, for a factor that was deleted, or for a secret that is no longer shown."),
	kind(webhook.ErrURL, http.StatusUnprocessableEntity, "invalid_url", ""),
	kind(webhook.ErrDuplicate, http.StatusConflict, "duplicate_endpoint", "Another webhook endpoint of this environment has this URL."),
	kind(webhook.ErrTooMany, http.StatusUnprocessableEntity, "webhook_endpoint_limit_reached", "This environment has as many webhook endpoints as it may have. Delete one of them."),
	kind(webhook.ErrReplaying, http.StatusConflict, "replay_in_progress", "A replay of this webhook endpoint is in progress. Try again when it has ended."),
	kind(webhook.ErrDisabled, http.StatusConflict, "webhook_endpoint_disabled", "This webhook endpoint is disabled, so a replay would send nothing. Enable it first."),
	kind(delivery.ErrRecipientRefused, http.StatusUnprocessableEntity, "sms_recipient_refused", "No provider delivers messages to this phone number."),
	kind(delivery.ErrNotDelivered, http.StatusServiceUnavailable, "sms_delivery_failed", "The message could not be delivered."),
	// The client seems to have gone, but it may have closed only its sending direction.
	kind(context.Canceled, http.StatusServiceUnavailable, web.Unavailable, "The request was canceled before it was carried out."),
	kind(mfa.ErrUnavailable, http.StatusServiceUnavailable, web.Unavailable, "The service cannot take this request now. Try again."),
}, web.Kinds())

// fieldCodes makes the name of a field a part of a code.
var fieldCodes = strings.NewReplacer("-", "_", ".", "_")

var errOperatorKey = errors.New("an operator key does not open the API of applications")

func kind(err error, status int, code, message string) web.Kind {
	return web.Kind{Err: err, Status: status, Code: code, Message: message}
}

// describe returns the problem of an error.
func describe(err error) web.Problem {
	p := web.Describe(err, problems)
	if p.Internal {
		return p
	}
	p.Simulated = errors.Is(err, delivery.ErrSimulated)
	if e, ok := errors.AsType[*access.DeniedError](err); ok {
		p.RequiredScope = string(e.Scope())
		p.Message = fmt.Sprintf("This API key does not have the scope '%s'. Create a key that has it.", e.Scope())
	}
	if e, ok := errors.AsType[*mfa.NotFoundError](err); ok {
		p.Message, p.EntityID = fmt.Sprintf("%s not found: '%s'.", e.Entity, e.ID), e.ID
	}
	if e, ok := errors.AsType[*mfa.ChallengeError](err); ok {
		p.Message = fmt.Sprintf("The authentication challenge '%s' has expired.", e.ID)
		if errors.Is(e, mfa.ErrAlreadyVerified) {
			p.Message = fmt.Sprintf("The authentication challenge '%s' has already been verified.", e.ID)
		}
	}
	if e, ok := errors.AsType[*delivery.InvalidPhoneError](err); ok {
		p.Code, p.Message = "invalid_phone_number", fmt.Sprintf("Phone number is invalid: '%s'", e.Given.Reveal())
		if e.Extension {
			p.Message += ". It has an extension, which no message can reach."
		}
	}
	if e, ok := errors.AsType[*webhook.URLError](err); ok {
		p.Message = "The URL is not acceptable: " + e.Error() + "."
	}
	if e, ok := errors.AsType[*mfa.InvalidError](err); ok {
		for _, f := range e.Fields {
			// Some clients show their users only the codes, so a code also names the field.
			code := fieldCodes.Replace(strings.ToLower(f.Field)) + "_" + f.Code
			p.Errors = append(p.Errors, web.FieldError{Field: f.Field, Code: code, Message: f.Message})
		}
	}
	if e, ok := errors.AsType[*mfa.LimitError](err); ok {
		p.RetryAfter = 0
		if e.After > 0 {
			p.RetryAfter = ratelimit.Seconds(e.After)
		}
	}
	return p
}
