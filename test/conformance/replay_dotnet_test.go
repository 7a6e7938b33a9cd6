package conformance_test

import "time"

// dotnetClients replay the package WorkOS.net, which scripts/setup cannot install.
//
// Its requests, types and exceptions were read in src/WorkOS.net of its repository:
// Client/WorkOSClient.cs, Services/MFA and Services/Webhooks for version 2, and the
// same client, Services/MultiFactorAuth and Errors for version 6. Two things are
// inferred because .NET was not available: the order of the headers (Host, the
// request's headers in the order in which they are added, the content's headers), and
// that Newtonsoft writes the fields of a class before inherited fields.
var dotnetClients = replays(&dotnet2, &dotnet6)

const httpClient = `
		Host: {host}
		Accept-Encoding: utf-8
		Authorization: Bearer {api key}`

var dotnet2 = wire{
	language: ".NET", version: "2.12.0", generation: "2024-25",
	get: httpClient + `
		User-Agent: workos-dotnet/2.12.0`,
	post: httpClient + `
		User-Agent: workos-dotnet/2.12.0
		Content-Type: application/json
		Content-Length: {length}`,
	delete: httpClient + `
		User-Agent: workos-dotnet/2.12.0
		Content-Type: application/json
		Content-Length: {length}`,
	quote: plainJSON, segment: asIs,

	calls: map[string]wireCall{
		enrollTOTP: {
			call:  `mfa.EnrollFactor(new EnrollTotpFactorOptions("Example", "user@example.com"))`,
			sends: `POST /auth/factors/enroll {"totp_issuer":{issuer},"totp_user":{user},"type":"totp"}`,
			reads: "Factor",
		},
		enrollBare: {
			call:  `mfa.EnrollFactor(new EnrollTotpFactorOptions(null, null))`,
			sends: `POST /auth/factors/enroll {"type":"totp"}`,
			reads: "Factor",
		},
		enrollSMS: {
			call:  `mfa.EnrollFactor(new EnrollSmsFactorOptions("+12025550123"))`,
			sends: `POST /auth/factors/enroll {"phone_number":{phone},"type":"sms"}`,
			reads: "Factor",
		},
		enrollNoPhone: {
			call:  `mfa.EnrollFactor(new EnrollSmsFactorOptions(null))`,
			sends: `POST /auth/factors/enroll {"type":"sms"}`,
			reads: "Factor",
		},
		getFactor: {
			call:  `mfa.GetFactor(factor.Id)`,
			sends: `GET /auth/factors/{factor}`,
			reads: "Factor",
		},
		deleteFactor: {
			call:  `mfa.DeleteFactor(factor.Id)`,
			sends: `DELETE /auth/factors/{factor} {}`,
		},
		challengePlain: {
			call:  `mfa.ChallengeFactor(new ChallengeFactorOptions { FactorId = factor.Id })`,
			sends: `POST /auth/factors/{factor}/challenge {}`,
			reads: "Challenge",
		},
		challengeText: {
			call:  `mfa.ChallengeFactor(new ChallengeSmsFactorOptions("Your code: {{code}}") { FactorId = factor.Id })`,
			sends: `POST /auth/factors/{factor}/challenge {"sms_template":{template}}`,
			reads: "Challenge",
		},
		verifyCode: {
			call:  `mfa.VerifyChallenge(new VerifyChallengeOptions { ChallengeId = challenge.Id, Code = code })`,
			sends: `POST /auth/challenges/{challenge}/verify {"code":{code}}`,
			reads: "VerifyChallengeResponseSuccess or VerifyChallengeResponseError",
		},
		verifyOld: {
			call:  `mfa.VerifyFactor(new VerifyFactorOptions { ChallengeId = challenge.Id, Code = code })`,
			sends: `POST /auth/factors/verify {"authentication_challenge_id":{challenge},"code":{code}}`,
			reads: "VerifyFactorResponseSuccess or VerifyFactorResponseError",
		},
	},
	types: map[string]string{
		"Factor":                         "object id created_at updated_at type totp=Totp sms=Sms",
		"Totp":                           "issuer user secret qr_code uri",
		"Sms":                            "phone_number",
		"Challenge":                      "object id created_at updated_at expires_at code authentication_factor_id",
		"VerifyChallengeResponseSuccess": "challenge=Challenge valid:bool",
		"VerifyChallengeResponseError":   "code message",
		"VerifyFactorResponseSuccess":    "challenge=Challenge valid:bool",
		"VerifyFactorResponseError":      "code message",
		"Webhook":                        "id event data=Data created_at",
		"Data":                           "type status ip_address user_agent user_id email",
	},
	// It checks only the status of verify, and throws nothing.
	retry: wireRetry{lost: "HttpRequestException"},
	webhook: wireWebhook{
		call:  `webhooks.ConstructEvent(body, header, secret)`,
		split: splitTrimmed, tolerance: 300 * time.Second,
		refuses: "WorkOSWebhookException", reads: "Webhook",
	},
}

