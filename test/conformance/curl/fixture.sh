# The environment of the steps: one server, called with curl.

at=$COUNTERSIGN_URL
key=$COUNTERSIGN_API_KEY

uuid='[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'
ulid='[0-9A-HJKMNP-TV-Z]{26}'

# call METHOD PATH [BODY [OPTION...]] sends a request, and leaves the answer in
# $status, $headers and $body. It checks the properties that all answers share.
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
    # If an answer without a body has a content type, some libraries try to read a body.
    [[ -z $(header Content-Type) && $(header Content-Length) =~ ^0?$ ]]
  else
    body=$(<"$scratch/body")
    [[ $(header Content-Type) == 'application/json; charset=utf-8' ]]
    learn "$body"
  fi
  # The name is in lower case because one library finds only that spelling.
  [[ $(grep '^x-request-id: ' <<<"$headers" | tail -n 1) =~ ^x-request-id:\ $uuid$ ]]
}

# header NAME prints a header of the last answer. After a retry $headers contains the
# headers of several answers.
header() {
  sed -n "s/^$1: //Ip" <<<"$headers" | tail -n 1
}

# learn reports the secrets in an answer. 404 and 422 also have a field "code", but it
# contains words.
learn() {
  jq --compact-output '[.. | objects | (.secret?, .phone_number?, .to?, (.code? | strings | select(test("^[0-9]{6}$")))) // empty]
    | select(. != []) | {secrets: .}' <<<"$1" >&3
}

# is STATUS EXPECTED [OPTION...] checks the last answer, without the state of a factor, which
# changes. EXPECTED is a jq filter, and OPTIONs are passed to jq.
is() {
  local want got
  local stateless='if type == "object" and has("last_used_at") then del(.last_used_at, .status) else . end'
  want=$(jq --null-input --compact-output --sort-keys "${@:3}" "$2 | $stateless")
  got=$(jq --compact-output --sort-keys "$stateless" <<<"$body")
  [[ $status == "$1" && $got == "$want" ]] || fail "$(printf 'answered %s %s\nwant     %s %s' "$status" "$got" "$1" "$want")"
}

# same WHAT GOT WANT
same() {
  [[ $2 == "$3" ]] || fail "$(printf '%s is %s\nwant %s' "$1" "$2" "$3")"
}

# the FILTER prints the result of a jq filter on the last answer.
the() {
  jq --raw-output --compact-output "$1" <<<"$body"
}

# object JSON FILTER [OPTION...] prints JSON as changed by a jq filter, with sorted keys.
object() {
  jq --compact-output --sort-keys "${@:3}" "$2" <<<"$1"
}

# enroll BODY enrolls a factor, and leaves it in $body and its id in $factor.
enroll() {
  call POST /auth/factors/enroll "$1"
  same status "$status" 201
  factor=$(the .id)
}

# enroll_totp enrolls a factor; the steps can compute its codes from $secret.
enroll_totp() {
  enroll '{"type":"totp","totp_issuer":"Foo Corp","totp_user":"user@example.com"}'
  secret=$(the .totp.secret)
}

# challenge [BODY] creates a challenge of $factor. $challenge is its id, $asked is the
# whole challenge, and $code is its code if the challenge shows one.
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

# answers VALID checks the reply to a code. The reply repeats the challenge in its
# current state; the state of its message may have changed.
answers() {
  same status "$status" 201
  same "the answer" "$(object "$body" 'del(.challenge.updated_at, .challenge.sms, .reason)')" \
    "$(object "$asked" '{challenge: del(.updated_at, .sms), $valid}' --argjson valid "$1")"
  [[ ! $(the .challenge.updated_at) < $(jq --raw-output .updated_at <<<"$asked") ]]
}

# The exact texts of refusals.
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

# invalid FIELD CODE checks a refusal for one wrong field, with its message.
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

# wrong_app_code SECRET prints a code that is wrong for the secret at all times near now.
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

# phone sets $phone to a number that has not received a message yet. Steps run in
# separate shells, so a file contains the next number.
phone() {
  local next
  next=$(cat "$scratch/phone" 2>/dev/null || echo 100)
  echo $((next + 1)) >"$scratch/phone"
  phone=+12025550$next
  secrets "$phone"
}

# messages prints the inbox for a number, newest first.
messages() {
  curl --silent --show-error --fail --get --header 'Accept: application/json' \
    --data-urlencode "to=$1" "$at/dev/inbox" | jq --compact-output .messages >"$scratch/messages"
  learn "$(<"$scratch/messages")"
  cat "$scratch/messages"
}

# code_for sets $code to the code of the only message to a number.
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
# $scratch/race.1 and following. The fragment of a URL is not sent.
at_once() {
  local last=$(($1 * ${5-1}))
  rm -f "$scratch"/race.*
  curl --silent --show-error --max-time 60 --parallel --parallel-immediate --parallel-max "$1" --request "$2" \
    --header "Authorization: Bearer $key" --header 'Content-Type: application/json' --data-binary "$4" \
    --write-out '%{http_code}\n' --output "$scratch/race.#1" "${@:6}" "$at$3#[1-$last]" >"$scratch/race.status"
  learn "$(cat "$scratch"/race.[0-9]*)"
}

# lose WHAT makes the network lose the next "request", or the "reply" to it.
# ../network_test.go documents all commands.
lose() {
  curl --silent --show-error --fail --request POST --output /dev/null "$(network)/-/lose-$1"
}

# tries FILTER prints the result of a jq filter on the list of requests over the network.
tries() {
  local sent
  sent=$(curl --silent --show-error --fail "$(network)/-/tries")
  learn "$(jq '[.[].reply_body | fromjson?]' <<<"$sent")"
  jq --raw-output --compact-output "$1" <<<"$sent"
}

# network prints the address of the network in front of the current server.
network() {
  if [[ $at == "$COUNTERSIGN_BRIEF_URL" || $at == "$COUNTERSIGN_BRIEF_NETWORK_URL" ]]; then
    echo "$COUNTERSIGN_BRIEF_NETWORK_URL"
  else
    echo "$COUNTERSIGN_NETWORK_URL"
  fi
}
