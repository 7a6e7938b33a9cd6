// Package webhook decides which events go to which URL, when they are sent again, and how
// they are signed.
//
// Start reading at Endpoint. A Service creates and changes endpoints. A Dispatcher, one on
// each node, delivers: it reads the events after the cursor of an endpoint and passes them to
// a Sender. An endpoint that is behind is only a cursor that is behind: a Delivery is stored
// only for an event that was sent without success. Package post has the Sender.
//
// A run sends the events of one endpoint: deliver.go has its life, next.go chooses the events
// of a chunk, try.go sends them, and settle.go stores the outcome.
package webhook
