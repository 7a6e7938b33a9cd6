package webhook

import (
	"context"
	"time"
)

// SignStandard is signStandard for tests.
func SignStandard(text, id string, at time.Time, body []byte) (string, error) {
	return signStandard(text, id, at, body)
}

// Wait is wait for tests.
func Wait(sandbox bool, n int, r float64) (time.Duration, bool) { return wait(sandbox, n, r) }

// CheckURL is checkURL for tests.
func CheckURL(text string, allow Allow, plainHTTP bool) (string, error) {
	return checkURL(text, allow, plainHTTP)
}

// Pass wakes all enabled endpoints once and waits until no run has anything to do.
func (d *Dispatcher) Pass(ctx context.Context) error {
	if err := d.refresh(ctx); err != nil {
		return err
	}
	for _, e := range d.enabled() {
		d.wake(ctx, e.ID)
	}
	d.runs.Wait()
	return nil
}

// Check is check for tests.
func (d *Dispatcher) Check(ctx context.Context) error { return d.check(ctx) }

// Limits that tests refer to.
const (
	DownAfter      = downAfter
	Chunk          = chunk
	MaxWaiting     = maxWaiting
	MaxWaitingDown = maxWaitingDown
	LeaseFor       = leaseFor
)
