package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/workos/workos-go/v9"
)

type v9 struct {
	mfa *workos.MultiFactorAuthService
}

func connectV9(url, key string, impatient bool) library {
	opts := []workos.ClientOption{workos.WithBaseURL(url)}
	if impatient {
		opts = append(opts, workos.WithMaxRetries(0))
	}
	return v9{workos.NewClient(key, opts...).MultiFactorAuth()}
}

func (l v9) enroll(ctx context.Context, e enrollment) (factor, error) {
	f, err := l.mfa.EnrollFactor(ctx, v9Enroll(e))
	return v9Enrolled(f), err
}

func (l v9) enrollWithKey(ctx context.Context, idempotencyKey string, e enrollment) (factor, error) {
	f, err := l.mfa.EnrollFactor(ctx, v9Enroll(e), workos.WithIdempotencyKey(idempotencyKey))
	return v9Enrolled(f), err
}

func (l v9) get(ctx context.Context, factorID string) (factor, error) {
	f, err := l.mfa.GetFactor(ctx, factorID)
	if err != nil {
		return factor{}, err
	}
	return v9Factor(*f), nil
}

func (l v9) remove(ctx context.Context, factorID string) error {
	return l.mfa.DeleteFactor(ctx, factorID)
}

// challenge passes no parameters, for which the library sends the body "null".
func (l v9) challenge(ctx context.Context, factorID string) (challenge, error) {
	c, err := l.mfa.ChallengeFactor(ctx, factorID, nil)
	return v9Challenge(c), err
}

func (l v9) challengeWithTemplate(ctx context.Context, factorID, template string) (challenge, error) {
	c, err := l.mfa.ChallengeFactor(ctx, factorID, &workos.MultiFactorAuthChallengeFactorParams{SmsTemplate: &template})
	return v9Challenge(c), err
}

func (l v9) verify(ctx context.Context, challengeID, code string) (verification, error) {
	v, err := l.mfa.VerifyChallenge(ctx, challengeID, &workos.MultiFactorAuthVerifyChallengeParams{Code: code})
	if err != nil {
		return verification{}, err
	}
	return verification{v.Valid, v9Challenge(v.Challenge)}, nil
}

func (l v9) verifyByOldName(context.Context, string, string) (verification, error) {
	return verification{}, skip("has no call for it")
}

func (l v9) enrollForUser(ctx context.Context, userID string, e enrollment) (userEnrollment, error) {
	r, err := l.mfa.CreateUserAuthFactor(ctx, userID, &workos.MultiFactorAuthCreateUserAuthFactorParams{
		Type:       e.kind,
		TOTPIssuer: v9Optional(e.issuer),
		TOTPUser:   v9Optional(e.user),
		TOTPSecret: v9Optional(e.secret),
	})
	if err != nil {
		return userEnrollment{}, err
	}
	return userEnrollment{v9Enrolled(r.AuthenticationFactor), v9Challenge(r.AuthenticationChallenge)}, nil
}

// list reads as many factors from the iterator as one page holds, so its cursor is the
// cursor of that page.
func (l v9) list(ctx context.Context, userID string, opts listing) (page, error) {
	var p page
	size := opts.limit
	if size == 0 {
		size = 10
	}
	it := l.mfa.ListUserAuthFactors(ctx, userID, v9Listing(opts))
	for len(p.factors) < size && it.Next() {
		p.factors = append(p.factors, v9Factor(*it.Current()))
	}
	if cursor := it.Cursor(); cursor != nil {
		p.after = *cursor
	}
	return p, it.Err()
}

func (l v9) listAll(ctx context.Context, userID string, opts listing) ([]factor, error) {
	var all []factor
	it := l.mfa.ListUserAuthFactors(ctx, userID, v9Listing(opts))
	for it.Next() {
		all = append(all, v9Factor(*it.Current()))
	}
	return all, it.Err()
}

