package server

import (
	"context"
	"fmt"

	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/eventwire"
	"github.com/countersign-mfa/countersign/internal/metrics"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/webhook"
	"github.com/countersign-mfa/countersign/internal/webhook/post"
)

// wireWebhooks makes the service of webhook endpoints, and the dispatcher unless other nodes
// deliver.
func (s *Server) wireWebhooks(log *events.Service, keys *secret.Keyset, parts Parts) error {
	allow, err := webhook.ParseAllow(s.cfg.WebhookAllow)
	if err != nil {
		return fmt.Errorf("--webhook-allow: %w", err)
	}
	s.webhooks = webhook.NewService(timedWebhooks{s.store.webhook, s.clock}, keys, webhook.Options{
		Allow: allow, PlainHTTP: s.cfg.WebhookPlainHTTP, Now: parts.Now,
		Changed: func(id webhook.EndpointID) {
			if s.dispatcher != nil {
				s.dispatcher.Changed(id)
			}
		},
	})
	if s.cfg.Webhooks == "off" {
		return nil
	}
	agent := "Countersign"
	if parts.Version != "" {
		agent += "/" + parts.Version
	}
	opts := webhook.DispatcherOptions{Append: eventwire.Append, Logger: s.log, Now: parts.Now}
	if s.metrics != nil {
		opts.Observe = func(o webhook.Outcome) { s.metrics.WebhookAttempt(string(o)) }
		opts.Failed = func() { s.metrics.TaskFailed(metrics.TaskWebhooks) }
	}
	var sender webhook.Sender = post.New(post.Options{Allow: allow, UserAgent: agent, Now: parts.Now})
	if s.tracer != nil {
		sender = tracedSender{sender, s.tracer}
	}
	s.dispatcher = webhook.NewDispatcher(s.webhooks, timedDeliveries{s.store.deliveries, s.clock}, log, sender, opts)
	if s.metrics != nil {
		var outcomes []string
		for _, o := range webhook.Outcomes {
			outcomes = append(outcomes, string(o))
		}
		s.metrics.Webhooks(outcomes, func() (waiting int, lag float64, disabled int) {
			state := s.dispatcher.State()
			return state.Waiting, state.Lag.Seconds(), state.Disabled
		})
	}
	return nil
}

// Webhooks returns the service of webhook endpoints.
func (s *Server) Webhooks() *webhook.Service { return s.webhooks }

// timedWebhooks is a webhook.Store that refuses changes while the clock of the node is
// wrong; see timedStore.
type timedWebhooks struct {
	webhook.Store
	clock *clock
}

// UpdateEndpoint is webhook.Store.UpdateEndpoint.
func (s timedWebhooks) UpdateEndpoint(ctx context.Context, id webhook.EndpointID, fn func(tx *webhook.Tx) error) error {
	if err := s.clock.err(); err != nil {
		return err
	}
	return s.Store.UpdateEndpoint(ctx, id, fn)
}

// timedDeliveries is a webhook.Queue that refuses claims while the clock of the node is
// wrong.
type timedDeliveries struct {
	webhook.Queue
	clock *clock
}

// ClaimEndpoint is webhook.Queue.ClaimEndpoint.
func (s timedDeliveries) ClaimEndpoint(ctx context.Context, id webhook.EndpointID, l webhook.Lease) (*webhook.Endpoint, error) {
	if err := s.clock.err(); err != nil {
		return nil, err
	}
	return s.Queue.ClaimEndpoint(ctx, id, l)
}
