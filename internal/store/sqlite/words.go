package sqlite

// words are stored as numbers, counted from 1, because most rows contain them. Other
// words are stored as text: a new type in package mfa needs no entry here, it only
// takes more space. Files contain these numbers, so append new words and never move
// one.
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
