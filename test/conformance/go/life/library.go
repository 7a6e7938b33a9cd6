package main

import "context"

// A library is one version of the library, connected to a server. An adapter calls it
// as its users do, and copies the results into the types below, so the steps can be the
// same for all versions. For a call that a version does not have, its adapter returns a
// skip.
type library interface {
	enroll(ctx context.Context, e enrollment) (factor, error)
	enrollWithKey(ctx context.Context, idempotencyKey string, e enrollment) (factor, error)
	get(ctx context.Context, factorID string) (factor, error)
	remove(ctx context.Context, factorID string) error

	challenge(ctx context.Context, factorID string) (challenge, error)
	challengeWithTemplate(ctx context.Context, factorID, template string) (challenge, error)
	verify(ctx context.Context, challengeID, code string) (verification, error)
	verifyByOldName(ctx context.Context, challengeID, code string) (verification, error)

	enrollForUser(ctx context.Context, userID string, e enrollment) (userEnrollment, error)
	list(ctx context.Context, userID string, opts listing) (page, error)
	listAll(ctx context.Context, userID string, opts listing) ([]factor, error)

	// accept checks the signature of a webhook and returns its parsed body.
	accept(secret, signature, body string) (event, error)

	// read returns the contents of an error, and shown the contents that an error for
	// the refusal full should have. Some versions have separate errors for verify.
	read(err error) refusal
	shown(full refusal, byVerify bool) refusal
}

type enrollment struct {
	kind         string // totp, sms or generic_otp
	issuer, user string
	phone        string
	secret       string // a secret that the caller brings
	forUser      string // the user of the factor
}

// A factor holds an empty string for each field that the version's type does not show.
type factor struct {
	object, id, kind     string
	userID               string
	totp                 totp
	phone                string
	createdAt, updatedAt string
}

type totp struct{ issuer, user, secret, uri, qrCode string }

type challenge struct {
	object, id, factorID            string
	code                            string
	createdAt, updatedAt, expiresAt string
}

type verification struct {
	valid     bool
	challenge challenge
}

type userEnrollment struct {
	factor    factor
	challenge challenge
}

// A listing describes a page to request. The zero value uses the library's defaults.
type listing struct {
	limit                int
	order, after, before string
}

type page struct {
	factors       []factor
	before, after string // cursors, or ""
}

type event struct {
	id, name, createdAt string
	userAgent           string // a field of its data
}
