package conformance_test

import (
	"maps"
	"time"
)

// phpClients replay the package workos/workos-php, which scripts/setup cannot install.
//
// Its requests, types and exceptions were read in lib of its repository: Client.php,
// RequestClient/CurlRequestClient.php, MFA.php, UserManagement.php, Webhook.php and the
// resources for version 4, and HttpClient.php, Service/MultiFactorAuth.php,
// WebhookVerification.php and the resources for version 9. The headers of version 4
// were observed from curl of PHP 8.2 with the same options, and the headers of version
// 9 from curl with the options that Guzzle sets. Inferred: version 7.2 equals version
// 9, except that it sends an empty body as an array.
var phpClients = replays(&php4, &php7, &php9)

const (
	phpCurl = `
		Host: {host}
		Accept: */*
		User-Agent: WorkOS PHP/4.31.0
		Authorization: Bearer {api key}`

	guzzle = `
		Host: {host}
		Content-Type: application/json
		Authorization: Bearer {api key}
		Idempotency-Key: {key}
		User-Agent: WorkOS PHP/`
	guzzleBody = `
		Content-Length: {length}`
)

var php4 = wire{
	language: "PHP", version: "4.31.0", generation: "2024-25",
	get: phpCurl,
	post: phpCurl + `
		Content-Type: application/json
		Content-Length: {length}`,
	delete: phpCurl,
	quote:  asciiJSON, segment: asIs,

	calls: map[string]wireCall{
		enrollTOTP: {
			call:  `$mfa->enrollFactor("totp", "Example", "user@example.com")`,
			sends: `POST /auth/factors/enroll {"type":"totp","totp_issuer":{issuer},"totp_user":{user},"phone_number":null}`,
			reads: "AuthenticationFactorTotp",
		},
		enrollBare: {
			call:    `$mfa->enrollFactor("totp")`,
			refuses: "UnexpectedValueException",
		},
		enrollSMS: {
			call:  `$mfa->enrollFactor("sms", null, null, "+12025550123")`,
			sends: `POST /auth/factors/enroll {"type":"sms","totp_issuer":null,"totp_user":null,"phone_number":{phone}}`,
			reads: "AuthenticationFactorSms",
		},
		enrollNoPhone: {
			call:    `$mfa->enrollFactor("sms")`,
			refuses: "UnexpectedValueException",
		},
		enrollGeneric: {
			call:    `$mfa->enrollFactor("generic_otp")`,
			refuses: "UnexpectedValueException",
		},
		// It returns this type for factors of all types.
		getFactor: {
			call:  `$mfa->getFactor($factor->id)`,
			sends: `GET /auth/factors/{factor}`,
			reads: "AuthenticationFactorTotp",
		},
		deleteFactor: {
			call:  `$mfa->deleteFactor($factor->id)`,
			sends: `DELETE /auth/factors/{factor}`,
		},
		challengePlain: {
			call:  `$mfa->challengeFactor($factor->id)`,
			sends: `POST /auth/factors/{factor}/challenge {"sms_template":null}`,
			reads: "AuthenticationChallenge",
		},
		challengeText: {
			call:  `$mfa->challengeFactor($factor->id, "Your code: {{code}}")`,
			sends: `POST /auth/factors/{factor}/challenge {"sms_template":{template}}`,
			reads: "AuthenticationChallenge",
		},
		verifyCode: {
			call:  `$mfa->verifyChallenge($challenge->id, $code)`,
			sends: `POST /auth/challenges/{challenge}/verify {"code":{code}}`,
			reads: "VerificationChallenge",
		},
		verifyOld: {
			call:  `$mfa->verifyFactor($challenge->id, $code)`,
			sends: `POST /auth/challenges/{challenge}/verify {"code":{code}}`,
			reads: "VerificationChallenge",
		},
		userEnroll: {
			call:  `$userManagement->enrollAuthFactor($userId, "totp", "Example", "user@example.com")`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp","totp_user":{user},"totp_issuer":{issuer}}`,
			reads: "AuthenticationFactorAndChallengeTotp",
		},
		userEnrollBare: {
			call:  `$userManagement->enrollAuthFactor($userId, "totp")`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp","totp_user":null,"totp_issuer":null}`,
			reads: "AuthenticationFactorAndChallengeTotp",
		},
		userList: {
			call:  `$userManagement->listAuthFactors($userId)`,
			sends: `GET /user_management/users/{user_id}/auth_factors`,
			reads: "array",
		},
	},
	// It does not read the code of a challenge.
	types: map[string]string{
		"AuthenticationFactorTotp":             "object id created_at updated_at type totp=Totp",
		"AuthenticationFactorSms":              "object id created_at updated_at type sms=Sms",
		"UserAuthenticationFactorTotp":         "object id user_id created_at updated_at type totp=Totp",
		"Totp":                                 "issuer user secret qr_code uri",
		"Sms":                                  "phone_number",
		"AuthenticationChallenge":              "object id created_at updated_at expires_at authentication_factor_id",
		"VerificationChallenge":                "challenge=AuthenticationChallenge valid:bool",
		"AuthenticationFactorAndChallengeTotp": "authentication_factor=AuthenticationFactorTotp authentication_challenge=AuthenticationChallenge",
		"array":                                "data!=[]UserAuthenticationFactorTotp",
		"Webhook":                              "id event data=Data created_at",
		"Data":                                 "type status ip_address user_agent user_id email",
	},
	errors: []wireError{
		{401, "AuthenticationException", "message code errors"},
		{404, "NotFoundException", "message code errors"},
		{500, "ServerException", "message code errors"},
		{0, "BadRequestException", "message code errors"},
	},
	requestID: "x-request-id",
	retry:     wireRetry{lost: "GenericException"},
	webhook: wireWebhook{
		call:  `$webhook->constructEvent($header, $body, $secret, 180)`,
		split: splitExactly(", "), tolerance: 180 * time.Second,
		refuses: "it returns the mistake, as a text", reads: "Webhook",
	},
}

