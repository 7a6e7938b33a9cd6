package console

// notices has what a page says after an action, by the value of the parameter "done". The
// texts are fixed, so a link cannot put words into the console.
var notices = map[string]string{
	"passkey-added":       "The passkey was added.",
	"passkey-removed":     "The passkey was removed. Sessions that began with it have ended.",
	"session-ended":       "The session was ended.",
	"sessions-ended":      "The sessions were ended.",
	"role-changed":        "The role was changed.",
	"operator-disabled":   "The operator was disabled. All sessions have ended.",
	"operator-enabled":    "The operator was enabled.",
	"environment-created": "The environment was created. Create an API key for it next.",
	"settings-changed":    "The settings were saved. All nodes use them within 5 seconds.",
	"webhook-created":     "The endpoint was created. It receives the events from now on. Give its secret to the receiver.",
	"webhook-changed":     "The endpoint was changed.",
	"webhook-replay":      "The replay has begun. The attempts below show its progress.",
	"webhook-rotated":     "The secret was replaced. Show it, and give it to the receiver.",
	"webhook-deleted":     "The endpoint was deleted.",
	"prefix-released":     "The prefix was released. Its messages are sent again.",
	"user-unlocked":       "The user was unlocked.",
	"user-erased":         "The user was erased.",
	"factor-unlocked":     "The factor was unlocked. Its codes are checked again.",
	"factor-suspended":    "The factor was suspended. No code of it is accepted until an operator resumes it.",
	"factor-resumed":      "The factor was resumed.",
	"key-renamed":         "The key has another name.",
	"key-revoked":         "The key was revoked. All nodes refuse it within 5 seconds.",
	"factor-deleted":      "The factor was deleted. Its events stay.",
	"bypass-revoked":      "The bypass code was revoked.",
}
