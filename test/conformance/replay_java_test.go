package conformance_test

import "time"

// oldJavaClients replay the library com.workos:workos before version 5, which
// scripts/setup cannot install.
//
// Its requests, types and exceptions were read in src/main/kotlin/com/workos of its
// repository: WorkOS.kt, mfa, usermanagement, webhooks and common. The headers were
// observed from Fuel 2.3.1 on Java 17, and so was Fuel's result for a lost reply: an
// empty answer with status -1. Inferred: version 2.2 equals version 4 except for the
// older paths and the parts of the API that were added later.
var oldJavaClients = replays(&java2, &java4)

// fuel returns the headers of Fuel, which keeps them in a hash map: this is the order
// of their hashes.
func fuel(version string) string {
	return `
		User-Agent: workos-kotlin/` + version + `
		Content-Type: application/json
		Authorization: Bearer {api key}
		TE: gzip, deflate; q=0.5
		Host: {host}
		Accept: text/html, image/gif, image/jpeg, */*; q=0.2
		Connection: keep-alive`
}

const (
	fuelBody   = "\nContent-Length: {length}"
	fuelNoBody = "\nContent-Length: 0"
)

var java2 = wire{
	language: "Java", version: "2.2.0", generation: "2022",
	get: fuel("2.2.0"), post: fuel("2.2.0") + fuelBody, delete: fuel("2.2.0") + fuelNoBody,
	quote: plainJSON, segment: asIs,

	calls: map[string]wireCall{
		enrollTOTP:    java4.calls[enrollTOTP],
		enrollBare:    java4.calls[enrollBare],
		enrollSMS:     java4.calls[enrollSMS],
		enrollNoPhone: java4.calls[enrollNoPhone],
		enrollGeneric: java4.calls[enrollGeneric],
		enrollUnknown: java4.calls[enrollUnknown],
		enrollNothing: java4.calls[enrollNothing],
		getFactor:     java4.calls[getFactor],
		deleteFactor:  java4.calls[deleteFactor],
		challengePlain: {
			call:  `workos.mfa.challengeFactor(ChallengeFactorOptions.builder().authenticationFactorId(factor.id).build())`,
			sends: `POST /auth/factors/challenge {"authentication_factor_id":{factor}}`,
			reads: "Challenge",
		},
		challengeText: {
			call:  `workos.mfa.challengeFactor(ChallengeFactorOptions.builder().authenticationFactorId(factor.id).smsTemplate("Your code: {{code}}").build())`,
			sends: `POST /auth/factors/challenge {"authentication_factor_id":{factor},"sms_template":{template}}`,
			reads: "Challenge",
		},
		verifyCode: java4.calls[verifyOld],
	},
	types:      java4.types,
	unreadable: java4.unreadable,
	errors:     java4.errors,
	requestID:  java4.requestID, anyCase: true,
	retry:   java4.retry,
	webhook: java4.webhook,
}

