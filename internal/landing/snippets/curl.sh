set -euo pipefail

# Point curl at your server; nothing else changes.
workos() {
  curl --silent --show-error --fail-with-body "$COUNTERSIGN_URL$1" \
    --header "Authorization: Bearer $COUNTERSIGN_API_KEY" --json "$2"
}

# Once: enroll. Store .id with your user, and show .totp.qr_code.
factor=$(workos /auth/factors/enroll '{"type":"totp","totp_issuer":"Example","totp_user":"user@example.com"}')
jq --raw-output .totp.uri <<<"$factor"

# At each sign-in: challenge, ask for the code, verify.
challenge=$(workos "/auth/factors/$(jq --raw-output .id <<<"$factor")/challenge" '{}')
read -rp "Code: " code
result=$(workos "/auth/challenges/$(jq --raw-output .id <<<"$challenge")/verify" "$(jq --null-input '{$code}' --arg code "$code")")
if [[ $(jq .valid <<<"$result") == true ]]; then
  echo "Signed in."
else
  echo "Wrong code."
fi
