package httpapi

import (
	"fmt"
	"net/http"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/web"
)

// A Clock is a clock that tests of applications move forward. It does not go back: rows of
// the store would be in its future.
type Clock interface {
	Now() time.Time
	Ahead() time.Duration // of the clock of the machine

	// Advance moves the clock by a positive time.
	Advance(by time.Duration) error
}

// maxAdvance bounds one move of the clock: about ten years.
const maxAdvance = 10 * 366 * 24 * time.Hour

// clockRoutes adds the routes of the clock.
func (a *API) clockRoutes() {
	a.route("GET /dev/clock", a.readClock, access.CallAPI)
	a.route("POST /dev/clock", a.moveClock, access.CallAPI)
}

// readClock serves GET /dev/clock.
func (a *API) readClock(w http.ResponseWriter, r request) error {
	if err := takesNothing(r); err != nil {
		return err
	}
	a.sendClock(w)
	return nil
}

// moveClock serves POST /dev/clock.
func (a *API) moveClock(w http.ResponseWriter, r request) error {
	var by time.Duration
	var to time.Time
	if err := decodeOnly(r.Content, seconds("advance_seconds", &by), instant("now", &to)); err != nil {
		return err
	}
	name := "advance_seconds"
	switch {
	case by == 0 && to.IsZero():
		return required(name)
	case by != 0 && !to.IsZero():
		return &mfa.InvalidError{Fields: []mfa.FieldError{{Field: "now", Code: "unsupported", Message: "now is not possible together with advance_seconds"}}}
	case by == 0:
		name, by = "now", to.Sub(a.opts.Clock.Now())
	}
	if by <= 0 || by > maxAdvance {
		return &mfa.InvalidError{Fields: []mfa.FieldError{{Field: name, Code: "out_of_range",
			Message: name + " must move the clock forward, by at most ten years"}}}
	}
	if err := a.opts.Clock.Advance(by); err != nil {
		return err
	}
	a.sendClock(w)
	return nil
}

func (a *API) sendClock(w http.ResponseWriter) {
	b := appendTime([]byte(`{"object":"clock","now":`), a.opts.Clock.Now())
	web.Send(w, http.StatusOK, fmt.Appendf(b, `,"ahead_seconds":%d}`, int64(a.opts.Clock.Ahead()/time.Second)))
}
