# Challenge and verify.

# is_challenge [CODE] checks the last answer, a new challenge of $factor.
is_challenge() {
  [[ $challenge =~ ^auth_challenge_$ulid$ ]]
  local created expires
  created=$(date --date "$(the .created_at)" +%s%3N)
  expires=$(date --date "$(the .expires_at)" +%s%3N)
  same "the time to answer, in ms" $((expires - created)) 600000
  same "updated_at" "$(the .updated_at)" "$(the .created_at)"
  # An sms challenge also contains the state of its message.
  [[ $(the '.sms | if . then [.status, .segments, .resends_left] else null end') == @('["queued",1,3]'|null) ]]
  body=$(object "$body" 'del(.id, .created_at, .updated_at, .expires_at, .sms)')
  is 201 '{object: "authentication_challenge", authentication_factor_id: $factor} + if $code == "" then {} else {$code} end' \
    --arg factor "$factor" --arg code "${1-}"
}

challenge_totp() {
  enroll_totp
  # Bodies that clients send for a request without parameters.
  for nothing in '' '{}' null '[]' '{"sms_template":null}'; do
    challenge "$nothing"
    is_challenge
  done
  echo "no code; expires in ten minutes"
}
step "challenge totp" challenge_totp

# For each type: a factor with an open challenge; $right is its code, $wrong is not.
open_totp() {
  enroll_totp
  challenge '{}'
  right=$(app_code "$secret")
  wrong=$(wrong_app_code "$secret")
}
open_sms() {
  phone
  enroll '{"type":"sms","phone_number":"'"$phone"'"}'
  challenge '{}'
  code_for "$phone"
  right=$code
  wrong=$(other_than "$code")
}
open_generic_otp() {
  enroll '{"type":"generic_otp"}'
  challenge '{}'
  right=$code
  wrong=$(other_than "$code")
}

challenge_sms() {
  open_sms
  is_challenge
  local sent
  sent=$(messages "$phone")
  same "the message" "$(object "$sent" '.[0] | del(.sent_at)')" \
    "$(object null '{$to, $code, text: "Your verification code is: \($code)"}' --arg to "$phone" --arg code "$right")"
  echo "the code goes only to the phone"
}
step "challenge sms" challenge_sms

# text_of TEMPLATE prints the text of a message.
text_of() {
  phone
  enroll '{"type":"sms","phone_number":"'"$phone"'"}'
  challenge "$(jq --null-input '{sms_template: $template}' --arg template "$1")"
  code_for "$phone"
  jq --raw-output '.[0].text' "$scratch/messages"
}

challenge_with_a_template() {
  local text
  text=$(text_of '<b>Förde & Søn</b>: {{code}} 🔑')
  [[ $text =~ ^'<b>Förde & Søn</b>: '[0-9]{6}' 🔑'$ ]]
  same "its code" "$(jq --raw-output '.[0].code' "$scratch/messages")" "$(grep --only-matching '[0-9]\{6\}' <<<"$text")"
}
step "challenge sms with a template" challenge_with_a_template

challenge_with_an_empty_template() {
  local text
  text=$(text_of "")
  [[ $text =~ ^'Your verification code is: '[0-9]{6}$ ]]
  echo "means the default text"
}
step "challenge sms with an empty template" challenge_with_an_empty_template

challenge_generic_otp() {
  open_generic_otp
  [[ $code =~ ^[0-9]{6}$ ]]
  is_challenge "$code"
  echo "with its code, for the caller to deliver"
}
step "challenge generic_otp" challenge_generic_otp

# verify_any tries codes on $challenge until it is verified.
verify_any() {
  for try in "$wrong" "" 12345 abcdef; do
    verify "$try"
    answers false
  done
  verify "$right"
  answers true
  for try in "$right" "$wrong"; do
    verify "$try"
    previously_verified
  done
  echo "wrong: valid false; right: valid true; again: 422 authentication_challenge_previously_verified"
}
verify_totp() { open_totp; verify_any; }
verify_sms() { open_sms; verify_any; }
verify_generic_otp() { open_generic_otp; verify_any; }
step "verify totp" verify_totp
step "verify sms" verify_sms
step "verify generic_otp" verify_generic_otp

verify_with_spaces() {
  open_generic_otp
  verify " ${right:0:3} ${right:3} "
  answers true
}
step "verify a code with spaces" verify_with_spaces

# The older path, which names the challenge in the body.
verify_by_body() {
  call POST /auth/factors/verify '{"authentication_challenge_id":"'"$challenge"'","code":"'"$1"'"}'
}
verify_on_the_older_paths() {
  enroll_totp
  call POST /auth/factors/challenge '{"authentication_factor_id":"'"$factor"'","sms_template":null}'
  challenge=$(the .id)
  asked=$body
  is_challenge
  right=$(app_code "$secret")
  verify_by_body "$(wrong_app_code "$secret")"
  answers false
  verify_by_body "$right"
  answers true
  verify_by_body "$right"
  previously_verified
  echo "POST /auth/factors/challenge and /auth/factors/verify, the paths of 2022"
}
step "verify by the deprecated method" verify_on_the_older_paths

spend_a_code() {
  enroll_totp
  challenge
  local first=$challenge first_asked=$asked
  challenge
  local second=$challenge second_asked=$asked
  right=$(app_code "$secret")
  challenge=$first asked=$first_asked
  verify "$right"
  answers true
  challenge=$second asked=$second_asked
  verify "$right"
  answers false
  verify "$(app_code "$secret" '30 seconds')"
  answers true
  echo "on another challenge: valid false; the next code: valid true"
}
step "a totp code is spent once" spend_a_code

race() {
  open_generic_otp
  at_once 8 POST "/auth/challenges/$challenge/verify" '{"code":"'"$right"'"}'
  same "the statuses" "$(sort "$scratch/race.status" | tr '\n' ' ')" "201 422 422 422 422 422 422 422 "
  for answer in "$scratch"/race.[1-8]; do
    body=$(<"$answer")
    if [[ $(the .valid) == true ]]; then
      status=201
      answers true
    else
      status=422
      previously_verified
    fi
  done
}
step "of eight racing right codes one wins" race

# fail_challenge TIMES tries wrong codes on a new challenge of $factor.
fail_challenge() {
  challenge
  for ((i = 0; i < $1; i++)); do
    verify "$(other_than "$code")"
    answers false
  done
}

too_many_on_a_challenge() {
  enroll '{"type":"generic_otp"}'
  fail_challenge 5
  for try in "$code" "$(other_than "$code")"; do
    verify "$try"
    too_many_attempts
    same Retry-After "$(header Retry-After)" ""
  done
  challenge
  verify "$code"
  answers true
  echo "the sixth: 400 one_time_code_too_many_attempts; a new challenge works"
}
step "too many attempts on a challenge" too_many_on_a_challenge

too_many_of_a_factor() {
  enroll '{"type":"generic_otp"}'
  fail_challenge 5
  fail_challenge 1
  verify "$code"
  local wait
  wait=$(the .retry_after)
  [[ $wait -ge 1 && $wait -le 30 ]]
  same Retry-After "$(header Retry-After)" "$wait"
  body=$(object "$body" 'del(.retry_after)')
  too_many_attempts
  echo "the factor has to wait: 400 one_time_code_too_many_attempts, with retry_after"
}
step "too many failures of a factor" too_many_of_a_factor
