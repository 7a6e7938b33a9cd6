# Enroll, get and delete.

# is_factor TYPE checks the fields that factors of all types have, and leaves in $body
# only the fields that this type adds.
is_factor() {
  same status "$status" 201
  [[ $(the .id) =~ ^auth_factor_$ulid$ ]]
  [[ $(the .created_at) =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$ ]]
  same "the factor" "$(object "$body" '{object, type, updated_at}')" \
    "$(object "$body" '{object: "authentication_factor", type: $type, updated_at: .created_at}' --arg type "$1")"
  body=$(object "$body" 'del(.object, .id, .created_at, .updated_at, .type)')
}

enroll_with_totp() {
  enroll_totp
  [[ $secret =~ ^[A-Z2-7]{32}$ ]]
  local qr_code uri
  qr_code=$(the .totp.qr_code)
  uri=$(the .totp.uri)
  [[ $qr_code =~ ^data:image/png\;base64,[A-Za-z0-9+/]+=?=?$ ]]
  is_factor totp
  body=$(object "$body" 'del(.totp.qr_code)')
  is 201 '{totp: {issuer: "Foo Corp", user: "user@example.com", $secret,
    uri: "otpauth://totp/Foo%20Corp:user@example.com?secret=\($secret)&issuer=Foo%20Corp"}}' --arg secret "$secret"
  shows "$qr_code" "$uri"
  echo "32 base32 characters; the QR code says the URI"
}
step "enroll totp" enroll_with_totp

enroll_without_names() {
  enroll '{"type":"totp"}'
  [[ $(the .totp.issuer) != "" && $(the .totp.user) != "" ]]
  same "the keys" "$(the '.totp | keys')" '["issuer","qr_code","secret","uri","user"]'
}
step "enroll totp without names" enroll_without_names

enroll_sms() {
  local form national
  for form in '+1%s%s%s' '1%s%s%s' '+1 (%s) %s-%s' ' 1.%s.%s.%s '; do
    phone
    national=${phone#+1}
    # shellcheck disable=SC2059 # the forms are formats
    enroll "$(jq --null-input '{type: "sms", phone_number: $number}' \
      --arg number "$(printf "$form" "${national:0:3}" "${national:3:3}" "${national:6}")")"
    is_factor sms
    is 201 '{sms: {phone_number: $phone}}' --arg phone "$phone"
  done
  echo "four forms of a number become E.164"
}
step "enroll sms" enroll_sms

enroll_generic_otp() {
  enroll '{"type":"generic_otp"}'
  is_factor generic_otp
  is 201 '{}'
}
step "enroll generic_otp" enroll_generic_otp

get_a_factor() {
  local enrolled
  phone
  for body in '{"type":"totp"}' '{"type":"sms","phone_number":"'"$phone"'"}' '{"type":"generic_otp"}'; do
    enroll "$body"
    enrolled=$(object "$body" 'if .totp then .totp |= {issuer, user} else . end')
    call GET "/auth/factors/$factor"
    is 200 "$enrolled"
  done
  echo "as it was enrolled, without the secret"
}
step "get a factor" get_a_factor

delete_a_factor() {
  phone
  for body in '{"type":"totp"}' '{"type":"sms","phone_number":"'"$phone"'"}' '{"type":"generic_otp"}'; do
    enroll "$body"
    call DELETE "/auth/factors/$factor"
    same status "$status" 204
    same "the length of the body" "$(stat --format %s "$scratch/body" 2>/dev/null || echo 0)" 0
    call GET "/auth/factors/$factor"
    not_found "Authentication Factor" "$factor"
    call DELETE "/auth/factors/$factor"
    not_found "Authentication Factor" "$factor"
    call POST "/auth/factors/$factor/challenge" '{}'
    not_found "Authentication Factor" "$factor"
  done
  echo "204, without a Content-Type; then get, delete and challenge: 404 entity_not_found"
}
step "delete a factor" delete_a_factor

delete_a_challenged_factor() {
  enroll_totp
  challenge
  call DELETE "/auth/factors/$factor"
  verify "$(app_code "$secret")"
  not_found "Authentication Challenge" "$challenge"
}
step "delete a factor that is challenged" delete_a_challenged_factor
