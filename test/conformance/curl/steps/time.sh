# Steps about time, on a server whose challenges expire at once and whose phone numbers
# wait only one second between messages.

# expire TYPE
expire() {
  at=$COUNTERSIGN_BRIEF_URL
  key=$COUNTERSIGN_BRIEF_API_KEY
  enroll '{"type":"'"$1"'"}'
  secret=$(the '.totp.secret // ""')
  challenge
  local expires
  expires=$(the .expires_at)
  # Times in this format sort like text.
  until [[ $(date --utc +%FT%T.%3NZ) > $expires ]]; do
    sleep 0.01
  done
  if [[ $1 == totp ]]; then
    code=$(app_code "$secret")
  fi
  [[ $code =~ ^[0-9]{6}$ ]]
  verify "$code"
  is 422 '{code: "authentication_challenge_expired", message: "The authentication challenge \u0027\($id)\u0027 has expired."}' \
    --arg id "$challenge"
  echo "the right code, too late: 422 authentication_challenge_expired"
}
expire_totp() { expire totp; }
expire_generic_otp() { expire generic_otp; }
step "expiry of totp" expire_totp
step "expiry of generic_otp" expire_generic_otp

wait_for_a_message() {
  at=$COUNTERSIGN_BRIEF_NETWORK_URL
  key=$COUNTERSIGN_BRIEF_API_KEY
  phone
  enroll '{"type":"sms","phone_number":"'"$phone"'"}'
  challenge
  call POST "/auth/factors/$factor/challenge" '{}' --retry 3 --header "Idempotency-Key: $(new_uuid)"
  same status "$status" 201
  same "the tries" "$(tries '.[-3:] | map({status, key: (.key != "")} | "\(.status) \(.key)")')" '["201 false","429 true","201 true"]'
  [[ $(tries '.[-2].reply_headers[] | select(.[0] == "Retry-After") | .[1]') == [1-3] ]]
  same "the number of keys" "$(tries '.[-2:] | map(.key) | unique | length')" 1
  at=$COUNTERSIGN_BRIEF_URL
  same "the number of messages" "$(messages "$phone" | jq length)" 2
  echo "with --retry: waits as Retry-After says, tries again with the same key, and the message goes out"
}
step "too many messages, then waiting" wait_for_a_message
