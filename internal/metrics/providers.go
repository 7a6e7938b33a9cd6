package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Provider is the state of a provider of text messages.
type Provider struct {
	Name   string
	Paused bool

	// The tries since the process started, by their result. Their sum is all tries.
	Accepted, Refused, Unavailable, Uncertain uint64
}

var (
	providerTries = prometheus.NewDesc("countersign_sms_provider_tries_total",
		"Tries to hand a text message to a provider, by result.", []string{"provider", "result"}, nil)
	providerPaused = prometheus.NewDesc("countersign_sms_provider_paused",
		"1 while messages go to other providers, until this provider accepts a message again.", []string{"provider"}, nil)
)

func newTryLength() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "countersign_sms_provider_duration_seconds",
		Help: "Duration of tries to hand a text message to a provider, with any result.",
		// A message is given up after 12 s.
		Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 12},
	}, []string{"provider"})
}

// Providers shows the providers that now returns. Every scrape calls now. Providers may be
// called once.
func (m *Metrics) Providers(now func() []Provider) {
	for _, p := range now() {
		m.tryLength.WithLabelValues(p.Name) // creates the histogram before the first try
	}
	m.registry.MustRegister(prometheus.CollectorFunc(func(out chan<- prometheus.Metric) {
		for _, p := range now() {
			for _, result := range []struct {
				name  string
				tries uint64
			}{
				{"accepted", p.Accepted}, {"refused", p.Refused}, {"unavailable", p.Unavailable}, {"uncertain", p.Uncertain},
			} {
				out <- prometheus.MustNewConstMetric(providerTries, prometheus.CounterValue, float64(result.tries), p.Name, result.name)
			}
			paused := 0.0
			if p.Paused {
				paused = 1
			}
			out <- prometheus.MustNewConstMetric(providerPaused, prometheus.GaugeValue, paused, p.Name)
		}
	}))
}

// Try records the duration of one request to a provider.
func (m *Metrics) Try(provider string, took time.Duration) {
	m.tryLength.WithLabelValues(provider).Observe(took.Seconds())
}
