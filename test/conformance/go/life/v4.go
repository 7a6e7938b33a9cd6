package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/workos/workos-go/v4/pkg/mfa"
	"github.com/workos/workos-go/v4/pkg/usermanagement"
	webhook "github.com/workos/workos-go/v4/pkg/webhooks"
	"github.com/workos/workos-go/v4/pkg/workos_errors"
)

type v4 struct {
	mfa   *mfa.Client
	users *usermanagement.Client
}

func connectV4(url, key string, _ bool) library {
	users := usermanagement.NewClient(key)
	users.Endpoint = url
	return v4{mfa: &mfa.Client{APIKey: key, Endpoint: url}, users: users}
}

func (l v4) enroll(ctx context.Context, e enrollment) (factor, error) {
	if e.forUser != "" {
		return factor{}, skip("has no call for it")
	}
	f, err := l.mfa.EnrollFactor(ctx, mfa.EnrollFactorOpts{
		Type:        mfa.FactorType(e.kind),
		TOTPIssuer:  e.issuer,
		TOTPUser:    e.user,
		PhoneNumber: e.phone,
	})
	return v4Factor(f), err
}

func (l v4) enrollWithKey(context.Context, string, enrollment) (factor, error) {
	return factor{}, skip("cannot be given an idempotency key")
}

func (l v4) get(ctx context.Context, factorID string) (factor, error) {
	f, err := l.mfa.GetFactor(ctx, mfa.GetFactorOpts{FactorID: factorID})
	return v4Factor(f), err
}

func (l v4) remove(ctx context.Context, factorID string) error {
	return l.mfa.DeleteFactor(ctx, mfa.DeleteFactorOpts{FactorID: factorID})
}

func (l v4) challenge(ctx context.Context, factorID string) (challenge, error) {
	c, err := l.mfa.ChallengeFactor(ctx, mfa.ChallengeFactorOpts{FactorID: factorID})
	return v4Challenge(c), err
}

func (l v4) challengeWithTemplate(ctx context.Context, factorID, template string) (challenge, error) {
	c, err := l.mfa.ChallengeFactor(ctx, mfa.ChallengeFactorOpts{FactorID: factorID, SMSTemplate: template})
	return v4Challenge(c), err
}

func (l v4) verify(ctx context.Context, challengeID, code string) (verification, error) {
	v, err := l.mfa.VerifyChallenge(ctx, mfa.VerifyChallengeOpts{ChallengeID: challengeID, Code: code})
	return verification{v.Valid, v4Challenge(v.Challenge)}, err
}

func (l v4) verifyByOldName(ctx context.Context, challengeID, code string) (verification, error) {
	//lint:ignore SA1019 deprecated calls must work too
	result, err := l.mfa.VerifyFactor(ctx, mfa.VerifyChallengeOpts{ChallengeID: challengeID, Code: code})
	if err != nil {
		return verification{}, err
	}
	v, ok := result.(mfa.VerifyChallengeResponse)
	if !ok {
		return verification{}, fmt.Errorf("VerifyFactor returned a %T", result)
	}
	return verification{v.Valid, v4Challenge(v.Challenge)}, nil
}

func (l v4) enrollForUser(ctx context.Context, userID string, e enrollment) (userEnrollment, error) {
	r, err := l.users.EnrollAuthFactor(ctx, usermanagement.EnrollAuthFactorOpts{
		User:       userID,
		Type:       mfa.FactorType(e.kind),
		TOTPIssuer: e.issuer,
		TOTPUser:   e.user,
		TOTPSecret: e.secret,
	})
	return userEnrollment{v4Factor(r.Factor), v4Challenge(r.Challenge)}, err
}

func (l v4) list(ctx context.Context, userID string, opts listing) (page, error) {
	if opts != (listing{}) {
		return page{}, skip("shows only the first ten factors")
	}
	r, err := l.users.ListAuthFactors(ctx, usermanagement.ListAuthFactorsOpts{User: userID})
	if err != nil {
		return page{}, err
	}
	p := page{before: r.ListMetadata.Before, after: r.ListMetadata.After}
	for _, f := range r.Data {
		p.factors = append(p.factors, v4Factor(f))
	}
	return p, nil
}

func (l v4) listAll(context.Context, string, listing) ([]factor, error) {
	return nil, skip("shows only the first ten factors")
}

func (l v4) accept(secret, signature, body string) (event, error) {
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

func (l v4) read(err error) refusal {
	if e, ok := errors.AsType[mfa.VerificationResponseError](err); ok {
		return refusal{class: fmt.Sprintf("%T", err), code: e.Code, message: e.Message}
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
		body:      e.RawBody,
	}
	for _, f := range e.FieldErrors {
		r.fields += f.Field + ": " + f.Code
	}
	return r
}

func (l v4) shown(full refusal, byVerify bool) refusal {
	if byVerify {
		return refusal{class: "mfa.VerificationResponseError", code: full.code, message: full.message}
	}
	full.class = "workos_errors.HTTPError"
	full.retryAfter = 0
	return full
}

func v4Factor(f mfa.Factor) factor {
	return factor{
		object:    f.Object,
		id:        f.ID,
		kind:      string(f.Type),
		totp:      totp{secret: f.TOTP.Secret, uri: f.TOTP.URI, qrCode: f.TOTP.QRCode},
		phone:     f.SMS.PhoneNumber,
		createdAt: f.CreatedAt,
		updatedAt: f.UpdatedAt,
	}
}

func v4Challenge(c mfa.Challenge) challenge {
	return challenge{
		object:    c.Object,
		id:        c.ID,
		factorID:  c.FactorID,
		createdAt: c.CreatedAt,
		updatedAt: c.UpdatedAt,
		expiresAt: c.ExpiresAt,
	}
}
