package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"time"
)

// A fixture is the environment of the steps: one version of the library, and two servers.
type fixture struct {
	version
	ctx    context.Context
	report *report

	// server is the main server, and here is the library connected to it. At brief,
	// challenges expire at once, and one number may receive a message every second.
	server, brief place
	here          library

	phones int // how many phone numbers are in use
}

func newFixture(v version, r *report) (*fixture, error) {
	w := &fixture{version: v, ctx: context.Background(), report: r}
	for name, field := range map[string]*string{
		"COUNTERSIGN_URL":               &w.server.url,
		"COUNTERSIGN_API_KEY":           &w.server.key,
		"COUNTERSIGN_NETWORK_URL":       &w.server.network,
		"COUNTERSIGN_BRIEF_URL":         &w.brief.url,
		"COUNTERSIGN_BRIEF_API_KEY":     &w.brief.key,
		"COUNTERSIGN_BRIEF_NETWORK_URL": &w.brief.network,
	} {
		*field = os.Getenv(name)
		if *field == "" {
			return nil, fmt.Errorf("%s is not set; see README.md", name)
		}
	}
	w.here = w.near(w.server)
	return w, nil
}

// near connects the library to a server directly, and far through the server's network.
func (w *fixture) near(p place) library { return w.connect(p.url, p.key, false) }
func (w *fixture) far(p place) library  { return w.connect(p.network, p.key, false) }

// phone returns a fictional number that has not received a message yet. A number
// receives one message in 30 seconds, so every message needs a new number.
func (w *fixture) phone() string {
	number := fmt.Sprintf("+12025550%d", 100+w.phones)
	w.phones++
	w.report.secrets(number)
	return number
}

// enrollTOTP returns a new factor whose codes the steps can compute.
func (w *fixture) enrollTOTP(l library) (factor, error) {
	f, err := l.enroll(w.ctx, enrollment{kind: "totp", issuer: "Foo Corp", user: "user@example.com"})
	if err == nil {
		w.report.secrets(f.totp.secret)
	}
	return f, err
}

func (w *fixture) enrollSMS() (f factor, phone string) {
	phone = w.phone()
	return must(w.here.enroll(w.ctx, enrollment{kind: "sms", phone: phone})), phone
}

// enrollGeneric returns a new generic_otp factor. If the library cannot enroll one, the
// factor is enrolled without the library, which supports all other calls on it.
func (w *fixture) enrollGeneric(p place) factor {
	if w.errType == nil {
		return must(w.near(p).enroll(w.ctx, enrollment{kind: "generic_otp"}))
	}
	var enrolled struct{ ID string }
	p.post("/auth/factors/enroll", map[string]string{"type": "generic_otp"}, &enrolled)
	return must(w.near(p).get(w.ctx, enrolled.ID))
}

func (w *fixture) enrollForUser(l library, userID string, e enrollment) (userEnrollment, error) {
	e.kind = "totp"
	made, err := l.enrollForUser(w.ctx, userID, e)
	if err == nil {
		w.report.secrets(made.factor.totp.secret)
	}
	return made, err
}

// challenge challenges a generic_otp factor, and returns the code too. If the library
// does not show the code, it is read from the wire.
func (w *fixture) challenge(p place, f factor) (c challenge, code string) {
	c = must(w.far(p).challenge(w.ctx, f.id))
	code = p.codeOnWire(c.id)
	w.report.secrets(code)
	if w.showsCode {
		equal("the code in the challenge", c.code, code)
	} else {
		equal("the code in the challenge, which this version does not show", c.code, "")
	}
	return c, code
}

// messages returns the inbox of a server for a number, newest first.
func (w *fixture) messages(p place, to string) []message {
	list := p.inbox(to)
	for _, m := range list {
		w.report.secrets(m.Code)
	}
	return list
}

var sixDigits = regexp.MustCompile(`^\d{6}$`)

// codeFor returns the code of the only message to a number.
func (w *fixture) codeFor(to string) string {
	list := w.messages(w.server, to)
	equal("messages to one number", len(list), 1)
	matches("code", list[0].Code, sixDigits)
	return list[0].Code
}

func parseTime(text string) time.Time {
	return must(time.Parse(time.RFC3339, text))
}
