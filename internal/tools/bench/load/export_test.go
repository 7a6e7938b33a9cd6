package load

// What the tests look at from outside.
var (
	Parse        = parse
	Schedule     = schedule
	AppendTOTP   = appendTOTP
	ErrMalformed = errMalformed
	ErrSpent     = errSpent
)

// Key is the secret that AppendTOTP makes codes of.
const Key = totpSecret
