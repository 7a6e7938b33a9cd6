# Refusals of the server, with their exact texts.

unknown=01FVYZ5QM8N98T9ME5BCB2BBMJ

unknown_factor() {
  for id in "auth_factor_$unknown" "auth_challenge_$unknown" no-such-factor "O'Brien"; do
    call GET "/auth/factors/$id"
    not_found "Authentication Factor" "$id"
    call DELETE "/auth/factors/$id"
    not_found "Authentication Factor" "$id"
    call POST "/auth/factors/$id/challenge" '{}'
    not_found "Authentication Factor" "$id"
    call POST /auth/factors/challenge '{"authentication_factor_id":"'"$id"'"}'
    not_found "Authentication Factor" "$id"
  done
  echo "404 entity_not_found, with entity_id"
}
step "unknown factor" unknown_factor

unknown_challenge() {
  for challenge in "auth_challenge_$unknown" "auth_factor_$unknown" no-such-challenge; do
    verify 123456
    not_found "Authentication Challenge" "$challenge"
    call POST /auth/factors/verify '{"authentication_challenge_id":"'"$challenge"'","code":"123456"}'
    not_found "Authentication Challenge" "$challenge"
  done
  echo "404 entity_not_found, with entity_id"
}
step "unknown challenge" unknown_challenge

unknown_path() {
  for path in /no/such/path /auth/factors /auth/factors/a/b; do
    call GET "$path"
    is 404 '{message: "Not Found", error: "Not Found"}'
  done
}
step "unknown path" unknown_path

request_ids() {
  at=$COUNTERSIGN_NETWORK_URL
  local shown=()
  call GET "/auth/factors/auth_factor_$unknown"
  shown+=("$(header x-request-id)")
  key=sk_test_wrong
  call GET "/auth/factors/auth_factor_$unknown"
  shown+=("$(header x-request-id)")
  same "the header on the wire" "$(tries '.[-2:][].reply_headers[] | select(.[0] == "x-request-id") | .[1]')" "$(printf '%s\n' "${shown[@]}")"
  [[ ${shown[0]} != "${shown[1]}" ]]
  echo "x-request-id, in lower case"
}
step "an error names its request" request_ids

bad_phone_number() {
  for number in foo 123 "+1 202" "+999 12345678"; do
    call POST /auth/factors/enroll '{"type":"sms","phone_number":"'"$number"'"}'
    is 422 '{message: "Phone number is invalid: \u0027\($number)\u0027", code: "invalid_phone_number"}' --arg number "$number"
  done
  echo "422 invalid_phone_number"
}
step "bad phone number" bad_phone_number

bad_input() {
  while read -r field reason bad; do
    call POST /auth/factors/enroll "$bad"
    invalid "$field" "${field}_$reason"
  done <<'REQUESTS'
phone_number required {"type":"sms"}
phone_number required {"type":"sms","phone_number":""}
phone_number required {"type":"sms","phone_number":null}
type unsupported {"type":"hotp"}
type unsupported {"type":"none"}
type required {}
type required {"type":null}
totp_issuer invalid_characters {"type":"totp","totp_issuer":"line\nbreak"}
totp_user invalid_characters {"type":"totp","totp_user":"line\nbreak"}
totp_issuer not_a_string {"type":"totp","totp_issuer":1}
REQUESTS
  phone
  enroll '{"type":"sms","phone_number":"'"$phone"'"}'
  call POST "/auth/factors/$factor/challenge" '{"sms_template":"no place for it"}'
  invalid sms_template sms_template_missing_code
  call POST /auth/factors/challenge '{}'
  invalid authentication_factor_id authentication_factor_id_required
  call POST /auth/factors/verify '{"code":"123456"}'
  invalid authentication_challenge_id authentication_challenge_id_required
  challenge
  call POST "/auth/challenges/$challenge/verify" '{}'
  invalid code code_required
  call POST /auth/factors/enroll '{"type":'
  same status "$status" 400
  same code "$(the .code)" invalid_json
  echo "422 invalid_request_parameters, with a list of errors"
}
step "bad input" bad_input

# is_unauthorized checks a 401. It must have no code: libraries recognize other errors
# by their code.
is_unauthorized() {
  same "the answer" "$status $body" '401 {"message":"Unauthorized"}'
}

bad_api_key() {
  enroll_totp
  challenge
  right=$(app_code "$secret")
  key=sk_test_wrong
  while read -r method path bad; do
    call "$method" "$path" "$bad"
    is_unauthorized
  done <<REQUESTS
POST /auth/factors/enroll {"type":"totp"}
GET /auth/factors/$factor
DELETE /auth/factors/$factor
POST /auth/factors/$factor/challenge {}
POST /auth/factors/challenge {"authentication_factor_id":"$factor"}
POST /auth/challenges/$challenge/verify {"code":"$right"}
POST /auth/factors/verify {"authentication_challenge_id":"$challenge","code":"$right"}
POST /user_management/users/user_1/auth_factors {"type":"totp"}
GET /user_management/users/user_1/auth_factors
REQUESTS
  for authorization in "Authorization:" "Authorization: Bearer" "Authorization: Basic $COUNTERSIGN_API_KEY" "Authorization: $COUNTERSIGN_API_KEY"; do
    status=$(curl --silent --show-error --header "$authorization" --output "$scratch/body" --write-out '%{http_code}' "$at/auth/factors/$factor")
    body=$(<"$scratch/body")
    is_unauthorized
  done
  echo '401 {"message":"Unauthorized"}, from every call'
}
step "bad API key" bad_api_key

another_environment() {
  enroll '{"type":"generic_otp"}'
  at=$COUNTERSIGN_BRIEF_URL
  key=$COUNTERSIGN_BRIEF_API_KEY
  call GET "/auth/factors/$factor"
  not_found "Authentication Factor" "$factor"
  call DELETE "/auth/factors/$factor"
  not_found "Authentication Factor" "$factor"
}
step "another environment" another_environment

too_many_messages() {
  phone
  enroll '{"type":"sms","phone_number":"'"$phone"'"}'
  challenge
  call POST "/auth/factors/$factor/challenge" '{}'
  local wait
  wait=$(header Retry-After)
  [[ $wait =~ ^[0-9]+$ && $wait -ge 1 && $wait -le 30 ]]
  is 429 '{message: "Too many messages to this phone number. Try again later.", code: "sms_challenge_rate_limited", $retry_after}' \
    --argjson retry_after "$wait"
  same "the number of messages" "$(messages "$phone" | jq length)" 1
  echo "429, with Retry-After"
}
step "too many messages to a number" too_many_messages
