// Package passkey makes the options of WebAuthn ceremonies and checks the responses of
// authenticators (Web Authentication Level 3, sections 7.1 and 7.2). It stores nothing and
// knows neither users nor factors: the caller draws and keeps challenges, finds stored
// credentials, and uses each challenge once.
//
// Start reading at RelyingParty. This is the only package that imports go-webauthn, and no
// type of that library leaves it.
package passkey
