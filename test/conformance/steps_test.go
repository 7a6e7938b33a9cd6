package conformance_test

// An operation is a column of the printed table.
type operation string

const (
	enrolling   operation = "enroll"
	forUsers    operation = "user"
	getting     operation = "get"
	listing     operation = "list"
	challenging operation = "challenge"
	verifying   operation = "verify"
	expiring    operation = "expiry"
	limiting    operation = "limits"
	deleting    operation = "delete"
	refusing    operation = "errors"
	retrying    operation = "retry"
	webhooks    operation = "webhook"
)

var operations = []operation{
	enrolling, forUsers, getting, listing, challenging, verifying,
	expiring, limiting, deleting, refusing, retrying, webhooks,
}

// A step is an action of a client with its expected result. All runners share its name.
// "Brief" is the second server of a fixture.
type step struct {
	operation operation
	name      string
	promise   string
}

// missesNothing reports whether a library that lacks the step still offers everything
// that its users need.
func (s step) missesNothing() bool {
	return s.name == "verify by the deprecated method" || s.name == "unknown path"
}

// Every runner reports each of these steps once: done, or skipped with the reason why
// it does not apply to this library.
var steps = []step{
	{enrolling, "enroll totp", "all fields as documented; 32 base32 characters; the URI; the QR code says the URI"},
	{enrolling, "enroll totp without names", "issuer and user are not empty"},
	{enrolling, "enroll sms", "with +, without it, with spaces and brackets, with dots: the reply has it as E.164"},
	{enrolling, "enroll generic_otp", "the factor has neither totp nor sms"},

	{getting, "get a factor", "of each type, as it was enrolled, without secret, QR code and URI"},

	{challenging, "challenge totp", "no code; expires after ten minutes"},
	{challenging, "challenge sms", "no code; the inbox has one message with the default text"},
	{challenging, "challenge sms with a template", "the message has the text of the template, with the code in it"},
	{challenging, "challenge sms with an empty template", "means the default text"},
	{challenging, "challenge generic_otp", "the challenge has a code of six digits"},

	{verifying, "verify totp", "wrong, empty, short and foreign codes: valid is false, and the reply repeats the challenge; the right code: true; again: previously verified"},
	{verifying, "verify sms", "the same"},
	{verifying, "verify generic_otp", "the same"},
	{verifying, "verify a code with spaces", "spaces in and around a code do not matter"},
	{verifying, "verify by the deprecated method", "if the library has a second method: a wrong code, the right code, and both again"},
	{verifying, "a totp code is spent once", "on another challenge of the factor it is wrong; the next code is right"},
	{verifying, "of eight racing right codes one wins", "one true, seven previously verified"},

	{expiring, "expiry of totp", "at brief: the right code, too late: expired"},
	{expiring, "expiry of generic_otp", "the same"},

	{limiting, "too many attempts on a challenge", "five wrong codes, then too many attempts even for the right one; a new challenge works"},
	{limiting, "too many failures of a factor", "after five failures, and a sixth on a second challenge, the right code is refused: too many attempts, with retry_after if the library shows the body"},
	{limiting, "too many messages to a number", "a second message at once: 429 as the library shows it, with Retry-After if it shows that"},
	{limiting, "too many messages, then waiting", "at brief, through the network: a library that retries waits and tries with the same key, and the message is sent"},

	{deleting, "delete a factor", "of each type; then get, delete and challenge: not found"},
	{deleting, "delete a factor that is challenged", "then verify: the challenge is not found"},

	{refusing, "unknown factor", "get, delete, challenge; the ids are well formed, of the wrong kind, or nonsense: not found, and the error names the id"},
	{refusing, "unknown challenge", "verify: not found, and the error names the id"},
	{refusing, "unknown path", "404 as the library shows it, if it can request such a path"},
	{refusing, "an error names its request", "the request id of the error equals the header x-request-id, if the library shows it"},
	{refusing, "bad phone number", "invalid_phone_number, and the error names the number"},
	{refusing, "bad input", "no type, unknown type, no phone number, a line break in a name, a template without {{code}}: invalid_request_parameters, as the library shows the list"},
	{refusing, "bad API key", "every call: 401 as the library shows it"},
	{refusing, "another environment", "a factor of the first server is not found at brief"},

	{forUsers, "enroll for a user", "the reply has factor and challenge; the factor has user_id and a QR code; its code verifies the challenge"},
	{forUsers, "enroll for a user without names", "issuer and user are not empty"},
	{forUsers, "enroll for a user with a secret", "in lower case, with spaces, with padding: accepted; too short or not base32: refused"},

	{listing, "list no factors", "an empty list, with no pages"},
	{listing, "list the factors of a user", "the newest ten of 35, without secrets"},
	{listing, "list pages, desc", "four pages forward by after, back by before, and between two cursors, if the library has these parameters"},
	{listing, "list pages, asc", "the same"},
	{listing, "list with a bad cursor", "also a bad limit and order: refused, if the library sends them"},
	{listing, "list all pages", "the library's own iteration, in both orders"},
	{listing, "list 301 factors", "in pages of 100, each factor once"},
	{listing, "a deleted factor leaves the list", "its id still works as a cursor"},
	{listing, "list a factor that is not totp", "an sms factor of a user is in the list"},

	{retrying, "lost reply: enroll", "tried again with the same key: the same factor and secret"},
	{retrying, "lost reply: enroll for a user", "exactly one factor and one challenge"},
	{retrying, "lost request: enroll for a user", "exactly one factor"},
	{retrying, "lost reply: challenge sms", "exactly one message"},
	{retrying, "lost reply: challenge generic_otp", "the same challenge and code"},
	{retrying, "lost reply: right code", "true both times; a new call: previously verified"},
	{retrying, "lost reply: wrong code", "counted once"},
	{retrying, "lost reply: delete", "deleted, for every result of the second try in the library"},
	{retrying, "own idempotency key", "the same answer twice; another body: idempotency_error; if a caller can give a key"},
	{retrying, "own idempotency key, eight at once", "one factor, eight equal answers"},

	{webhooks, "webhook signature", "a delivery is accepted and parsed; an altered, a stale and a forged one are refused"},
}
