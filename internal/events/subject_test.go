package events_test

import (
	"context"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A subjectLog has the events of one factor and counts how often they are read.
type subjectLog struct {
	memoryLog
	reads int
}

func (l *subjectLog) ReadSubject(_ context.Context, q events.SubjectQuery) (page events.RawPage, err error) {
	l.reads++
	page.Last = l.all[len(l.all)-1].ID
	for _, e := range l.all {
		switch {
		case e.ID.Compare(q.From) <= 0 || e.ID.Compare(q.To) >= 0:
		case len(page.Events) == q.Limit:
			page.More, page.Last = true, page.Events[q.Limit-1].ID
			return page, nil
		default:
			page.Events = append(page.Events, events.RawEvent{Event: e})
		}
	}
	return page, nil
}

// TestASearchSkipsManyEventsOfASubjectAtOnce asks for one event with filters that no event of
// the factor matches.
func TestASearchSkipsManyEventsOfASubjectAtOnce(t *testing.T) {
	start := time.Date(2026, 3, 29, 8, 30, 0, 0, time.UTC)
	for name, q := range map[string]events.Query{
		"a type":      {Types: []mfa.EventType{mfa.FactorLocked}},
		"a caller":    {Caller: "key_1"},
		"a beginning": {Since: start.Add(time.Minute)}, // later than all events, by less than MaxSkew
		"an end":      {Until: start.Add(-time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			log := &subjectLog{}
			for i := range 500 {
				p := mfa.Position{Epoch: start.UnixMilli(), Counter: int64(i + 1)}
				log.all = append(log.all, mfa.Event{ID: p.ID(7), At: start, Environment: 1, Type: mfa.ChallengeCreated})
			}
			q.Environment, q.Factor, q.Limit = 1, mfa.FactorID{15: 7}, 1
			page, err := events.NewService(log, events.Options{}).List(t.Context(), q)
			if err != nil || len(page.Events) != 0 || page.More {
				t.Errorf("List = %+v, %v; want the end of the events", page, err)
			}
			if log.reads > 2 {
				t.Errorf("500 events took %d reads", log.reads)
			}
		})
	}
}
