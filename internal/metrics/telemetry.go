package metrics

import "github.com/prometheus/client_golang/prometheus"

// Spans shows how many spans were sent to the collector of OpenTelemetry. Every scrape calls state.
// Spans may be called once.
func (m *Metrics) Spans(state func() (sent, dropped, failures int64)) {
	m.registry.MustRegister(spanCollector{
		state: state,
		sent:  prometheus.NewDesc("countersign_telemetry_spans_sent_total", "Spans that the collector has accepted.", nil, nil),
		dropped: prometheus.NewDesc("countersign_telemetry_spans_dropped_total",
			"Spans that were lost, because the queue was full or the collector did not accept them.", nil, nil),
		failures: prometheus.NewDesc("countersign_telemetry_failures_total", "Requests to the collector without success.", nil, nil),
	})
}

type spanCollector struct {
	state                   func() (sent, dropped, failures int64)
	sent, dropped, failures *prometheus.Desc
}

func (c spanCollector) Describe(to chan<- *prometheus.Desc) {
	to <- c.sent
	to <- c.dropped
	to <- c.failures
}

func (c spanCollector) Collect(to chan<- prometheus.Metric) {
	sent, dropped, failures := c.state()
	to <- prometheus.MustNewConstMetric(c.sent, prometheus.CounterValue, float64(sent))
	to <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(dropped))
	to <- prometheus.MustNewConstMetric(c.failures, prometheus.CounterValue, float64(failures))
}