var php9 = wire{
	language: "PHP", version: "9.0.0", generation: "2026",
	get: guzzle + "9.0.0", post: guzzle + "9.0.0" + guzzleBody, delete: guzzle + "9.0.0",
	quote: asciiJSON, segment: percentEncoded,

	calls: map[string]wireCall{
		enrollTOTP: {
			call: `$mfa->enrollFactor(
			    AuthenticationFactorsCreateRequestType::Totp,
			    totpIssuer: "Example",
			    totpUser: "user@example.com",
			)`,
			sends: `POST /auth/factors/enroll {"type":"totp","totp_issuer":{issuer},"totp_user":{user}}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollBare: {
			call:  `$mfa->enrollFactor(AuthenticationFactorsCreateRequestType::Totp)`,
			sends: `POST /auth/factors/enroll {"type":"totp"}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollSMS: {
			call:  `$mfa->enrollFactor(AuthenticationFactorsCreateRequestType::Sms, phoneNumber: "+12025550123")`,
			sends: `POST /auth/factors/enroll {"type":"sms","phone_number":{phone}}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollNoPhone: {
			call:  `$mfa->enrollFactor(AuthenticationFactorsCreateRequestType::Sms)`,
			sends: `POST /auth/factors/enroll {"type":"sms"}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollGeneric: {
			call:  `$mfa->enrollFactor(AuthenticationFactorsCreateRequestType::GenericOtp)`,
			sends: `POST /auth/factors/enroll {"type":"generic_otp"}`,
			reads: "AuthenticationFactorEnrolled",
		},
		getUnknown: {
			call:  `(new HttpClient($apiKey, null, $url, 60, 3))->request("GET", "no/such/path")`,
			sends: `GET /no/such/path`,
		},
		getFactor: {
			call:  `$mfa->getFactor($factor->id)`,
			sends: `GET /auth/factors/{factor}`,
			reads: "AuthenticationFactor",
		},
		deleteFactor: {
			call:  `$mfa->deleteFactor($factor->id)`,
			sends: `DELETE /auth/factors/{factor}`,
		},
		challengePlain: {
			call:  `$mfa->challengeFactor($factor->id)`,
			sends: `POST /auth/factors/{factor}/challenge {}`,
			reads: "AuthenticationChallenge",
		},
		challengeText: {
			call:  `$mfa->challengeFactor($factor->id, smsTemplate: "Your code: {{code}}")`,
			sends: `POST /auth/factors/{factor}/challenge {"sms_template":{template}}`,
			reads: "AuthenticationChallenge",
		},
		verifyCode: {
			call:  `$mfa->verifyChallenge($challenge->id, $code)`,
			sends: `POST /auth/challenges/{challenge}/verify {"code":{code}}`,
			reads: "AuthenticationChallengeVerifyResponse",
		},
		userEnroll: {
			call:  `$mfa->createUserAuthFactor($userId, "totp", totpIssuer: "Example", totpUser: "user@example.com")`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp","totp_issuer":{issuer},"totp_user":{user}}`,
			reads: "UserAuthenticationFactorEnrollResponse",
		},
		userEnrollBare: {
			call:  `$mfa->createUserAuthFactor($userId, "totp")`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp"}`,
			reads: "UserAuthenticationFactorEnrollResponse",
		},
		userEnrollWith: {
			call:  `$mfa->createUserAuthFactor($userId, "totp", totpSecret: $secret)`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp","totp_secret":{secret}}`,
			reads: "UserAuthenticationFactorEnrollResponse",
		},
		userList: {
			call:  `$mfa->listUserAuthFactors($userId)`,
			sends: `GET /user_management/users/{user_id}/auth_factors{query}`,
			reads: "PaginatedResponse",
		},
	},
	query: "before after limit order=desc", typedOrder: true,
	types: map[string]string{
		"AuthenticationFactorEnrolled":           "object! id! type!:totp|sms|generic_otp created_at:time updated_at:time user_id sms=Sms totp=Totp",
		"Totp":                                   "issuer! user! secret! qr_code! uri!",
		"AuthenticationFactor":                   "object! id! type!:totp|sms|generic_otp|webauthn created_at:time updated_at:time user_id sms=Sms totp=TotpNames",
		"TotpNames":                              "issuer! user!",
		"Sms":                                    "phone_number!",
		"AuthenticationChallenge":                "object id! created_at:time updated_at:time expires_at:time code authentication_factor_id!",
		"AuthenticationChallengeVerifyResponse":  "challenge!=AuthenticationChallenge valid!:bool",
		"UserAuthenticationFactorEnrollResponse": "authentication_factor!=AuthenticationFactorEnrolled authentication_challenge!=AuthenticationChallenge",
		"PaginatedResponse":                      "data=[]AuthenticationFactor list_metadata=array",
		"array":                                  "before after",
		"event":                                  "id event data=data created_at object",
		"data":                                   "type status ip_address user_agent user_id email",
	},
	unreadable: "TypeError",
	errors: []wireError{
		{400, "BadRequestException", "message code"},
		{401, "AuthenticationException", "message"},
		{404, "NotFoundException", "message code"},
		{422, "UnprocessableEntityException", "message code"},
		{429, "RateLimitExceededException", "message code retry_after"},
		{0, "BaseRequestException", "message code"},
	},
	requestID: "X-Request-ID", anyCase: true,
	retry: wireRetry{
		statuses: []int{429, 500, 502, 503, 504}, times: 3, wait: time.Second,
		key: callersKey, lost: "ConnectionException",
	},
	webhook: wireWebhook{
		call:  `$workos->webhookVerification()->verifyEvent($body, $header, $secret)`,
		split: splitExactly(", "), tolerance: 180 * time.Second,
		refuses: "InvalidArgumentException", reads: "event",
	},
}

var php7 = func() wire {
	w := php9
	w.version = "7.2.0"
	w.get, w.post, w.delete = guzzle+"7.2.0", guzzle+"7.2.0"+guzzleBody, guzzle+"7.2.0"
	w.calls = maps.Clone(php9.calls)
	w.calls[challengePlain] = wireCall{
		call:  `$mfa->challengeFactor($factor->id)`,
		sends: `POST /auth/factors/{factor}/challenge []`,
		reads: "AuthenticationChallenge",
	}
	return w
}()
