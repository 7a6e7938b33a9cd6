# Factors of users.

# enroll_for USER BODY leaves the factor in $enrolled, and sets the same variables as
# challenge for its challenge.
enroll_for() {
  call POST "/user_management/users/$1/auth_factors" "$2"
  same status "$status" 201
  same "the keys" "$(the keys)" '["authentication_challenge","authentication_factor"]'
  enrolled=$(the .authentication_factor)
  factor=$(the .authentication_factor.id)
  secret=$(the .authentication_factor.totp.secret)
  asked=$(the .authentication_challenge)
  challenge=$(the .authentication_challenge.id)
}

enroll_for_a_user() {
  local user
  user=$(new_user)
  enroll_for "$user" '{"type":"totp","totp_issuer":"Foo Corp","totp_user":"user@foo-corp.com"}'
  shows "$(the .authentication_factor.totp.qr_code)" "$(the .authentication_factor.totp.uri)"
  body=$(object "$enrolled" 'del(.id, .created_at, .updated_at, .totp.qr_code)')
  is 201 '{object: "authentication_factor", type: "totp", $user_id, totp: {issuer: "Foo Corp", user: "user@foo-corp.com", $secret,
    uri: "otpauth://totp/Foo%20Corp:user@foo-corp.com?secret=\($secret)&issuer=Foo%20Corp"}}' --arg user_id "$user" --arg secret "$secret"
  status=201 body=$asked
  is_challenge
  verify "$(app_code "$secret")"
  answers true
  echo "factor and challenge in one call"
}
step "enroll for a user" enroll_for_a_user

enroll_for_a_user_without_names() {
  enroll_for "$(new_user)" '{"type":"totp"}'
  [[ $(the .authentication_factor.totp.issuer) != "" && $(the .authentication_factor.totp.user) != "" ]]
}
step "enroll for a user without names" enroll_for_a_user_without_names

enroll_with_a_secret() {
  local own=JBSWY3DPEHPK3PXPJBSWY3DPEE form
  secrets "$own"
  for form in "$own" "${own,,}" "$(sed 's/..../& /g' <<<"$own")" "$own======"; do
    enroll_for "$(new_user)" '{"type":"totp","totp_secret":"'"$form"'"}'
    same "the secret for $form" "$secret" "$own"
    verify "$(app_code "$own")"
    answers true
  done
  call POST "/user_management/users/$(new_user)/auth_factors" '{"type":"totp","totp_secret":"JBSWY3DP"}'
  invalid totp_secret totp_secret_too_short
  call POST "/user_management/users/$(new_user)/auth_factors" '{"type":"totp","totp_secret":"01189998819991197253"}'
  invalid totp_secret totp_secret_not_base32
  echo "in lower case, with spaces, with padding; a short or foreign one: 422 invalid_request_parameters"
}
step "enroll for a user with a secret" enroll_with_a_secret
