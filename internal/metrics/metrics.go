// Package metrics keeps the metrics of a server and shows them to Prometheus. No label
// contains data that clients choose.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the metrics of one server. They are safe for concurrent use.
type Metrics struct {
	registry  *prometheus.Registry
	requests  *requests
	tryLength *prometheus.HistogramVec
	events    *prometheus.CounterVec
	failures  *prometheus.CounterVec

	webhookAttempts *prometheus.CounterVec // registered by Webhooks
}

// New returns the metrics of a server of this version. They include the metrics of
// the Go runtime and of the process.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), requests: newRequests(), tryLength: newTryLength(), failures: newFailures(), webhookAttempts: newWebhookAttempts()}
	m.events = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "countersign_events_total",
		Help: "Events of factors, challenges and messages, by type.",
	}, []string{"type"})
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "countersign_build_info",
		Help:        "Always 1; the label has the version of the server.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	for _, task := range tasks {
		m.failures.WithLabelValues(task)
	}
	m.registry.MustRegister(
		m.requests.count, m.requests.took, m.tryLength, m.events, m.failures, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Queue shows how many writes wait for the store. Every scrape calls waiting. Queue may be
// called once.
func (m *Metrics) Queue(waiting func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_store_queue_length",
		Help: "Writes that wait for the store.",
	}, func() float64 { return float64(waiting()) }))
}

// Connections shows the number of open connections of clients, and its limit. Every scrape
// calls open. Connections may be called once.
func (m *Metrics) Connections(open func() int, limit int) {
	maximum := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "countersign_http_connections_limit",
		Help: "Connections beyond which clients are refused.",
	})
	maximum.Set(float64(limit))
	m.registry.MustRegister(maximum, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_http_connections",
		Help: "Open connections of clients.",
	}, func() float64 { return float64(open()) }))
}

// Clock shows how many seconds the clock of the node is ahead of the clock of the
// database. Every scrape calls ahead. Clock may be called once.
func (m *Metrics) Clock(ahead func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_clock_ahead_seconds",
		Help: "Seconds by which the clock of the node is ahead of the clock of the database; negative if it is behind.",
	}, ahead))
}

// Events creates the counters of the event types at zero, so the first event of each type
// is an increase.
func (m *Metrics) Events(types ...string) {
	for _, typ := range types {
		m.events.WithLabelValues(typ)
	}
}

// Event counts one event of a type.
func (m *Metrics) Event(typ string) { m.events.WithLabelValues(typ).Inc() }

// Handler serves GET /metrics and nothing else.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return mux
}
