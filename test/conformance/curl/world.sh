# What the steps work with: one server, asked by curl.

at=$COUNTERSIGN_URL
key=$COUNTERSIGN_API_KEY

uuid='[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'
ulid='[0-9A-HJKMNP-TV-Z]{26}'

# call METHOD PATH [BODY [OPTION...]] sends a request, and leaves the answer in
# $status, $headers and $body. It checks what all answers have in common.
call() {
  local method=$1 path=$2 options=("${@:4}")
  if [[ $# -ge 3 && $3 != "" ]]; then
    options+=(--header 'Content-Type: application/json' --data-binary "$3")
  fi
  status=$(curl --silent --show-error --max-time 60 --request "$method" \
    --header "Authorization: Bearer $key" --dump-header "$scratch/headers" --output "$scratch/body" \
    --write-out '%{http_code}' "${options[@]}" "$at$path")
  headers=$(tr -d '\r' <"$scratch/headers")
  body=
  if [[ $status == 204 ]]; then
    # A type without a body makes some libraries read a body that is not there.
    [[ -z $(header Content-Type) && $(header Content-Length) =~ ^0?$ ]]
  else
    body=$(<"$scratch/body")
    [[ $(header Content-Type) == 'application/json; charset=utf-8' ]]
    learn "$body"
  fi
  # In lower case, since one library looks for nothing else.
  [[ $(grep '^x-request-id: ' <<<"$headers" | tail -n 1) =~ ^x-request-id:\ $uuid$ ]]
}

# header NAME prints a header of the last answer. After a retry there are the
# headers of more than one.
header() {
  sed -n "s/^$1: //Ip" <<<"$headers" | tail -n 1
}

# learn reports the secrets in an answer. 404 and 422 have codes as well, which are
# words.
learn() {
  jq --compact-output '[.. | objects | (.secret?, .phone_number?, .to?, (.code? | strings | select(test("^[0-9]{6}$")))) // empty]
    | select(. != []) | {secrets: .}' <<<"$1" >&3
}

# is STATUS EXPECTED [OPTION...] checks the last answer. EXPECTED is written for jq,
# with the options that it needs.
is() {
  local want got
  want=$(jq --null-input --compact-output --sort-keys "${@:3}" "$2")
  got=$(jq --compact-output --sort-keys . <<<"$body")
  [[ $status == "$1" && $got == "$want" ]] || fail "$(printf 'answered %s %s\nwant     %s %s' "$status" "$got" "$1" "$want")"
}

# same WHAT GOT WANT
same() {
  [[ $2 == "$3" ]] || fail "$(printf '%s is %s\nwant %s' "$1" "$2" "$3")"
}

# the FILTER prints what jq finds in the last answer.
the() {
  jq --raw-output --compact-output "$1" <<<"$body"
}

# object JSON FILTER [OPTION...] prints JSON changed by jq, with its keys in order.
object() {
  jq --compact-output --sort-keys "${@:3}" "$2" <<<"$1"
}

# enroll BODY makes a factor, and leaves it in $body and its id in $factor.
enroll() {
  call POST /auth/factors/enroll "$1"
  same status "$status" 201
  factor=$(the .id)
}

# enroll_totp enrolls a factor whose codes the steps can compute from $secret.
enroll_totp() {
  enroll '{"type":"totp","totp_issuer":"Foo Corp","totp_user":"user@example.com"}'
  secret=$(the .totp.secret)
}

# challenge [BODY] makes a challenge of $factor: $challenge is its id, $asked all of
# it, and $code what it says, if it does.
challenge() {
  call POST "/auth/factors/$factor/challenge" "${1-}"
  same status "$status" 201
  challenge=$(the .id)
  code=$(the '.code // ""')
  asked=$body
}

# verify CODE
verify() {
  call POST "/auth/challenges/$challenge/verify" "$(jq --null-input '{code: $code}' --arg code "$1")"
}

# answers VALID checks the reply to a code. It repeats the challenge, as it is now;
# its message has come further meanwhile.
answers() {
  same status "$status" 201
  same "the answer" "$(object "$body" 'del(.challenge.updated_at, .challenge.sms)')" \
    "$(object "$asked" '{challenge: del(.updated_at, .sms), $valid}' --argjson valid "$1")"
  [[ ! $(the .challenge.updated_at) < $(jq --raw-output .updated_at <<<"$asked") ]]
}

# The refusals, word for word.
not_found() { # WHAT ID
  is 404 '{message: "\($what) not found: \u0027\($id)\u0027.", code: "entity_not_found", entity_id: $id}' --arg what "$1" --arg id "$2"
}

previously_verified() {
  is 422 '{code: "authentication_challenge_previously_verified",
    message: "The authentication challenge \u0027\($id)\u0027 has already been verified."}' --arg id "$challenge"
}

too_many_attempts() {
  is 400 '{code: "one_time_code_too_many_attempts", message: "Request could not be processed."}'
}

# invalid FIELD CODE: the one thing that is wrong, with a sentence about it.
invalid() {
  [[ $(the '.errors[0].message') == *" "* ]]
  body=$(object "$body" 'del(.errors[].message)')
  is 422 '{message: "Validation failed", code: "invalid_request_parameters", errors: [{field: $field, code: $code}]}' \
    --arg field "$1" --arg code "$2"
}

# app_code SECRET [TIME] prints what an authenticator app would show.
app_code() {
  local shown
  shown=$(oathtool --totp --base32 --now "${2-now}" "$1")
  secrets "$shown"
  echo "$shown"
}

# wrong_app_code SECRET prints a code that the secret has at no time near now.
wrong_app_code() {
  local near
  near=$(oathtool --totp --base32 --now '90 seconds ago' --window 6 "$1")
  for try in 000000 111111 222222 333333 444444 555555 666666 777777; do
    grep --quiet "$try" <<<"$near" || break
  done
  echo "$try"
}

# other_than CODE prints another code.
other_than() {
  printf '%06d' $(((10#$1 + 1) % 1000000))
}

# phone sets $phone to a number that had no message yet. Steps run in shells of their
# own, so that the next one is in a file.
phone() {
  local next
  next=$(cat "$scratch/phone" 2>/dev/null || echo 100)
  echo $((next + 1)) >"$scratch/phone"
  phone=+12025550$next
  secrets "$phone"
}

# messages prints what the inbox has for a number, newest first.
messages() {
  curl --silent --show-error --fail --get --header 'Accept: application/json' \
    --data-urlencode "to=$1" "$at/dev/inbox" | jq --compact-output .messages >"$scratch/messages"
  learn "$(<"$scratch/messages")"
  cat "$scratch/messages"
}

# code_for sets $code to that of the only message to a number.
code_for() {
  local inbox
  inbox=$(messages "$1")
  same "the number of messages" "$(jq length <<<"$inbox")" 1
  code=$(jq --raw-output '.[0].code' <<<"$inbox")
  [[ $code =~ ^[0-9]{6}$ ]]
}

new_uuid() {
  cat /proc/sys/kernel/random/uuid
}

new_user() {
  echo "user_$(new_uuid)"
}

# at_once N METHOD PATH BODY [TIMES [OPTION...]] sends a request N * TIMES times over N
# connections, and leaves the statuses in $scratch/race.status and the answers in
# $scratch/race.1 and on. A fragment of a URL is not sent.
at_once() {
  local last=$(($1 * ${5-1}))
  rm -f "$scratch"/race.*
  curl --silent --show-error --max-time 60 --parallel --parallel-immediate --parallel-max "$1" --request "$2" \
    --header "Authorization: Bearer $key" --header 'Content-Type: application/json' --data-binary "$4" \
    --write-out '%{http_code}\n' --output "$scratch/race.#1" "${@:6}" "$at$3#[1-$last]" >"$scratch/race.status"
  learn "$(cat "$scratch"/race.[0-9]*)"
}

# lose WHAT makes the network lose the "request" that comes next, or the "reply" to
# it. ../network_test.go has all that it understands.
lose() {
  curl --silent --show-error --fail --request POST --output /dev/null "$(network)/-/lose-$1"
}

# tries FILTER prints what jq finds in the list of what was sent over the network.
tries() {
  local sent
  sent=$(curl --silent --show-error --fail "$(network)/-/tries")
  learn "$(jq '[.[].reply_body | fromjson?]' <<<"$sent")"
  jq --raw-output --compact-output "$1" <<<"$sent"
}

# network prints the address of the network before the server that is asked.
network() {
  if [[ $at == "$COUNTERSIGN_BRIEF_URL" || $at == "$COUNTERSIGN_BRIEF_NETWORK_URL" ]]; then
    echo "$COUNTERSIGN_BRIEF_NETWORK_URL"
  else
    echo "$COUNTERSIGN_NETWORK_URL"
  fi
}
