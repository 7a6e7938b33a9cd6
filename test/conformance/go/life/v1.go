package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/workos/workos-go/pkg/mfa"
	webhook "github.com/workos/workos-go/pkg/webhooks"
	"github.com/workos/workos-go/pkg/workos_errors"
)

type v1 struct{ mfa *mfa.Client }

func connectV1(url, key string, _ bool) library {
	return v1{&mfa.Client{APIKey: key, Endpoint: url}}
}

// setDefaultV1 configures the server and key of the package-level calls.
func setDefaultV1(url, key string) {
	mfa.DefaultClient.Endpoint = url
	mfa.SetAPIKey(key)
}

func (l v1) enroll(ctx context.Context, e enrollment) (factor, error) {
	if e.forUser != "" {
		return factor{}, skip("has no call for it")
	}
	f, err := l.mfa.EnrollFactor(ctx, mfa.GetEnrollOpts{
		Type:        e.kind,
		TotpIssuer:  e.issuer,
		TotpUser:    e.user,
		PhoneNumber: e.phone,
	})
	return v1Factor(f), err
}

func (l v1) enrollWithKey(context.Context, string, enrollment) (factor, error) {
	return factor{}, skip("cannot be given an idempotency key")
}

func (l v1) get(ctx context.Context, factorID string) (factor, error) {
	f, err := l.mfa.GetFactor(ctx, mfa.GetFactorOpts{AuthenticationFactorID: factorID})
	return v1Factor(f), err
}

func (l v1) remove(ctx context.Context, factorID string) error {
	return l.mfa.DeleteFactor(ctx, mfa.DeleteFactorOpts{AuthenticationFactorID: factorID})
}

func (l v1) challenge(ctx context.Context, factorID string) (challenge, error) {
	c, err := l.mfa.ChallengeFactor(ctx, mfa.ChallengeOpts{AuthenticationFactorID: factorID})
	return v1Challenge(c), err
}

func (l v1) challengeWithTemplate(ctx context.Context, factorID, template string) (challenge, error) {
	c, err := l.mfa.ChallengeFactor(ctx, mfa.ChallengeOpts{AuthenticationFactorID: factorID, SMSTemplate: template})
	return v1Challenge(c), err
}

func (l v1) verify(ctx context.Context, challengeID, code string) (verification, error) {
	result, err := l.mfa.VerifyChallenge(ctx, mfa.VerifyOpts{AuthenticationChallengeID: challengeID, Code: code})
	return v1Verification(result, err)
}

func (l v1) verifyByOldName(ctx context.Context, challengeID, code string) (verification, error) {
	//lint:ignore SA1019 deprecated calls must work too
	result, err := l.mfa.VerifyFactor(ctx, mfa.VerifyOpts{AuthenticationChallengeID: challengeID, Code: code})
	return v1Verification(result, err)
}

func (l v1) enrollForUser(context.Context, string, enrollment) (userEnrollment, error) {
	return userEnrollment{}, skip("has no call for it")
}

func (l v1) list(context.Context, string, listing) (page, error) {
	return page{}, skip("has no lists of a user's factors")
}

func (l v1) listAll(context.Context, string, listing) ([]factor, error) {
	return nil, skip("has no lists of a user's factors")
}

func (l v1) accept(secret, signature, body string) (event, error) {
	body, err := webhook.NewClient(secret).ValidatePayload(signature, body)
	if err != nil {
		return event{}, err
	}
	// The library has no type for the event; its users write their own.
	var e struct {
		ID        string
		Event     string
		CreatedAt string `json:"created_at"`
		Data      struct {
			UserAgent string `json:"user_agent"`
		}
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		return event{}, err
	}
	return event{e.ID, e.Event, e.CreatedAt, e.Data.UserAgent}, nil
}

func (l v1) read(err error) refusal {
	if e, ok := errors.AsType[v1Refused](err); ok {
		return refusal{class: fmt.Sprintf("%T", e.VerifyResponseError), code: e.Code, message: e.Message}
	}
	e, ok := errors.AsType[workos_errors.HTTPError](err)
	if !ok {
		return refusal{class: fmt.Sprintf("%T", err), message: err.Error()}
	}
	r := refusal{
		class:     fmt.Sprintf("%T", err),
		status:    e.Code,
		code:      e.ErrorCode,
		message:   e.Message,
		requestID: e.RequestID,
	}
	for _, f := range e.FieldErrors {
		r.fields += f.Field + ": " + f.Code
	}
	return r
}

func (l v1) shown(full refusal, byVerify bool) refusal {
	if byVerify {
		return refusal{class: "mfa.VerifyResponseError", code: full.code, message: full.message}
	}
	full.class = "workos_errors.HTTPError"
	if full.status != 422 {
		full.code = "" // the library reads the code only from an answer of 422
	}
	full.retryAfter, full.body = 0, ""
	return full
}

// v1Refused is a refusal of verify. This version returns it as the result, not as an
// error.
type v1Refused struct{ mfa.VerifyResponseError }

func (r v1Refused) Error() string { return r.Message }

// v1Verification distinguishes the results that verify may return.
func v1Verification(result any, err error) (verification, error) {
	if err != nil {
		return verification{}, err
	}
	switch r := result.(type) {
	case mfa.VerifyResponse:
		text := func(key string) string { return v1Text(r.Challenge, key) }
		return verification{r.Valid, challenge{
			object:    text("object"),
			id:        text("id"),
			factorID:  text("authentication_factor_id"),
			createdAt: text("created_at"),
			updatedAt: text("updated_at"),
			expiresAt: text("expires_at"),
		}}, nil
	case mfa.VerifyResponseError:
		return verification{}, v1Refused{r}
	default:
		return verification{}, fmt.Errorf("verify returned a %T", result)
	}
}

func v1Factor(f mfa.EnrollResponse) factor {
	return factor{
		object: f.Object,
		id:     f.ID,
		kind:   f.Type,
		totp: totp{
			issuer: v1Text(f.Totp, "issuer"),
			user:   v1Text(f.Totp, "user"),
			secret: v1Text(f.Totp, "secret"),
			uri:    v1Text(f.Totp, "uri"),
			qrCode: v1Text(f.Totp, "qr_code"),
		},
		phone:     v1Text(f.Sms, "phone_number"),
		createdAt: f.CreatedAt,
		updatedAt: f.UpdatedAt,
	}
}

func v1Challenge(c mfa.ChallengeResponse) challenge {
	return challenge{
		object:    c.Object,
		id:        c.ID,
		factorID:  c.AuthenticationFactorID,
		createdAt: c.CreatedAt,
		updatedAt: c.UpdatedAt,
		expiresAt: c.ExpiresAt,
	}
}

// v1Text returns a string of an object that has no type in this version.
func v1Text(object map[string]any, key string) string {
	text, _ := object[key].(string)
	return text
}
