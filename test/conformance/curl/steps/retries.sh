# Networks fail after the server has acted. A call that is repeated for this reason must
# not act twice.

# lost WHAT METHOD PATH BODY [OPTION...] sends a request. The network loses the first
# reply or the first request, and curl tries again with the same key.
lost() {
  lose "$1"
  at=$COUNTERSIGN_NETWORK_URL call "${@:2:3}" --retry 3 --retry-all-errors --header "Idempotency-Key: $(new_uuid)" "${@:5}"
  same "the lost messages" "$(tries 'map(.lost)')" '["'"$1"'",""]'
  same "the number of different requests" "$(tries 'map({method, path, body, key}) | unique | length')" 1
  if [[ $1 == reply ]]; then
    same "the number of different answers" "$(tries 'map({status, reply_body}) | unique | length')" 1
    same Idempotency-Replayed "$(header Idempotency-Replayed)" true
  fi
}

lost_enroll() {
  # Without --retry curl tries once. It exits with 52 if it receives no reply.
  lose reply
  local code=0
  curl --silent --header "Authorization: Bearer $key" --data '{"type":"generic_otp"}' "$COUNTERSIGN_NETWORK_URL/auth/factors/enroll" || code=$?
  same "the exit code of curl" "$code" 52
  same "the lost messages" "$(tries 'map(.lost)')" '["reply"]'

  lost reply POST /auth/factors/enroll '{"type":"totp"}'
  factor=$(the .id) secret=$(the .totp.secret)
  challenge
  verify "$(app_code "$secret")"
  answers true
  echo "with --retry --retry-all-errors and a key: the same factor, secret and all"
}
step "lost reply: enroll" lost_enroll

# one_of USER checks that the factor in the last answer is the only factor of the user.
one_of() {
  factor=$(the .authentication_factor.id)
  secret=$(the .authentication_factor.totp.secret)
  challenge=$(the .authentication_challenge.id)
  asked=$(the .authentication_challenge)
  list "$1"
  same "the factors of the user" "$(the '.data | map(.id)')" '["'"$factor"'"]'
  verify "$(app_code "$secret")"
  answers true
}

lost_reply_for_a_user() {
  local user
  user=$(new_user)
  lost reply POST "/user_management/users/$user/auth_factors" '{"type":"totp"}'
  one_of "$user"
  echo "exactly one factor and one challenge"
}
step "lost reply: enroll for a user" lost_reply_for_a_user

lost_request_for_a_user() {
  local user
  user=$(new_user)
  lost request POST "/user_management/users/$user/auth_factors" '{"type":"totp"}'
  one_of "$user"
}
step "lost request: enroll for a user" lost_request_for_a_user

lost_challenge_of_sms() {
  phone
  enroll '{"type":"sms","phone_number":"'"$phone"'"}'
  lost reply POST "/auth/factors/$factor/challenge" '{}'
  challenge=$(the .id) asked=$body
  code_for "$phone"
  verify "$code"
  answers true
  echo "exactly one message"
}
step "lost reply: challenge sms" lost_challenge_of_sms

lost_challenge() {
  enroll '{"type":"generic_otp"}'
  lost reply POST "/auth/factors/$factor/challenge" '{}'
  challenge=$(the .id) asked=$body
  verify "$(the .code)"
  answers true
  echo "the same challenge, with the same code"
}
step "lost reply: challenge generic_otp" lost_challenge

lost_right_code() {
  open_generic_otp
  lost reply POST "/auth/challenges/$challenge/verify" '{"code":"'"$right"'"}'
  answers true
  verify "$right"
  previously_verified
  echo "valid true both times; a new call: 422"
}
step "lost reply: right code" lost_right_code

lost_wrong_code() {
  open_generic_otp
  lost reply POST "/auth/challenges/$challenge/verify" '{"code":"'"$wrong"'"}'
  answers false
  for attempt in 2 3 4 5; do
    verify "$wrong"
    answers false
  done
  verify "$wrong"
  too_many_attempts
  echo "counted once"
}
step "lost reply: wrong code" lost_wrong_code

lost_delete() {
  enroll '{"type":"generic_otp"}'
  lose reply
  at=$COUNTERSIGN_NETWORK_URL call DELETE "/auth/factors/$factor" "" --retry 3 --retry-all-errors
  not_found "Authentication Factor" "$factor"
  same "the statuses" "$(tries 'map(.status)')" '[204,404]'
  call GET "/auth/factors/$factor"
  not_found "Authentication Factor" "$factor"
  echo "deleted; the second try is 404"
}
step "lost reply: delete" lost_delete

own_key() {
  local user own first
  user=$(new_user)
  own="Idempotency-Key: $(new_uuid)"
  call POST /auth/factors/enroll '{"type":"totp","user_id":"'"$user"'"}' --header "$own"
  same "status, and whether it was replayed" "$status $(header Idempotency-Replayed)" "201 "
  first=$body
  call POST /auth/factors/enroll '{"type":"totp","user_id":"'"$user"'"}' --header "$own"
  same "status, and whether it was replayed" "$status $(header Idempotency-Replayed)" "201 true"
  same "the second answer" "$body" "$first"
  list "$user"
  same "the factors of the user" "$(the '.data | map(.id)')" "$(object "$first" '[.id]')"
  call POST /auth/factors/enroll '{"type":"generic_otp","user_id":"'"$user"'"}' --header "$own"
  is 422 '{code: "idempotency_error",
    message: "This Idempotency-Key was used before: with another request, for a factor that was deleted, or for a secret that is no longer shown."}'
  echo "twice the same answer; another body: 422 idempotency_error"
}
step "own idempotency key" own_key

own_key_at_once() {
  local user
  user=$(new_user)
  at_once 8 POST /auth/factors/enroll '{"type":"totp","user_id":"'"$user"'"}' 1 --header "Idempotency-Key: $(new_uuid)"
  same "the statuses" "$(uniq --count "$scratch/race.status" | tr -d ' ')" 8201
  for answer in "$scratch"/race.[1-8]; do
    cmp "$answer" "$scratch/race.1" >&2
  done
  list "$user"
  same "the factors of the user" "$(the '.data | map(.id)')" "$(jq --compact-output '[.id]' "$scratch/race.1")"
}
step "own idempotency key, eight at once" own_key_at_once
