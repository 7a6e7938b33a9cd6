// Package signin decides who may use the web console: operators, their passkeys, one-time
// links, sessions, and sign-in through an OpenID Connect provider.
//
// Start reading at Service. signin.go has the rows, store.go the interface of a store. The
// ceremonies of a person are in enroll.go, passkey.go and oidc.go, sessions in session.go, and
// the actions of administrators in manage.go. Every outcome is an event.
package signin
