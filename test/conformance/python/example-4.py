import os

import workos

# Point the library at your server; nothing else changes.
workos.base_api_url = os.environ["COUNTERSIGN_URL"] + "/"  # http://127.0.0.1:4100/
workos.api_key = os.environ["COUNTERSIGN_API_KEY"]
mfa = workos.client.mfa

# Once: enroll. Store factor["id"] with your user, and show factor["totp"]["qr_code"].
factor = mfa.enroll_factor(type="totp", totp_issuer="Example", totp_user="user@example.com")
print(factor["totp"]["uri"], flush=True)

# At each sign-in: challenge, ask for the code, verify.
challenge = mfa.challenge_factor(factor["id"])
code = input("Code: ")
verification = mfa.verify_challenge(challenge["id"], code)
print("Signed in." if verification["valid"] else "Wrong code.")