var dotnet6 = wire{
	language: ".NET", version: "6.2.0", generation: "2026",
	get: httpClient + `
		User-Agent: workos-dotnet/6.2.0`,
	post: httpClient + `
		Idempotency-Key: {key}
		User-Agent: workos-dotnet/6.2.0
		Content-Type: application/json
		Content-Length: {length}`,
	delete: httpClient + `
		User-Agent: workos-dotnet/6.2.0`,
	quote: plainJSON, segment: percentEncoded,

	calls: map[string]wireCall{
		enrollTOTP: {
			call: `mfa.EnrollFactor(new MultiFactorAuthEnrollFactorOptions
			{
			    Type = AuthenticationFactorsCreateRequestType.Totp,
			    TotpIssuer = "Example",
			    TotpUser = "user@example.com",
			})`,
			sends: `POST /auth/factors/enroll {"type":"totp","totp_issuer":{issuer},"totp_user":{user}}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollBare: {
			call:  `mfa.EnrollFactor(new MultiFactorAuthEnrollFactorOptions { Type = AuthenticationFactorsCreateRequestType.Totp })`,
			sends: `POST /auth/factors/enroll {"type":"totp"}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollSMS: {
			call:  `mfa.EnrollFactor(new MultiFactorAuthEnrollFactorOptions { Type = AuthenticationFactorsCreateRequestType.Sms, PhoneNumber = "+12025550123" })`,
			sends: `POST /auth/factors/enroll {"type":"sms","phone_number":{phone}}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollNoPhone: {
			call:  `mfa.EnrollFactor(new MultiFactorAuthEnrollFactorOptions { Type = AuthenticationFactorsCreateRequestType.Sms })`,
			sends: `POST /auth/factors/enroll {"type":"sms"}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollGeneric: {
			call:  `mfa.EnrollFactor(new MultiFactorAuthEnrollFactorOptions { Type = AuthenticationFactorsCreateRequestType.GenericOtp })`,
			sends: `POST /auth/factors/enroll {"type":"generic_otp"}`,
			reads: "AuthenticationFactorEnrolled",
		},
		getUnknown: {
			call:  `workos.MakeRawAPIRequest(new WorkOSRequest { Method = HttpMethod.Get, Path = "/no/such/path" })`,
			sends: `GET /no/such/path`,
		},
		getFactor: {
			call:  `mfa.GetFactor(factor.Id)`,
			sends: `GET /auth/factors/{factor}`,
			reads: "AuthenticationFactor",
		},
		deleteFactor: {
			call:  `mfa.DeleteFactor(factor.Id)`,
			sends: `DELETE /auth/factors/{factor}`,
		},
		challengePlain: {
			call:  `mfa.ChallengeFactor(factor.Id, new MultiFactorAuthChallengeFactorOptions())`,
			sends: `POST /auth/factors/{factor}/challenge {}`,
			reads: "AuthenticationChallenge",
		},
		challengeText: {
			call:  `mfa.ChallengeFactor(factor.Id, new MultiFactorAuthChallengeFactorOptions { SmsTemplate = "Your code: {{code}}" })`,
			sends: `POST /auth/factors/{factor}/challenge {"sms_template":{template}}`,
			reads: "AuthenticationChallenge",
		},
		verifyCode: {
			call:  `mfa.VerifyChallenge(challenge.Id, new MultiFactorAuthVerifyChallengeOptions { Code = code })`,
			sends: `POST /auth/challenges/{challenge}/verify {"code":{code}}`,
			reads: "AuthenticationChallengeVerifyResponse",
		},
		userEnroll: {
			call:  `mfa.CreateUserAuthFactors(userId, new MultiFactorAuthCreateUserAuthFactorsOptions { Type = "totp", TotpIssuer = "Example", TotpUser = "user@example.com" })`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp","totp_issuer":{issuer},"totp_user":{user}}`,
			reads: "UserAuthenticationFactorEnrollResponse",
		},
		userEnrollBare: {
			call:  `mfa.CreateUserAuthFactors(userId, new MultiFactorAuthCreateUserAuthFactorsOptions { Type = "totp" })`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp"}`,
			reads: "UserAuthenticationFactorEnrollResponse",
		},
		userEnrollWith: {
			call:  `mfa.CreateUserAuthFactors(userId, new MultiFactorAuthCreateUserAuthFactorsOptions { Type = "totp", TotpSecret = secret })`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp","totp_secret":{secret}}`,
			reads: "UserAuthenticationFactorEnrollResponse",
		},
		userList: {
			call:  `mfa.ListUserAuthFactors(userId)`,
			sends: `GET /user_management/users/{user_id}/auth_factors{query}`,
			reads: "WorkOSList",
		},
	},
	query: "before after limit order",
	types: map[string]string{
		"AuthenticationFactorEnrolled":           "object id type user_id sms=Sms totp=Totp created_at:time updated_at:time",
		"AuthenticationFactor":                   "object id type user_id sms=Sms totp=Totp created_at:time updated_at:time",
		"Totp":                                   "issuer user secret qr_code uri",
		"Sms":                                    "phone_number",
		"AuthenticationChallenge":                "object id expires_at:time code authentication_factor_id created_at:time updated_at:time",
		"AuthenticationChallengeVerifyResponse":  "challenge=AuthenticationChallenge valid:bool",
		"UserAuthenticationFactorEnrollResponse": "authentication_factor=AuthenticationFactorEnrolled authentication_challenge=AuthenticationChallenge",
		"WorkOSList":                             "object data=[]AuthenticationFactor list_metadata=ListMetadata",
		"ListMetadata":                           "before after",
		"Webhook":                                "id event data=Data created_at",
		"Data":                                   "type status ip_address user_agent user_id email",
	},
	errors: []wireError{
		{400, "ApiException", "message code errors"},
		{401, "AuthenticationException", "message"},
		{404, "NotFoundException", "message code"},
		{422, "UnprocessableEntityException", "message code errors"},
		{429, "RateLimitExceededException", "message code"},
		{500, "ServerException", "message code"},
		{0, "ApiException", "message code errors"},
	},
	retry: wireRetry{
		// A random wait: up to 0.5 s after the first try, up to 1 s after the second.
		statuses: []int{429, 500, 502, 503, 504}, times: 2, wait: 0,
		key: newKey, lost: "HttpRequestException",
	},
	webhook: wireWebhook{
		call:  `workos.Webhooks.ConstructEvent(body, header, secret)`,
		split: splitTrimmed, tolerance: 300 * time.Second, bothWays: true,
		refuses: "WorkOSWebhookException", reads: "Webhook",
	},
}
