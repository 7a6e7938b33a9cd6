package operatorapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/ratelimit"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/web"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

var (
	// errAPIKey means that the key of an application is used.
	errAPIKey = errors.New("an API key does not open the operator API")
	// errOneEnvironment means that a key of one environment asks for something of all.
	errOneEnvironment = errors.New("a key of one environment does not do this")
)

// problems is the only place where an error becomes a status.
var problems = slices.Concat([]web.Kind{
	{Err: access.ErrUnauthorized, Status: http.StatusUnauthorized, Message: "Unauthorized"},
	{Err: access.ErrDenied, Status: http.StatusForbidden, Code: "insufficient_scope"},
	{Err: errAPIKey, Status: http.StatusForbidden, Code: "api_key_not_allowed", Message: "An API key does not open the operator API. Use an operator key, ok_…; 'countersign key create --operator' makes one."},
	{Err: errOneEnvironment, Status: http.StatusForbidden, Code: "environment_key_not_allowed", Message: "This operator key belongs to one environment. Use a key of all environments."},
	{Err: mfa.ErrNotFound, Status: http.StatusNotFound, Code: "entity_not_found"},
	{Err: mfa.ErrInvalid, Status: http.StatusUnprocessableEntity, Code: "invalid_request_parameters", Message: "Validation failed"},
	{Err: access.ErrExists, Status: http.StatusConflict, Code: "environment_exists", Message: "Another environment has this name."},
	{Err: operator.ErrDevelopment, Status: http.StatusConflict, Code: "development_server", Message: "A store of 'countersign dev' shows all messages without a key, so it has no production environments."},
	{Err: mfa.ErrNotLocked, Status: http.StatusConflict, Code: "not_locked", Message: "There are no wrong codes to forget: nothing is locked."},
	{Err: mfa.ErrSuspended, Status: http.StatusConflict, Code: "factor_suspended", Message: "The factor is suspended already."},
	{Err: mfa.ErrNotSuspended, Status: http.StatusConflict, Code: "factor_not_suspended", Message: "The factor is not suspended."},
	{Err: operator.ErrNoBypass, Status: http.StatusConflict, Code: "no_bypass_code", Message: "There is no bypass code that can be used."},
	{Err: operator.ErrAllSuspended, Status: http.StatusConflict, Code: "factors_suspended", Message: "All factors of the user are suspended. Resume one of them first: a bypass code is entered in place of the code of a factor."},
	{Err: errNotPaused, Status: http.StatusConflict, Code: "prefix_not_paused", Message: "The prefix is not paused."},
	{Err: delivery.ErrSandboxNumber, Status: http.StatusConflict, Code: "sandbox_environment", Message: "A sandbox sends no messages to providers. Name a production environment."},
	{Err: delivery.ErrCountry, Status: http.StatusForbidden, Code: "sms_country_not_allowed", Message: "Messages to this country are not allowed. The file of providers and sms_countries list the allowed countries."},
	{Err: delivery.ErrNumberType, Status: http.StatusForbidden, Code: "sms_number_type_not_allowed", Message: "No messages go to this kind of phone number."},
	{Err: delivery.ErrSendLimit, Status: http.StatusTooManyRequests, Code: "sms_challenge_rate_limited", Message: "Too many messages to this phone number. Try again later."},
	{Err: delivery.ErrDailyLimit, Status: http.StatusTooManyRequests, Code: "sms_challenge_quota_reached", Message: "Too many messages in a day. Try again later."},
	{Err: delivery.ErrPrefixPaused, Status: http.StatusTooManyRequests, Code: "sms_prefix_paused", Message: "Messages to numbers like this one are paused: too few of their codes were entered."},
	{Err: signin.ErrExpiringKey, Status: http.StatusForbidden, Code: "expiring_key_not_allowed", Message: "This operator key expires, and the access of an operator would last longer. Use a key that does not expire."},
	{Err: signin.ErrExternal, Status: http.StatusConflict, Code: "operator_external", Message: "The operator signs in at the identity provider, whose groups decide the role."},
	{Err: signin.ErrDisabled, Status: http.StatusConflict, Code: "operator_disabled", Message: "The operator is disabled. Enable the operator first."},
	{Err: idempotency.ErrKeyReused, Status: http.StatusUnprocessableEntity, Code: "idempotency_error", Message: "This Idempotency-Key was used before: with another request, or for an answer that is no longer given again."},
	{Err: operator.ErrInterrupted, Status: http.StatusConflict, Code: "idempotency_unknown", Message: "A request with this Idempotency-Key is in progress or was interrupted. Read the state, and use a new key for another try."},
	{Err: webhook.ErrURL, Status: http.StatusUnprocessableEntity, Code: "invalid_url"},
	{Err: webhook.ErrDuplicate, Status: http.StatusConflict, Code: "duplicate_endpoint", Message: "Another webhook endpoint of this environment has this URL."},
	{Err: webhook.ErrTooMany, Status: http.StatusUnprocessableEntity, Code: "webhook_endpoint_limit_reached", Message: "This environment has as many webhook endpoints as it may have. Delete one of them."},
	{Err: webhook.ErrReplaying, Status: http.StatusConflict, Code: "replay_in_progress", Message: "A replay of this webhook endpoint is in progress. Try again when it has ended."},
	{Err: webhook.ErrDisabled, Status: http.StatusConflict, Code: "webhook_endpoint_disabled", Message: "This webhook endpoint is disabled, so a replay would send nothing. Enable it first."},
	{Err: context.Canceled, Status: http.StatusServiceUnavailable, Code: web.Unavailable, Message: "The request was canceled before it was carried out."},
	{Err: mfa.ErrUnavailable, Status: http.StatusServiceUnavailable, Code: web.Unavailable, Message: "The service cannot take this request now. Try again."},
}, web.Kinds())

// describe returns the problem of an error.
func describe(err error) web.Problem {
	p := web.Describe(err, problems)
	if p.Internal {
		return p
	}
	if e, ok := errors.AsType[*access.DeniedError](err); ok {
		p.RequiredScope = string(leastScope(e.Permission))
		p.Message = fmt.Sprintf("This operator key does not have the scope '%s'. Create a key that has it.", p.RequiredScope)
	}
	if e, ok := errors.AsType[*mfa.NotFoundError](err); ok {
		p.Message, p.EntityID = fmt.Sprintf("%s not found: '%s'.", e.Entity, e.ID), e.ID
	}
	if e, ok := errors.AsType[*delivery.LimitError](err); ok && e.After > 0 {
		p.RetryAfter = ratelimit.Seconds(e.After)
	}
	if e, ok := errors.AsType[*webhook.URLError](err); ok {
		p.Message = "The URL is not acceptable: " + e.Error() + "."
	}
	if e, ok := errors.AsType[*mfa.InvalidError](err); ok {
		for _, f := range e.Fields {
			code := strings.ReplaceAll(strings.ToLower(f.Field), "-", "_") + "_" + f.Code
			p.Errors = append(p.Errors, web.FieldError{Field: f.Field, Code: code, Message: f.Message})
		}
	}
	return p
}

// leastScope returns the least scope of operator keys that has a permission.
func leastScope(p access.Permission) access.Scope {
	if access.ScopesOf(access.ScopeOperatorRead).Allows(p) {
		return access.ScopeOperatorRead
	}
	return access.ScopeOperatorWrite
}

// orNotFound turns access.ErrNotFound into an error that names the missing entity.
func orNotFound(err error, entity mfa.Entity, id string) error {
	if errors.Is(err, access.ErrNotFound) {
		return &mfa.NotFoundError{Entity: entity, ID: id}
	}
	return err
}
