require "workos"

# Point the library at your server; nothing else changes.
workos = WorkOS::Client.new(
  api_key: ENV.fetch("COUNTERSIGN_API_KEY"),
  base_url: ENV.fetch("COUNTERSIGN_URL"), # http://127.0.0.1:4100
)
mfa = workos.multi_factor_auth

# Once: enroll. Store factor.id with your user, and show factor.totp.qr_code.
factor = mfa.enroll_factor(type: "totp", totp_issuer: "Example", totp_user: "user@example.com")
puts factor.totp.uri

# At each sign-in: challenge, ask for the code, verify.
challenge = mfa.challenge_factor(id: factor.id)
print "Code: "
code = gets.chomp
verification = mfa.verify_challenge(id: challenge.id, code: code)
puts verification.valid ? "Signed in." : "Wrong code."
