package operatorapi

import "github.com/countersign-mfa/countersign/internal/access"

// addRoutes is the list of all routes.
func (a *API) addRoutes() {
	add := func(pattern string, h handler, needs access.Permission) {
		method, path := cutMethod(pattern)
		a.routes.Add(method+" "+Prefix+path, h, needs)
	}
	add("GET /me", a.me, access.ReadSelf)

	add("GET /environments", a.environments, access.ReadEnvironments)
	add("POST /environments", a.createEnvironment, access.ManageEnvironments)
	add("GET /environments/{environment}", a.getEnvironment, access.ReadEnvironments)
	add("PATCH /environments/{environment}", a.updateEnvironment, access.ManageSettings)

	add("GET /keys", a.keys, access.ReadKeys)
	add("POST /keys", a.createKey, access.ManageKeys)
	add("GET /keys/{id}", a.getKey, access.ReadKeys)
	add("PATCH /keys/{id}", a.updateKey, access.ManageKeys)
	add("DELETE /keys/{id}", a.revokeKey, access.ManageKeys)

	add("GET /nodes", a.nodes, access.ReadSystem)

	add("GET /operators", a.operators, access.ReadOperators)
	add("POST /operators", a.inviteOperator, access.ManageOperators)
	add("GET /operators/{name}", a.getOperator, access.ReadOperators)
	add("PATCH /operators/{name}", a.updateOperator, access.ManageOperators)
	add("GET /operators/{name}/sessions", a.operatorSessions, access.ReadOperators)
	add("POST /operators/{name}/sign_out", a.signOutOperator, access.ManageOperators)

	const user = "/environments/{environment}/users/{user_id}"
	add("POST /environments/{environment}/find", a.find, access.ReadPeople)
	add("GET "+user, a.user, access.ReadPeople)
	add("POST "+user+"/unlock", a.unlockUser, access.ActOnPeople)
	add("POST "+user+"/erase", a.eraseUser, access.DeleteData)
	add("GET "+user+"/bypass_code", a.bypassCode, access.ReadPeople)
	add("POST "+user+"/bypass_code", a.createBypassCode, access.BypassCodes)
	add("POST "+user+"/bypass_code/revoke", a.revokeBypassCode, access.BypassCodes)

	add("GET /factors/{id}", a.factor, access.ReadPeople)
	add("POST /factors/{id}/unlock", a.unlockFactor, access.ActOnPeople)
	add("POST /factors/{id}/suspend", a.suspendFactor, access.ActOnPeople)
	add("POST /factors/{id}/resume", a.resumeFactor, access.ActOnPeople)
	add("POST /factors/{id}/remove", a.deleteFactor, access.DeleteData)

	add("GET /challenges/{id}", a.challenge, access.ReadPeople)

	const endpoints = "/environments/{environment}/webhook_endpoints"
	add("GET "+endpoints, a.endpoints, access.ReadWebhooks)
	add("POST "+endpoints, a.createEndpoint, access.ManageWebhooks)
	add("GET "+endpoints+"/{id}", a.endpoint, access.ReadWebhooks)
	add("PATCH "+endpoints+"/{id}", a.updateEndpoint, access.ManageWebhooks)
	add("DELETE "+endpoints+"/{id}", a.deleteEndpoint, access.ManageWebhooks)
	add("GET "+endpoints+"/{id}/attempts", a.attempts, access.ReadWebhooks)
	add("POST "+endpoints+"/{id}/rotate_secret", a.rotateSecret, access.ManageWebhooks)
	add("POST "+endpoints+"/{id}/replay", a.replay, access.ManageWebhooks)

	add("GET /environments/{environment}/events", a.listEvents, access.ReadEvents)

	add("GET /environments/{environment}/statistics", a.statistics, access.ReadStatistics)
	add("GET /environments/{environment}/statistics/messages", a.messageStatistics, access.ReadMessages)
	add("GET /environments/{environment}/coverage", a.coverage, access.ReadStatistics)

	add("GET /environments/{environment}/messages", a.messages, access.ReadMessages)
	add("POST /environments/{environment}/messages/release", a.releasePrefix, access.ManageMessages)
	add("POST /environments/{environment}/messages/send_test", a.sendTest, access.ManageMessages)
}
