package sqlite

// words are stored as numbers, counted from 1, because most rows contain them. Other
// words are stored as text: a new type in package mfa needs no entry here, it only
// takes more space. Files contain these numbers, so append new words and never move
// one. The factor type "recovery_codes" must stay text: the index factors_recovery names it.
var words = []string{
	"totp", "sms", "generic_otp",
	"factor.enrolled", "factor.locked", "factor.unlocked", "factor.deleted", "factor.user_locked", "factor.user_unlocked",
	"challenge.created", "authentication.mfa_succeeded", "authentication.mfa_failed", "challenge.refused", "challenge.voided",
	"message.queued", "message.sent", "message.undelivered", "message.failed", "message.delivered",
	"message.prefix_paused", "message.prefix_released", "message.daily_limit_reached",
	"wrong_code", "spent_code", "expired", "previously_verified", "too_many_attempts", "delivery_failed",
	"recipient_refused", "environment.created", "api_key.created", "api_key.revoked",
	"webhook_endpoint.created", "webhook_endpoint.updated", "webhook_endpoint.deleted", "webhook_endpoint.disabled",
	"webhook_endpoint.secret_rotated", "operator.keyset_rotated", "operator.store_copied",
	"factor.suspended", "factor.resumed", "suspended",
	"operator.created", "operator.link_created", "operator.role_changed", "operator.disabled", "operator.enabled",
	"operator.signed_in", "operator.sign_in_failed", "operator.confirmed", "operator.signed_out", "operator.sessions_ended",
	"operator.passkey_added", "operator.passkey_removed", "operator.passkey_clone_suspected",
	"factor.bypass_created", "factor.bypass_used", "factor.bypass_revoked", "bypass",
	"operator.viewed", "@-1", "@1", "message.test_sent",
	"webauthn", "factor.clone_suspected", "unknown_credential", "wrong_origin", "user_not_verified",
	"environment.updated",
	"recovery_codes.used", "recovery_codes.low", "recovery_codes.regenerated", "recovery",
	"api_key.renamed", "webhook_endpoint.replayed",
}

// renamed has the earlier names of words. Their numbers are the same, so files need no change.
var renamed = map[string]string{
	"user.locked": "factor.user_locked", "user.unlocked": "factor.user_unlocked",
	"challenge.succeeded": "authentication.mfa_succeeded", "challenge.failed": "authentication.mfa_failed",
	"sms.prefix_paused": "message.prefix_paused", "sms.prefix_released": "message.prefix_released",
	"sms.daily_limit_reached": "message.daily_limit_reached",
}

var wordNumbers = func() map[string]int64 {
	m := make(map[string]int64, len(words))
	for i, w := range words {
		m[w] = int64(i + 1)
	}
	for before, w := range renamed {
		m[before] = m[w]
	}
	return m
}()