var java4 = wire{
	language: "Java", version: "4.18.1", generation: "2024-25",
	get: fuel("4.18.1"), post: fuel("4.18.1") + fuelBody, delete: fuel("4.18.1") + fuelNoBody,
	quote: plainJSON, segment: asIs,

	calls: map[string]wireCall{
		enrollTOTP: {
			call: `workos.mfa.enrollFactor(EnrollFactorOptions.builder()
			    .type("totp").issuer("Example").user("user@example.com").build())`,
			sends: `POST /auth/factors/enroll {"type":"totp","totp_issuer":{issuer},"totp_user":{user}}`,
			reads: "Factor",
		},
		enrollBare: {
			call:    `workos.mfa.enrollFactor(EnrollFactorOptions.builder().type("totp").build())`,
			refuses: "IllegalArgumentException",
		},
		enrollSMS: {
			call:  `workos.mfa.enrollFactor(EnrollFactorOptions.builder().type("sms").phoneNumber("+12025550123").build())`,
			sends: `POST /auth/factors/enroll {"type":"sms","phone_number":{phone}}`,
			reads: "Factor",
		},
		enrollNoPhone: {
			call:    `workos.mfa.enrollFactor(EnrollFactorOptions.builder().type("sms").build())`,
			refuses: "IllegalArgumentException",
		},
		enrollGeneric: {
			call:  `workos.mfa.enrollFactor(EnrollFactorOptions.builder().type("generic_otp").build())`,
			sends: `POST /auth/factors/enroll {"type":"generic_otp"}`,
			reads: "Factor",
		},
		enrollUnknown: {
			call:    `workos.mfa.enrollFactor(EnrollFactorOptions.builder().type("hotp").build())`,
			refuses: "IllegalArgumentException",
		},
		enrollNothing: {
			call:    `workos.mfa.enrollFactor(EnrollFactorOptions.builder().build())`,
			refuses: "IllegalArgumentException",
		},
		getFactor: {
			call:  `workos.mfa.getFactor(factor.id)`,
			sends: `GET /auth/factors/{factor}`,
			reads: "Factor",
		},
		deleteFactor: {
			call:  `workos.mfa.deleteFactor(factor.id)`,
			sends: `DELETE /auth/factors/{factor}`,
		},
		challengePlain: {
			call:  `workos.mfa.challengeFactor(ChallengeFactorOptions.builder().authenticationFactorId(factor.id).build())`,
			sends: `POST /auth/factors/{factor}/challenge {"authentication_factor_id":{factor}}`,
			reads: "Challenge",
		},
		challengeText: {
			call:  `workos.mfa.challengeFactor(ChallengeFactorOptions.builder().authenticationFactorId(factor.id).smsTemplate("Your code: {{code}}").build())`,
			sends: `POST /auth/factors/{factor}/challenge {"authentication_factor_id":{factor},"sms_template":{template}}`,
			reads: "Challenge",
		},
		verifyCode: {
			call: `workos.mfa.verifyChallenge(VerifyChallengeOptions.builder()
			    .authenticationChallengeId(challenge.id).code(code).build())`,
			sends: `POST /auth/challenges/{challenge}/verify {"authentication_challenge_id":{challenge},"code":{code}}`,
			reads: "VerifyChallengeResponse",
		},
		verifyOld: {
			call:  `workos.mfa.verifyFactor(VerifyFactorOptions.builder().authenticationChallengeId(challenge.id).code(code).build())`,
			sends: `POST /auth/factors/verify {"authentication_challenge_id":{challenge},"code":{code}}`,
			reads: "VerifyFactorResponse",
		},
		userEnroll: {
			call:  `workos.userManagement.enrollAuthFactor(userId, new EnrolledAuthenticationFactorOptionsBuilder().totpIssuer("Example").totpUser("user@example.com").build())`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp","totp_issuer":{issuer},"totp_user":{user}}`,
			reads: "EnrolledAuthenticationFactor",
		},
		userEnrollBare: {
			call:  `workos.userManagement.enrollAuthFactor(userId, null)`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp"}`,
			reads: "EnrolledAuthenticationFactor",
		},
		userList: {
			call:  `workos.userManagement.listAuthFactors(userId)`,
			sends: `GET /user_management/users/{user_id}/auth_factors`,
			reads: "AuthenticationFactors",
		},
	},
	// The type EnrolledAuthenticationFactor expects names that the hosted service does
	// not send either: the service sends authentication_factor and
	// authentication_challenge.
	types: map[string]string{
		"Factor":                       "object id! created_at! updated_at! type! sms=Sms totp=Totp",
		"Totp":                         "issuer! user! qr_code secret uri",
		"Sms":                          "phone_number!",
		"Challenge":                    "object id! created_at! updated_at! expires_at! code authentication_factor_id!",
		"VerifyChallengeResponse":      "challenge!=Challenge valid!:bool",
		"VerifyFactorResponse":         "challenge!=Challenge valid!:bool",
		"EnrolledAuthenticationFactor": "challenge!=AuthenticationChallenge factor!=AuthenticationFactor",
		"AuthenticationChallenge":      "id! created_at! updated_at! expires_at authentication_factor_id!",
		"AuthenticationFactor":         "id! created_at! updated_at! type! totp=AuthenticationTotp user_id",
		"AuthenticationTotp":           "issuer user qr_code secret uri",
		"AuthenticationFactors":        "data!=[]AuthenticationFactor list_metadata!=ListMetadata",
		"ListMetadata":                 "before after",
		"WebhookEvent":                 "id! event! created_at!",
	},
	unreadable: "MissingKotlinParameterException",
	errors: []wireError{
		{400, "BadRequestException", "message code errors"},
		{401, "UnauthorizedException", "message"},
		{404, "NotFoundException", ""},
		{422, "UnprocessableEntityException", "message code errors"},
		{0, "GenericServerException", "message"},
	},
	requestID: "X-Request-ID", anyCase: true,
	retry: wireRetry{lostIsEmpty: true},
	webhook: wireWebhook{
		call:  `workos.webhooks.constructEvent(body, header, secret)`,
		split: splitAtEquals, tolerance: 180 * time.Second,
		refuses: "SignatureException", reads: "WebhookEvent",
	},
}
