package conformance_test

import "time"

// newGoClients replay the module github.com/workos/workos-go/v10, which the module
// proxy does not have.
//
// Its requests, types and errors were read in its repository: client.go,
// multi_factor_auth.go, errors.go, pagination.go and webhook_verification.go. The
// headers were observed from net/http. Inferred: version 10.1 reads
// the time of a webhook in milliseconds, as in the header; version 7 read it as
// seconds.
var newGoClients = replays(&go10)

var go10 = wire{
	language: "Go", version: "10.1.1", generation: "2026",
	get: `
		Host: {host}
		User-Agent: workos-go/10.1.1
		Authorization: Bearer {api key}
		Content-Type: application/json
		Accept-Encoding: gzip`,
	post: `
		Host: {host}
		User-Agent: workos-go/10.1.1
		Content-Length: {length}
		Authorization: Bearer {api key}
		Content-Type: application/json
		Idempotency-Key: {key}
		Accept-Encoding: gzip`,
	delete: `
		Host: {host}
		User-Agent: workos-go/10.1.1
		Authorization: Bearer {api key}
		Content-Type: application/json
		Accept-Encoding: gzip`,
	quote: goJSON, segment: percentEncoded,

	calls: map[string]wireCall{
		enrollTOTP: {
			call: `mfa.EnrollFactor(ctx, &workos.MultiFactorAuthEnrollFactorParams{
				Type:       workos.AuthenticationFactorsCreateRequestTypeTOTP,
				TOTPIssuer: workos.String("Example"),
				TOTPUser:   workos.String("user@example.com"),
			})`,
			sends: `POST /auth/factors/enroll {"type":"totp","totp_issuer":{issuer},"totp_user":{user}}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollBare: {
			call:  `mfa.EnrollFactor(ctx, &workos.MultiFactorAuthEnrollFactorParams{Type: "totp"})`,
			sends: `POST /auth/factors/enroll {"type":"totp"}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollSMS: {
			call:  `mfa.EnrollFactor(ctx, &workos.MultiFactorAuthEnrollFactorParams{Type: "sms", PhoneNumber: workos.String("+12025550123")})`,
			sends: `POST /auth/factors/enroll {"type":"sms","phone_number":{phone}}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollNoPhone: {
			call:  `mfa.EnrollFactor(ctx, &workos.MultiFactorAuthEnrollFactorParams{Type: "sms"})`,
			sends: `POST /auth/factors/enroll {"type":"sms"}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollGeneric: {
			call:  `mfa.EnrollFactor(ctx, &workos.MultiFactorAuthEnrollFactorParams{Type: "generic_otp"})`,
			sends: `POST /auth/factors/enroll {"type":"generic_otp"}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollUnknown: {
			call:  `mfa.EnrollFactor(ctx, &workos.MultiFactorAuthEnrollFactorParams{Type: "hotp"})`,
			sends: `POST /auth/factors/enroll {"type":"hotp"}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollNothing: {
			call:  `mfa.EnrollFactor(ctx, &workos.MultiFactorAuthEnrollFactorParams{})`,
			sends: `POST /auth/factors/enroll {"type":""}`,
			reads: "AuthenticationFactorEnrolled",
		},
		getFactor: {
			call:  `mfa.GetFactor(ctx, factor.ID)`,
			sends: `GET /auth/factors/{factor}`,
			reads: "AuthenticationFactor",
		},
		deleteFactor: {
			call:  `mfa.DeleteFactor(ctx, factor.ID)`,
			sends: `DELETE /auth/factors/{factor}`,
		},
		challengePlain: {
			call:  `mfa.ChallengeFactor(ctx, factor.ID, nil)`,
			sends: `POST /auth/factors/{factor}/challenge null`,
			reads: "AuthenticationChallenge",
		},
		challengeText: {
			call:  `mfa.ChallengeFactor(ctx, factor.ID, &workos.MultiFactorAuthChallengeFactorParams{SmsTemplate: workos.String("Your code: {{code}}")})`,
			sends: `POST /auth/factors/{factor}/challenge {"sms_template":{template}}`,
			reads: "AuthenticationChallenge",
		},
		verifyCode: {
			call:  `mfa.VerifyChallenge(ctx, challenge.ID, &workos.MultiFactorAuthVerifyChallengeParams{Code: code})`,
			sends: `POST /auth/challenges/{challenge}/verify {"code":{code}}`,
			reads: "AuthenticationChallengeVerifyResponse",
		},
		userEnroll: {
			call:  `mfa.CreateUserAuthFactor(ctx, userID, &workos.MultiFactorAuthCreateUserAuthFactorParams{Type: "totp", TOTPIssuer: workos.String("Example"), TOTPUser: workos.String("user@example.com")})`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp","totp_issuer":{issuer},"totp_user":{user}}`,
			reads: "UserAuthenticationFactorEnrollResponse",
		},
		userEnrollBare: {
			call:  `mfa.CreateUserAuthFactor(ctx, userID, &workos.MultiFactorAuthCreateUserAuthFactorParams{Type: "totp"})`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp"}`,
			reads: "UserAuthenticationFactorEnrollResponse",
		},
		userEnrollWith: {
			call:  `mfa.CreateUserAuthFactor(ctx, userID, &workos.MultiFactorAuthCreateUserAuthFactorParams{Type: "totp", TOTPSecret: workos.String(secret)})`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp","totp_secret":{secret}}`,
			reads: "UserAuthenticationFactorEnrollResponse",
		},
		userList: {
			call:  `mfa.ListUserAuthFactors(ctx, userID, nil)`,
			sends: `GET /user_management/users/{user_id}/auth_factors{query}`,
			reads: "listResponse",
		},
	},
	query: "after before limit=10 order=desc", // url.Values writes them in this order
	types: map[string]string{
		"AuthenticationFactorEnrolled":           "object id type user_id sms=Sms totp=Totp created_at updated_at",
		"AuthenticationFactor":                   "object id type user_id sms=Sms totp=TotpNames created_at updated_at",
		"Totp":                                   "issuer user secret qr_code uri",
		"TotpNames":                              "issuer user",
		"Sms":                                    "phone_number",
		"AuthenticationChallenge":                "object id expires_at code authentication_factor_id created_at updated_at",
		"AuthenticationChallengeVerifyResponse":  "challenge=AuthenticationChallenge valid:bool",
		"UserAuthenticationFactorEnrollResponse": "authentication_factor=AuthenticationFactorEnrolled authentication_challenge=AuthenticationChallenge",
		"listResponse":                           "data=[]AuthenticationFactor list_metadata=listMetadata",
		"listMetadata":                           "before after",
		"EventSchema":                            "id event created_at object",
	},
	unreadable: "failed to decode response",
	errors: []wireError{
		{400, "*APIError", "message code"},
		{401, "*AuthenticationError", "message code"},
		{404, "*NotFoundError", "message code"},
		{422, "*UnprocessableEntityError", "message code"},
		{429, "*RateLimitExceededError", "message code retry_after"},
		{500, "*ServerError", "message code"},
		{0, "*APIError", "message code"},
	},
	requestID: "X-Request-Id", anyCase: true,
	retry: wireRetry{
		statuses: []int{429, 500, 502, 503, 504}, times: 3, wait: 500 * time.Millisecond,
		key: newKey, lost: "*NetworkError",
	},
	webhook: wireWebhook{
		call:  `workos.NewWebhookVerifier(secret).ConstructEvent(header, body)`,
		split: splitTrimmed, tolerance: 180 * time.Second, bothWays: true,
		refuses: "ErrWebhookNoValidSignature, ErrWebhookOutsideTolerance", reads: "EventSchema",
	},
}
