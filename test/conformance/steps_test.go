package conformance_test

// An operation is a column of the table that a run prints.
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

// A step is something that a client does, by a name that all runners share, with
// what must come of it. "Brief" is the second server of a world.
type step struct {
	operation operation
	name      string
	promise   string
}

// missesNothing tells whether a library without the step lacks nothing that its
// users could want.
func (s step) missesNothing() bool {
	return s.name == "verify by the deprecated method" || s.name == "unknown path"
}

// Every runner reports every one of these, once: done, or skipped with the reason
// why it does not apply to this library.
var steps = []step{
	{enrolling, "enroll totp", "all fields as documented; 32 base32 characters; the URI; the QR code says the URI"},
	{enrolling, "enroll totp without names", "issuer and user are not empty"},
	{enrolling, "enroll sms", "with +, without it, with spaces and brackets, with dots: comes back as E.164"},
	{enrolling, "enroll generic_otp", "neither totp nor sms in the factor"},

	{getting, "get a factor", "of each type, as it was enrolled, without secret, QR code and URI"},

	{challenging, "challenge totp", "no code; expires after ten minutes"},
	{challenging, "challenge sms", "no code; the inbox has one message with the default text"},
	{challenging, "challenge sms with a template", "the text of the message is the template's, with the code in it"},
	{challenging, "challenge sms with an empty template", "means the default text"},
	{challenging, "challenge generic_otp", "six digits of code in the challenge"},

	{verifying, "verify totp", "wrong, empty, short and foreign codes: valid is false, and the challenge is repeated; right: true; again: previously verified"},
	{verifying, "verify sms", "the same"},
	{verifying, "verify generic_otp", "the same"},
	{verifying, "verify a code with spaces", "spaces in and around a code do not matter"},
	{verifying, "verify by the deprecated method", "where the library has a second method for it: wrong, right, again"},
	{verifying, "a totp code is spent once", "on another challenge of the factor it is wrong; the next code is right"},
	{verifying, "of eight racing right codes one wins", "one true, seven previously verified"},

	{expiring, "expiry of totp", "at brief: the right code, too late: expired"},
	{expiring, "expiry of generic_otp", "the same"},

	{limiting, "too many attempts on a challenge", "five wrong codes, then too many attempts even for the right one; a new challenge works"},
	{limiting, "too many failures of a factor", "after five failures and a sixth on a second challenge its right code is refused: too many attempts, with retry_after where the library shows the body"},
	{limiting, "too many messages to a number", "a second message at once: 429 as the library shows it, with Retry-After where it does"},
	{limiting, "too many messages, then waiting", "at brief, through the network: a library that retries waits, tries with the same key, and the message goes out"},

	{deleting, "delete a factor", "of each type; then get, delete and challenge: not found"},
	{deleting, "delete a factor that is challenged", "then verify: the challenge is not found"},

	{refusing, "unknown factor", "get, delete, challenge, by ids that are well formed, of the wrong kind, nonsense: not found, naming the id"},
	{refusing, "unknown challenge", "verify: not found, naming the id"},
	{refusing, "unknown path", "404 as the library shows it, where it can be asked for one"},
	{refusing, "an error names its request", "the request id of the error is the header x-request-id, where the library has it"},
	{refusing, "bad phone number", "invalid_phone_number, naming the number"},
	{refusing, "bad input", "no type, unknown type, no phone number, a line break in a name, a template without {{code}}: invalid_request_parameters, as the library shows the list"},
	{refusing, "bad API key", "every call: 401 as the library shows it"},
	{refusing, "another environment", "a factor of the first server is not found at brief"},

	{forUsers, "enroll for a user", "factor and challenge at once; user_id in the factor; its QR code; its code verifies"},
	{forUsers, "enroll for a user without names", "issuer and user are not empty"},
	{forUsers, "enroll for a user with a secret", "in lower case, with spaces, with padding; too short and not base32: refused"},

	{listing, "list no factors", "an empty list, with no pages"},
	{listing, "list the factors of a user", "of 35: the newest ten, without secrets"},
	{listing, "list pages, desc", "four pages forward by after, back by before, and between two cursors, as far as the library has them"},
	{listing, "list pages, asc", "the same"},
	{listing, "list with a bad cursor", "also a bad limit and order: refused, where the library sends them"},
	{listing, "list all pages", "the library's own iteration, in both orders"},
	{listing, "list 301 factors", "in pages of 100, each once"},
	{listing, "a deleted factor leaves the list", "and its id still marks its place"},
	{listing, "list a factor that is not totp", "an sms factor of a user is in the list"},

	{retrying, "lost reply: enroll", "tried again with the same key: the same factor and secret"},
	{retrying, "lost reply: enroll for a user", "exactly one factor and one challenge"},
	{retrying, "lost request: enroll for a user", "exactly one factor"},
	{retrying, "lost reply: challenge sms", "exactly one message"},
	{retrying, "lost reply: challenge generic_otp", "the same challenge and code"},
	{retrying, "lost reply: right code", "true both times; a new call: previously verified"},
	{retrying, "lost reply: wrong code", "counted once"},
	{retrying, "lost reply: delete", "deleted, whatever the library makes of the second try"},
	{retrying, "own idempotency key", "twice the same answer; another body: idempotency_error; where a caller can give a key"},
	{retrying, "own idempotency key, eight at once", "one factor, eight equal answers"},

	{webhooks, "webhook signature", "a delivery is accepted and parsed; an altered, a stale and a forged one are refused"},
}
