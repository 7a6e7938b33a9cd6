package conformance_test

import (
	"fmt"
	"time"
)

// rubyClients replay the gem workos, which scripts/setup cannot install.
//
// Its requests, types and exceptions were read in lib/workos of its repository:
// client.rb, mfa.rb, user_management.rb, factor.rb, challenge.rb and webhooks.rb for
// versions 2 and 5, and base_client.rb, multi_factor_auth.rb and util/signature.rb for
// version 10. Three things were observed from Net::HTTP of Ruby 3.1: the headers, the
// question mark after the path of a GET or DELETE (versions 2 and 5 give it an empty
// query), and the DELETE that is repeated at once when its reply does not arrive.
// Inferred: version 2.4 no longer needs environment_id in a factor, unlike version 2.1.
var rubyClients = replays(&ruby2, &ruby5, &ruby10)

const (
	// The header Connection is "close" because each request uses a new connection.
	netHTTP = `
		Content-Type: application/json
		Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3
		Accept: */*
		User-Agent: WorkOS; ruby/3.1.7; x86_64-linux-gnu; v%s
		Authorization: Bearer {api key}
		Connection: close
		Host: {host}
		Content-Length: {length}`

	netHTTP10 = `
		Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3
		Accept: */*
		User-Agent: workos-ruby/10.2.1 ruby/3.1.7 (x86_64-linux-gnu)
		Authorization: Bearer {api key}`
)

// rubyError returns the text of to_s for an error.
func rubyError(r *refusal) string {
	text := r.message
	if list, ok := r.said["errors"].([]any); ok {
		for i, e := range list {
			e := e.(map[string]any)
			text += map[bool]string{true: " (", false: "; "}[i == 0] + fmt.Sprintf("%v: %v", e["field"], e["code"])
		}
		text += ")"
	}
	return fmt.Sprintf("Status %d, %s - request ID: %s", r.status, text, r.requestID)
}

var ruby2 = wire{
	language: "Ruby", version: "2.4.0", generation: "2022",
	https: true,
	get:   fmt.Sprintf(netHTTP, "2.4.0"), post: fmt.Sprintf(netHTTP, "2.4.0"), delete: fmt.Sprintf(netHTTP, "2.4.0"),
	quote: plainJSON, segment: asIs,

	calls: map[string]wireCall{
		enrollTOTP: {
			call:  `WorkOS::MFA.enroll_factor(type: "totp", totp_issuer: "Example", totp_user: "user@example.com")`,
			sends: `POST /auth/factors/enroll {"type":"totp","totp_issuer":{issuer},"totp_user":{user},"phone_number":null}`,
			reads: "Factor",
		},
		enrollBare: {
			call:    `WorkOS::MFA.enroll_factor(type: "totp")`,
			refuses: "ArgumentError",
		},
		enrollSMS: {
			call:  `WorkOS::MFA.enroll_factor(type: "sms", phone_number: "+12025550123")`,
			sends: `POST /auth/factors/enroll {"type":"sms","totp_issuer":null,"totp_user":null,"phone_number":{phone}}`,
			reads: "Factor",
		},
		enrollNoPhone: {
			call:    `WorkOS::MFA.enroll_factor(type: "sms")`,
			refuses: "ArgumentError",
		},
		enrollGeneric: {
			call:  `WorkOS::MFA.enroll_factor(type: "generic_otp")`,
			sends: `POST /auth/factors/enroll {"type":"generic_otp","totp_issuer":null,"totp_user":null,"phone_number":null}`,
			reads: "Factor",
		},
		enrollUnknown: {
			call:    `WorkOS::MFA.enroll_factor(type: "hotp")`,
			refuses: "ArgumentError",
		},
		getFactor: {
			call:  `WorkOS::MFA.get_factor(id: factor.id)`,
			sends: `GET /auth/factors/{factor}?`,
			reads: "Factor",
		},
		deleteFactor: {
			call:  `WorkOS::MFA.delete_factor(id: factor.id)`,
			sends: `DELETE /auth/factors/{factor}?`,
		},
		challengePlain: {
			call:  `WorkOS::MFA.challenge_factor(authentication_factor_id: factor.id)`,
			sends: `POST /auth/factors/challenge {"sms_template":null,"authentication_factor_id":{factor}}`,
			reads: "Challenge",
		},
		challengeText: {
			call:  `WorkOS::MFA.challenge_factor(authentication_factor_id: factor.id, sms_template: "Your code: {{code}}")`,
			sends: `POST /auth/factors/challenge {"sms_template":{template},"authentication_factor_id":{factor}}`,
			reads: "Challenge",
		},
		verifyCode: {
			call:  `WorkOS::MFA.verify_factor(authentication_challenge_id: challenge.id, code: code)`,
			sends: `POST /auth/factors/verify {"authentication_challenge_id":{challenge},"code":{code}}`,
			reads: "Verification",
		},
	},
	// Sorbet checks the type of each property, and raises TypeError.
	types: map[string]string{
		"Factor":       "id! object! type! created_at! updated_at! totp=Totp sms=Sms",
		"Totp":         "issuer user secret qr_code uri",
		"Sms":          "phone_number",
		"Challenge":    "id! object! created_at! updated_at! authentication_factor_id! expires_at code",
		"Verification": "challenge!=Challenge valid!:bool",
		"Event":        "id event data=Data created_at object",
		"Data":         "type status ip_address user_agent user_id email",
	},
	unreadable: "TypeError",

	// It has no error for 429: it reads the body as a challenge.
	errors: []wireError{
		{400, "WorkOS::InvalidRequestError", "message"},
		{401, "WorkOS::AuthenticationError", "message"},
		{404, "WorkOS::APIError", "message"},
		{422, "WorkOS::InvalidRequestError", "message"},
	},
	message: rubyError, requestID: "x-request-id", anyCase: true,
	retry: wireRetry{silently: "GET DELETE", lost: "EOFError"},
	webhook: wireWebhook{
		call:  `WorkOS::Webhooks.construct_event(payload: body, sig_header: header, secret: secret)`,
		split: splitExactly(", "), tolerance: 180 * time.Second,
		refuses: "WorkOS::SignatureVerificationError", reads: "Event",
	},
}

