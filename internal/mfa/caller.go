package mfa

import (
	"encoding/binary"
	"time"
)

// A Caller is who asks for an operation, and the environment that it applies to. Events
// record the caller. The zero value, with an environment, means Countersign itself.
type Caller struct {
	Environment
	Key      string // the id of the API key, "key_…"; or ""
	Operator string // the name of the person or program that administers Countersign; or ""
	Reason   string // why an operator acts; or ""
	Request  string // the id of the request; or ""
}

// By returns the caller as events record it: "key_…", "operator:NAME", or "" for
// Countersign itself.
func (c Caller) By() string {
	if c.Operator != "" {
		return "operator:" + c.Operator
	}
	return c.Key
}

// In returns the caller in another environment.
func (c Caller) In(env Environment) Caller {
	c.Environment = env
	return c
}

// Append returns the write that appends an event of the caller, which happened at a time, in
// bucket b. An event without a reason gets that of the caller. The store sets the rest of its id.
func (c Caller) Append(e Event, at time.Time, b Bucket) AppendEvent {
	e.ID = EventID{}
	binary.BigEndian.PutUint16(e.ID[14:], uint16(b))
	if e.Reason == "" {
		e.Reason = c.Reason
	}
	e.At, e.Environment, e.Caller, e.Request = at, c.ID, c.By(), c.Request
	return AppendEvent{Event: e}
}
