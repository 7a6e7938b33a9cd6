// Package events lists and follows the events of an environment.
//
// The id of an event is its position: readers get the events of an environment in the order
// of their ids. A reader that keeps the id of the last event it has seen, and asks for the
// events after it, gets every event exactly once:
//
//   - An event becomes readable only when no event before it can still be committed.
//   - A readable event stays readable until its retention ends. Its position stays valid
//     after that: a reader continues with the events that are left.
//   - The order never changes. An event that happened after the answer to an earlier request
//     comes after the events of that request.
//
// A new event is readable a fraction of a second after its commit. The time At of an event
// comes from the clock of the process that appended it, so events are not always in the
// order of At.
//
// Start reading at Service.List. Service.Follow waits for new events. The stores implement
// Log.
package events
