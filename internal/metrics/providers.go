package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Provider says how one that delivers text messages fares.
type Provider struct {
	Name   string
	Paused bool

	// What its tries came to since the process began; together they are all tries.
	Accepted, Refused, Unavailable, Uncertain uint64
}

var (
	providerTries = prometheus.NewDesc("countersign_sms_provider_tries_total",
		"Tries to hand a text message to a provider, by what they came to.", []string{"provider", "result"}, nil)
	providerPaused = prometheus.NewDesc("countersign_sms_provider_paused",
		"1 while a provider is passed over for others, until it has taken a message again.", []string{"provider"}, nil)
)

func newTryLength() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "countersign_sms_provider_duration_seconds",
		Help: "How long tries to hand a text message to a provider took, whatever they came to.",
		// 12 s is when a message is given up.
		Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 12},
	}, []string{"provider"})
}

// Providers shows what now returns, which is called at every scrape. It may be
// called once.
func (m *Metrics) Providers(now func() []Provider) {
	for _, p := range now() {
		m.tryLength.WithLabelValues(p.Name) // shown before its first try, as the others are
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
