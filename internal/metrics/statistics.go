package metrics

import "github.com/prometheus/client_golang/prometheus"

// Statistics shows how late the counts of events are, in seconds. Every scrape calls lag.
// Statistics may be called once.
func (m *Metrics) Statistics(lag func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_statistics_lag_seconds",
		Help: "Age of the oldest event that the statistics do not count yet, as this node last saw it; 0 if all events are counted.",
	}, lag))
}