var ruby5 = wire{
	language: "Ruby", version: "5.31.1", generation: "2024-25",
	https: true,
	get:   fmt.Sprintf(netHTTP, "5.31.1"), post: fmt.Sprintf(netHTTP, "5.31.1"), delete: fmt.Sprintf(netHTTP, "5.31.1"),
	quote: plainJSON, segment: asIs,

	calls: map[string]wireCall{
		enrollTOTP:    ruby2.calls[enrollTOTP],
		enrollBare:    ruby2.calls[enrollBare],
		enrollSMS:     ruby2.calls[enrollSMS],
		enrollNoPhone: ruby2.calls[enrollNoPhone],
		enrollGeneric: ruby2.calls[enrollGeneric],
		enrollUnknown: ruby2.calls[enrollUnknown],
		getFactor:     ruby2.calls[getFactor],
		deleteFactor:  ruby2.calls[deleteFactor],
		challengePlain: {
			call:  `WorkOS::MFA.challenge_factor(authentication_factor_id: factor.id)`,
			sends: `POST /auth/factors/{factor}/challenge {"sms_template":null}`,
			reads: "Challenge",
		},
		challengeText: {
			call:  `WorkOS::MFA.challenge_factor(authentication_factor_id: factor.id, sms_template: "Your code: {{code}}")`,
			sends: `POST /auth/factors/{factor}/challenge {"sms_template":{template}}`,
			reads: "Challenge",
		},
		verifyCode: {
			call:  `WorkOS::MFA.verify_challenge(authentication_challenge_id: challenge.id, code: code)`,
			sends: `POST /auth/challenges/{challenge}/verify {"code":{code}}`,
			reads: "VerifyChallenge",
		},
		verifyOld: {
			call:  `WorkOS::MFA.verify_factor(authentication_challenge_id: challenge.id, code: code)`,
			sends: `POST /auth/challenges/{challenge}/verify {"code":{code}}`,
			reads: "VerifyChallenge",
		},
		userEnroll: {
			call:  `WorkOS::UserManagement.enroll_auth_factor(user_id: user_id, type: "totp", totp_issuer: "Example", totp_user: "user@example.com")`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp","totp_issuer":{issuer},"totp_user":{user}}`,
			reads: "AuthenticationFactorAndChallenge",
		},
		userEnrollBare: {
			call:  `WorkOS::UserManagement.enroll_auth_factor(user_id: user_id, type: "totp")`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp"}`,
			reads: "AuthenticationFactorAndChallenge",
		},
		userEnrollWith: {
			call:  `WorkOS::UserManagement.enroll_auth_factor(user_id: user_id, type: "totp", totp_secret: secret)`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp","totp_secret":{secret}}`,
			reads: "AuthenticationFactorAndChallenge",
		},
		userList: {
			call:  `WorkOS::UserManagement.list_auth_factors(user_id: user_id)`,
			sends: `GET /user_management/users/{user_id}/auth_factors?`,
			reads: "ListStruct",
		},
	},
	types: map[string]string{
		"Factor":                           "id object type created_at updated_at totp=Totp sms=Sms",
		"Totp":                             "issuer user secret qr_code uri",
		"Sms":                              "phone_number",
		"Challenge":                        "id object created_at updated_at authentication_factor_id expires_at code",
		"VerifyChallenge":                  "challenge=Challenge valid:bool",
		"AuthenticationFactorAndChallenge": "authentication_factor=Factor authentication_challenge=Challenge",
		"ListStruct":                       "data!=[]Factor list_metadata=ListMetadata",
		"ListMetadata":                     "before after",
		"Event":                            "id event data=Data created_at object",
		"Data":                             "type status ip_address user_agent user_id email",
	},
	errors: []wireError{
		{400, "WorkOS::InvalidRequestError", "message code errors"},
		{401, "WorkOS::AuthenticationError", "message"},
		{404, "WorkOS::NotFoundError", "message"},
		{422, "WorkOS::UnprocessableEntityError", "message code errors"},
		{429, "WorkOS::RateLimitExceededError", "message retry_after"},
		{0, "WorkOS::APIError", "message"},
	},
	message: rubyError, requestID: "x-request-id", anyCase: true,
	retry:   ruby2.retry, // config.max_retries is 0
	webhook: ruby2.webhook,
}

