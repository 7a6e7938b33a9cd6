package mfa

import (
	"errors"
	"fmt"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
)

// Limits bound guessing and sending. A zero field takes its default; no limit can be
// switched off.
type Limits struct {
	Attempts       int             // codes tried per challenge; default 5
	FreeFailures   int             // consecutive failures of a factor without a wait; default 5
	Backoff        []time.Duration // the wait after each further failure; the last one repeats; default 30 s to 1 h
	FactorFailures int             // consecutive failures that lock a factor until an operator lifts it; default 50
	UserFailures   int             // the same over all factors of a user; default and maximum 100 (NIST SP 800-63B, 3.2.2)
	Resends        int             // further messages with the code of one challenge; default 3

	// Between two messages of one budget to a phone number, and the messages of one budget in
	// a window; see delivery.Limits.
	SendSpacing time.Duration
	Sends       []delivery.Window
}

// maxFailures is the maximum of consecutive failures that NIST SP 800-63B, section 3.2.2,
// allows for an account.
const maxFailures = 100

const defaultFactorFailures = 50

// WithDefaults returns l with defaults for its zero fields. The command line has the same ones:
// a test in package server compares them.
func (l Limits) WithDefaults() (Limits, error) {
	def := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	def(&l.Attempts, 5)
	def(&l.FreeFailures, 5)
	def(&l.FactorFailures, defaultFactorFailures)
	def(&l.UserFailures, maxFailures)
	def(&l.Resends, 3)
	if l.Backoff == nil {
		for _, minutes := range []float64{0.5, 1, 2, 4, 8, 15, 30, 60} {
			l.Backoff = append(l.Backoff, time.Duration(minutes*float64(time.Minute)))
		}
	}
	return l, l.check()
}

func (l Limits) check() error {
	var errs []error
	within := func(name string, value, most int) {
		if value < 1 || value > most {
			errs = append(errs, fmt.Errorf("%s is %d; it must be from 1 to %d", name, value, most))
		}
	}
	within("attempts per challenge", l.Attempts, 10)
	within("free failures per factor", l.FreeFailures, maxFailures)
	within("failures per factor", l.FactorFailures, maxFailures)
	within("failures per user", l.UserFailures, maxFailures)
	within("messages again per challenge", l.Resends, 5)
	for _, d := range l.Backoff {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("a wait is %v; it must be positive", d))
		}
	}
	if len(l.Backoff) == 0 {
		errs = append(errs, errors.New("back-off must not be empty"))
	}
	return errors.Join(errs...)
}

// backoff returns the wait after the given number of consecutive failures.
func (l Limits) backoff(failures int) time.Duration {
	beyond := failures - l.FreeFailures
	if beyond <= 0 {
		return 0
	}
	return l.Backoff[min(beyond, len(l.Backoff))-1]
}
