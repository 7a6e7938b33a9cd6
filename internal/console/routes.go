package console

import "github.com/countersign-mfa/countersign/internal/access"

// root is the path of the console.
const root = "/console"

// list is the list of all routes. A page of one environment is under /console/e/{env}.
func (c *Console) list() []Route {
	return append([]Route{
		{"GET /console", access.ReadEnvironments, c.home},
		{"GET /console/go", access.ReadEnvironments, c.chooseEnvironment},
		{"POST /console/theme", access.Public, c.setTheme},
		{"GET /console/static/{file}", access.Public, c.static},
		{"GET /console/{path...}", access.ReadSelf, c.unknown},

		{"GET /console/e/{env}", access.ReadStatistics, c.overview},
		{"GET /console/e/{env}/users", access.ReadPeople, c.users},
		{"POST /console/e/{env}/users", access.ReadPeople, c.find},
		{"GET /console/e/{env}/user", access.ReadPeople, c.showUser},
		{"POST /console/e/{env}/user/unlock", access.ActOnPeople, c.userAction("user-unlocked", c.unlockUser)},
		{"POST /console/e/{env}/user/bypass", access.BypassCodes, c.createBypass},
		{"POST /console/e/{env}/user/bypass/revoke", access.BypassCodes, c.userAction("bypass-revoked", c.revokeBypass)},
		{"POST /console/e/{env}/user/erase", access.DeleteData, c.eraseUser},
		{"GET /console/e/{env}/factors/{id}", access.ReadPeople, c.showFactor},
		{"POST /console/e/{env}/factors/{id}/unlock", access.ActOnPeople, c.factorAction("factor-unlocked", c.unlockFactor)},
		{"POST /console/e/{env}/factors/{id}/suspend", access.ActOnPeople, c.factorAction("factor-suspended", c.suspendFactor)},
		{"POST /console/e/{env}/factors/{id}/resume", access.ActOnPeople, c.factorAction("factor-resumed", c.resumeFactor)},
		{"POST /console/e/{env}/factors/{id}/delete", access.DeleteData, c.factorAction("factor-deleted", c.deleteFactor)},
		{"GET /console/e/{env}/challenges/{id}", access.ReadPeople, c.showChallenge},

		{"GET /console/e/{env}/events", access.ReadEvents, c.listEvents},
		{"GET /console/e/{env}" + streamPath, access.ReadEvents, c.streamEvents},
		{"GET /console/e/{env}/events/export", access.ReadEvents, c.exportEvents},

		{"GET /console/e/{env}/messages", access.ReadMessages, c.messages},
		{"POST /console/e/{env}/messages/release", access.ManageMessages, c.releasePrefix},
		{"POST /console/e/{env}/messages/test", access.ManageMessages, c.sendTest},

		{"GET /console/e/{env}/keys", access.ReadKeys, c.keys},
		{"POST /console/e/{env}/keys", access.ManageKeys, c.createKey},
		{"POST /console/e/{env}/keys/{id}/rename", access.ManageKeys, c.renameKey},
		{"POST /console/e/{env}/keys/{id}/revoke", access.ManageKeys, c.revokeKey},

		{"GET /console/e/{env}/webhooks", access.ReadWebhooks, c.listWebhooks},
		{"POST /console/e/{env}/webhooks", access.ManageWebhooks, c.createWebhook},
		{"GET /console/e/{env}/webhooks/{id}", access.ReadWebhooks, c.showWebhook},
		{"POST /console/e/{env}/webhooks/{id}", access.ManageWebhooks, c.webhookAction("webhook-changed", c.updateWebhook)},
		{"POST /console/e/{env}/webhooks/{id}/status", access.ManageWebhooks, c.webhookAction("webhook-changed", c.switchWebhook)},
		{"POST /console/e/{env}/webhooks/{id}/replay", access.ManageWebhooks, c.webhookAction("webhook-replay", c.replayWebhook)},
		{"POST /console/e/{env}/webhooks/{id}/rotate", access.ManageWebhooks, c.webhookAction("webhook-rotated", c.rotateWebhook)},
		{"POST /console/e/{env}/webhooks/{id}/secret", access.ManageWebhooks, c.secretOfWebhook},
		{"POST /console/e/{env}/webhooks/{id}/delete", access.ManageWebhooks, c.deleteWebhook},

		{"GET /console/e/{env}/settings", access.ReadEnvironments, c.settings},
		{"POST /console/e/{env}/settings", access.ManageSettings, c.changeSettings},

		{"GET /console/system", access.ReadSystem, c.system},
		{"GET /console/environments", access.ReadEnvironments, c.environments},
		{"POST /console/environments", access.ManageEnvironments, c.createEnvironment},
	}, c.signInRoutes()...)
}
