package webhook

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A Store keeps endpoints, and changes them with their deliveries and attempts.
// storetest.RunWebhooks states its promises, and the promises of Queue.
type Store interface {
	// UpdateEndpoint reads an endpoint, runs fn and stores what fn left in tx, all in one
	// transaction. If fn fails, UpdateEndpoint stores nothing and returns its error. fn may
	// run more than once. It returns ErrDuplicate if another endpoint of the environment has
	// the URL.
	UpdateEndpoint(ctx context.Context, id EndpointID, fn func(tx *Tx) error) error
	// Endpoint returns an endpoint; nil if it is not stored.
	Endpoint(ctx context.Context, id EndpointID) (*Endpoint, error)
	// Endpoints lists the endpoints of an environment, oldest first.
	Endpoints(ctx context.Context, env mfa.EnvironmentID) ([]Endpoint, error)
	// AllEndpoints lists all endpoints in an order that the store chooses.
	AllEndpoints(ctx context.Context) ([]Endpoint, error)
	// Attempts lists up to limit attempts, newest first. before is the last attempt of the
	// previous page, zero for the first page.
	Attempts(ctx context.Context, id EndpointID, before AttemptID, limit int) ([]Attempt, error)
}

// A Queue finds the deliveries that are due.
type Queue interface {
	// ClaimEndpoint leases an enabled endpoint whose lease has ended, and returns it. It
	// returns nil if the endpoint is leased, disabled or not stored. Of concurrent claims on
	// all nodes at most one gets the endpoint.
	ClaimEndpoint(ctx context.Context, id EndpointID, l Lease) (*Endpoint, error)
	// DueEndpoints lists up to limit endpoints that have a Waiting delivery whose time has come.
	DueEndpoints(ctx context.Context, now time.Time, limit int) ([]EndpointID, error)
	// DueDeliveries lists up to limit Waiting deliveries whose time has come, in the order of
	// their events.
	DueDeliveries(ctx context.Context, id EndpointID, now time.Time, limit int) ([]Delivery, error)
	// WaitingDeliveries counts the Waiting deliveries, up to limit.
	WaitingDeliveries(ctx context.Context, id EndpointID, limit int) (int, error)
	// SweepWebhooks removes up to limit deliveries and up to limit attempts that have expired.
	// It reports whether there may be more.
	SweepWebhooks(ctx context.Context, now time.Time, limit int) (more bool, err error)
}

// A Lease names who claims an endpoint, and for how long.
type Lease struct {
	By         [16]byte
	Now, Until time.Time
}

// A Tx has an endpoint and collects the writes of one transaction.
type Tx struct {
	// Endpoint is the endpoint as it is stored, nil if it is not. fn changes it, sets it for a
	// new endpoint, or sets it to nil to remove the endpoint and its deliveries. If the Cursor
	// of a new endpoint is zero, the store sets it to the id of the last of Events.
	Endpoint *Endpoint

	Reschedule *Reschedule   // made before Put and Ended
	Put        []Delivery    // new or changed
	Ended      []mfa.EventID // whose deliveries are removed
	Attempts   []Attempt     // new
	Events     []mfa.Event   // appended; their ids have only the bucket
}

// A Reschedule moves all deliveries of an endpoint in one state to another.
type Reschedule struct {
	From, To     DeliveryState
	Since, Until time.Time // only deliveries of events between these times; zero: no bound
	NextAt       time.Time
	Again        bool // their attempts count from zero
}

// newEvent returns an event in a bucket. The store gives it its id.
func newEvent(by mfa.Caller, now time.Time, b mfa.Bucket, typ mfa.EventType, reason string) mfa.Event {
	e := mfa.Event{At: now, Environment: by.ID, Type: typ, Reason: reason, Caller: by.By(), Request: by.Request}
	binary.BigEndian.PutUint16(e.ID[14:], uint16(b))
	return e
}
