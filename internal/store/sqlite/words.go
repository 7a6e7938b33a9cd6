package sqlite

// words are stored as their numbers, from 1: they stand in most rows. Any other word
// is stored as it is, so that a type that is new to mfa needs no place here; it only
// takes more room. The numbers are in files: append, and never move one.
var words = []string{
	"totp", "sms", "generic_otp",
	"factor.enrolled", "factor.locked", "factor.unlocked", "factor.deleted", "user.locked", "user.unlocked",
	"challenge.created", "challenge.succeeded", "challenge.failed", "challenge.refused", "challenge.voided",
	"message.queued", "message.sent", "message.undelivered", "message.failed", "message.delivered",
	"sms.prefix_paused", "sms.prefix_released", "sms.daily_limit_reached",
	"wrong_code", "spent_code", "expired", "previously_verified", "too_many_attempts", "delivery_failed",
}

var wordNumbers = func() map[string]int64 {
	m := make(map[string]int64, len(words))
	for i, w := range words {
		m[w] = int64(i + 1)
	}
	return m
}()
