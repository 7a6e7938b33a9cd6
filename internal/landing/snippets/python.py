import os

from workos import WorkOSClient

# Point the library at your server; nothing else changes.
workos = WorkOSClient(
    base_url=os.environ["COUNTERSIGN_URL"],  # http://127.0.0.1:4100
    api_key=os.environ["COUNTERSIGN_API_KEY"],
)
mfa = workos.multi_factor_auth

# Once: enroll. Store factor.id with your user, and show factor.totp.qr_code.
factor = mfa.enroll_factor(type="totp", totp_issuer="Example", totp_user="user@example.com")
print(factor.totp.uri, flush=True)

# At each sign-in: challenge, ask for the code, verify.
challenge = mfa.challenge_factor(factor.id)
code = input("Code: ")
verification = mfa.verify_challenge(challenge.id, code=code)
print("Signed in." if verification.valid else "Wrong code.")
