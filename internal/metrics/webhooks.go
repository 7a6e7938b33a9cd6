package metrics

import "github.com/prometheus/client_golang/prometheus"

func newWebhookAttempts() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "countersign_webhook_attempts_total",
		Help: "Requests to webhook endpoints, by outcome.",
	}, []string{"outcome"})
}

// Webhooks shows the deliveries that wait, how late deliveries are, in seconds, and how many
// endpoints are disabled because they failed. It creates the counters of the outcomes at zero.
// Every scrape calls state. Webhooks may be called once.
func (m *Metrics) Webhooks(outcomes []string, state func() (waiting int, lag float64, disabled int)) {
	for _, o := range outcomes {
		m.webhookAttempts.WithLabelValues(o)
	}
	m.registry.MustRegister(m.webhookAttempts,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_webhook_deliveries_waiting",
			Help: "Webhook deliveries of all nodes that failed and are tried again.",
		}, func() float64 {
			waiting, _, _ := state()
			return float64(waiting)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_webhook_lag_seconds",
			Help: "Age of the oldest event that was not yet sent to an enabled webhook endpoint, as of the last minute.",
		}, func() float64 {
			_, lag, _ := state()
			return lag
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "countersign_webhook_endpoints_disabled",
			Help: "Webhook endpoints that the server has disabled because they failed or are gone.",
		}, func() float64 {
			_, _, disabled := state()
			return float64(disabled)
		}))
}

// WebhookAttempt counts one request to a webhook endpoint.
func (m *Metrics) WebhookAttempt(outcome string) { m.webhookAttempts.WithLabelValues(outcome).Inc() }
