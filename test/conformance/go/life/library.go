package main

import "context"

// A library is one version of the library, connected to a server. An adapter calls
// it as its users do, and puts what it returns into the types below, so that the
// steps can be the same for all. What a version cannot do, its adapter refuses with
// a skip.
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

	// accept returns the body of a webhook whose signature is right, parsed.
	accept(secret, signature, body string) (event, error)

	// read returns what an error says, and shown what it should say when the server
	// refused something so. Verify has errors of its own in some versions.
	read(err error) refusal
	shown(full refusal, byVerify bool) refusal
}

type enrollment struct {
	kind         string // totp, sms or generic_otp
	issuer, user string
	phone        string
	secret       string // the caller's own
	forUser      string // whose factor it is
}

// A factor has empty strings where the version's own type shows nothing.
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

// A listing asks for a page. The zero value leaves everything to the library.
type listing struct {
	limit                int
	order, after, before string
}

type page struct {
	factors       []factor
	before, after string // cursors; "" for none
}

type event struct {
	id, name, createdAt string
	userAgent           string // of its data
}