func (l v9) accept(secret, signature, body string) (event, error) {
	e, err := workos.NewWebhookVerifier(secret).ConstructEvent(signature, body)
	if err != nil {
		return event{}, err
	}
	userAgent, _ := e.Data["user_agent"].(string)
	return event{e.ID, e.Event, e.CreatedAt, userAgent}, nil
}

func (l v9) read(err error) refusal {
	e, ok := errors.AsType[*workos.APIError](err)
	if !ok {
		return refusal{class: fmt.Sprintf("%T", err), message: err.Error()}
	}
	r := refusal{
		class:      fmt.Sprintf("%T", err),
		status:     e.StatusCode,
		code:       e.Code,
		message:    e.Message,
		requestID:  e.RequestID,
		retryAfter: e.RetryAfter,
		body:       e.RawBody,
	}
	for _, f := range e.FieldErrors {
		r.fields += f.Field + ": " + f.Code
	}
	return r
}

var v9Classes = map[int]string{
	400: "*workos.APIError",
	401: "*workos.AuthenticationError",
	404: "*workos.NotFoundError",
	422: "*workos.UnprocessableEntityError",
	429: "*workos.RateLimitExceededError",
}

func (l v9) shown(full refusal, byVerify bool) refusal {
	full.class = v9Classes[full.status]
	full.fields = "" // the library has a field for them, but leaves it empty
	return full
}

func v9Enroll(e enrollment) *workos.MultiFactorAuthEnrollFactorParams {
	return &workos.MultiFactorAuthEnrollFactorParams{
		Type:        workos.AuthenticationFactorsCreateRequestType(e.kind),
		TOTPIssuer:  v9Optional(e.issuer),
		TOTPUser:    v9Optional(e.user),
		PhoneNumber: v9Optional(e.phone),
		UserID:      v9Optional(e.forUser),
	}
}

func v9Listing(opts listing) *workos.MultiFactorAuthListUserAuthFactorsParams {
	params := workos.PaginationParams{
		Order:  v9Optional(opts.order),
		After:  v9Optional(opts.after),
		Before: v9Optional(opts.before),
	}
	if opts.limit > 0 {
		params.Limit = workos.Ptr(opts.limit)
	}
	return &workos.MultiFactorAuthListUserAuthFactorsParams{PaginationParams: params}
}

func v9Optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func v9Enrolled(f *workos.AuthenticationFactorEnrolled) factor {
	if f == nil {
		return factor{}
	}
	enrolled := factor{
		object:    f.Object,
		id:        f.ID,
		kind:      string(f.Type),
		createdAt: f.CreatedAt,
		updatedAt: f.UpdatedAt,
	}
	if f.UserID != nil {
		enrolled.userID = *f.UserID
	}
	if t := f.TOTP; t != nil {
		enrolled.totp = totp{t.Issuer, t.User, t.Secret, t.URI, t.QrCode}
	}
	if f.Sms != nil {
		enrolled.phone = f.Sms.PhoneNumber
	}
	return enrolled
}

func v9Factor(f workos.AuthenticationFactor) factor {
	shown := factor{
		object:    f.Object,
		id:        f.ID,
		kind:      string(f.Type),
		createdAt: f.CreatedAt,
		updatedAt: f.UpdatedAt,
	}
	if f.UserID != nil {
		shown.userID = *f.UserID
	}
	if f.TOTP != nil {
		shown.totp = totp{issuer: f.TOTP.Issuer, user: f.TOTP.User}
	}
	if f.Sms != nil {
		shown.phone = f.Sms.PhoneNumber
	}
	return shown
}

func v9Challenge(c *workos.AuthenticationChallenge) challenge {
	if c == nil {
		return challenge{}
	}
	shown := challenge{
		object:    c.Object,
		id:        c.ID,
		factorID:  c.AuthenticationFactorID,
		createdAt: c.CreatedAt,
		updatedAt: c.UpdatedAt,
	}
	if c.Code != nil {
		shown.code = *c.Code
	}
	if c.ExpiresAt != nil {
		shown.expiresAt = *c.ExpiresAt
	}
	return shown
}