var ruby10 = wire{
	language: "Ruby", version: "10.2.1", generation: "2026",
	get: netHTTP10 + `
		Host: {host}`,
	post: netHTTP10 + `
		Content-Type: application/json
		Idempotency-Key: {key}
		Host: {host}
		Content-Length: {length}`,
	delete: netHTTP10 + `
		Host: {host}`,
	quote: plainJSON, segment: percentEncoded,

	calls: map[string]wireCall{
		enrollTOTP: {
			call:  `mfa.enroll_factor(type: "totp", totp_issuer: "Example", totp_user: "user@example.com")`,
			sends: `POST /auth/factors/enroll {"type":"totp","totp_issuer":{issuer},"totp_user":{user}}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollBare: {
			call:  `mfa.enroll_factor(type: "totp")`,
			sends: `POST /auth/factors/enroll {"type":"totp"}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollSMS: {
			call:  `mfa.enroll_factor(type: "sms", phone_number: "+12025550123")`,
			sends: `POST /auth/factors/enroll {"type":"sms","phone_number":{phone}}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollNoPhone: {
			call:  `mfa.enroll_factor(type: "sms")`,
			sends: `POST /auth/factors/enroll {"type":"sms"}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollGeneric: {
			call:  `mfa.enroll_factor(type: "generic_otp")`,
			sends: `POST /auth/factors/enroll {"type":"generic_otp"}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollUnknown: {
			call:  `mfa.enroll_factor(type: "hotp")`,
			sends: `POST /auth/factors/enroll {"type":"hotp"}`,
			reads: "AuthenticationFactorEnrolled",
		},
		enrollNothing: {
			call:  `mfa.enroll_factor(type: nil)`,
			sends: `POST /auth/factors/enroll {}`,
			reads: "AuthenticationFactorEnrolled",
		},
		getUnknown: {
			call:  `workos.request(method: :get, path: "/no/such/path")`,
			sends: `GET /no/such/path`,
		},
		getFactor: {
			call:  `mfa.get_factor(id: factor.id)`,
			sends: `GET /auth/factors/{factor}`,
			reads: "AuthenticationFactor",
		},
		deleteFactor: {
			call:  `mfa.delete_factor(id: factor.id)`,
			sends: `DELETE /auth/factors/{factor}`,
		},
		challengePlain: {
			call:  `mfa.challenge_factor(id: factor.id)`,
			sends: `POST /auth/factors/{factor}/challenge {}`,
			reads: "AuthenticationChallenge",
		},
		challengeText: {
			call:  `mfa.challenge_factor(id: factor.id, sms_template: "Your code: {{code}}")`,
			sends: `POST /auth/factors/{factor}/challenge {"sms_template":{template}}`,
			reads: "AuthenticationChallenge",
		},
		verifyCode: {
			call:  `mfa.verify_challenge(id: challenge.id, code: code)`,
			sends: `POST /auth/challenges/{challenge}/verify {"code":{code}}`,
			reads: "AuthenticationChallengeVerifyResponse",
		},
		userEnroll: {
			call:  `mfa.create_user_auth_factor(userland_user_id: user_id, type: "totp", totp_issuer: "Example", totp_user: "user@example.com")`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp","totp_issuer":{issuer},"totp_user":{user}}`,
			reads: "UserAuthenticationFactorEnrollResponse",
		},
		userEnrollBare: {
			call:  `mfa.create_user_auth_factor(userland_user_id: user_id, type: "totp")`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp"}`,
			reads: "UserAuthenticationFactorEnrollResponse",
		},
		userEnrollWith: {
			call:  `mfa.create_user_auth_factor(userland_user_id: user_id, type: "totp", totp_secret: secret)`,
			sends: `POST /user_management/users/{user_id}/auth_factors {"type":"totp","totp_secret":{secret}}`,
			reads: "UserAuthenticationFactorEnrollResponse",
		},
		userList: {
			call:  `mfa.list_user_auth_factors(userland_user_id: user_id)`,
			sends: `GET /user_management/users/{user_id}/auth_factors{query}`,
			reads: "ListStruct",
		},
	},
	query: "before after limit=10 order=desc",
	types: map[string]string{
		"AuthenticationFactorEnrolled":           "object id type user_id sms=Sms totp=Totp created_at updated_at",
		"AuthenticationFactor":                   "object id type user_id sms=Sms totp=Totp created_at updated_at",
		"Totp":                                   "issuer user secret qr_code uri",
		"Sms":                                    "phone_number",
		"AuthenticationChallenge":                "object id expires_at code authentication_factor_id created_at updated_at",
		"AuthenticationChallengeVerifyResponse":  "challenge=AuthenticationChallenge valid:bool",
		"UserAuthenticationFactorEnrollResponse": "authentication_factor=AuthenticationFactorEnrolled authentication_challenge=AuthenticationChallenge",
		"ListStruct":                             "data=[]AuthenticationFactor list_metadata=ListMetadata",
		"ListMetadata":                           "before after",
		"WebhookEvent":                           "id event data=Data created_at",
		"Data":                                   "type status ip_address user_agent user_id email",
	},
	errors: []wireError{
		{400, "WorkOS::InvalidRequestError", "message code errors"},
		{401, "WorkOS::AuthenticationError", "message code"},
		{404, "WorkOS::NotFoundError", "message code"},
		{422, "WorkOS::UnprocessableEntityError", "message code errors"},
		{429, "WorkOS::RateLimitExceededError", "message code"},
		{0, "WorkOS::APIError", "message code"},
	},
	requestID: "x-request-id", anyCase: true,
	retry: wireRetry{
		statuses: []int{408, 409, 429, 500, 502, 503, 504}, times: 2, wait: 500 * time.Millisecond,
		key: keyFromRetry, silently: "GET DELETE", lost: "WorkOS::APIConnectionError",
	},
	webhook: wireWebhook{
		call:  `workos.webhooks.construct_event(payload: body, sig_header: header, secret: secret)`,
		split: splitTrimmed, tolerance: 180 * time.Second,
		refuses: "WorkOS::SignatureVerificationError", reads: "WebhookEvent",
	},
}
