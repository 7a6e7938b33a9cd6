// Package metrics keeps the figures that operators watch and shows them to
// Prometheus. No label of theirs holds what a caller chooses.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the figures of one server. They are safe for concurrent use.
type Metrics struct {
	registry  *prometheus.Registry
	requests  *requests
	tryLength *prometheus.HistogramVec
	events    *prometheus.CounterVec
}

// New returns the metrics of a server of that version, including the metrics of
// the Go runtime and the process.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), requests: newRequests(), tryLength: newTryLength()}
	m.events = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "countersign_events_total",
		Help: "What happened to factors, challenges and messages, as in the table of events.",
	}, []string{"type"})
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "countersign_build_info",
		Help:        "Always 1; the label says which version runs.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(
		m.requests.count, m.requests.took, m.tryLength, m.events, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Queue shows how many writes wait for the store, which waiting is asked at every
// scrape. It may be called once.
func (m *Metrics) Queue(waiting func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_store_queue_length",
		Help: "Writes that wait for the store.",
	}, func() float64 { return float64(waiting()) }))
}

// Connections shows how many connections of callers are open, which open is asked at
// every scrape, and how many may be. It may be called once.
func (m *Metrics) Connections(open func() int, limit int) {
	most := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "countersign_http_connections_limit",
		Help: "Connections beyond which callers are refused.",
	})
	most.Set(float64(limit))
	m.registry.MustRegister(most, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_http_connections",
		Help: "Connections of callers that are open.",
	}, func() float64 { return float64(open()) }))
}

// Clock shows how many seconds the clock of the node is ahead of that of the
// database, which ahead is asked at every scrape. It may be called once.
func (m *Metrics) Clock(ahead func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_clock_ahead_seconds",
		Help: "How far the clock of the node is ahead of that of the database; negative if it is behind.",
	}, ahead))
}

// Events creates the counters of event types at zero. The first event of each type
// then appears as an increase.
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
