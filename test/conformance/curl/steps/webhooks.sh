# Signatures of webhooks are checked before the body is read.

# accepts SECRET SIGNATURE BODY checks a signature as a receiver does. The signature
# covers the time in milliseconds and the bytes of the body.
accepts() {
  [[ $2 =~ ^t=([0-9]+),\ v1=([0-9a-f]{64})$ ]] || return 1
  local time=${BASH_REMATCH[1]} signature=${BASH_REMATCH[2]} age sum
  age=$(($(date +%s%3N) - time))
  [[ $age -lt 180000 && $age -gt -180000 ]] || return 1
  sum=$(printf '%s.%s' "$time" "$3" | openssl dgst -sha256 -hmac "$1" -r)
  [[ ${sum%% *} == "$signature" ]]
}

webhook() {
  local delivery secret body signature
  delivery=$(curl --silent --show-error --fail "$COUNTERSIGN_NETWORK_URL/-/webhook")
  part() { jq --raw-output ".$1" <<<"$delivery"; }
  secret=$(part secret)
  secrets "$secret"
  body=$(part body)
  signature=$(part signature)
  accepts "$secret" "$signature" "$body"
  same "the event" "$(the '[.event, .data.status, .data.email]')" '["authentication.mfa_succeeded","succeeded","user@example.com"]'

  ! accepts "$secret" "$signature" "${body/succeeded/failed}" || fail "an altered body was accepted"
  ! accepts "$secret" "$(part stale)" "$body" || fail "a stale signature was accepted"
  ! accepts "$secret" "$(part forged)" "$body" || fail "a forged signature was accepted"
  echo "checked by openssl dgst"
}
step "webhook signature" webhook
