package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Sink shows the state of the events sink. Every scrape calls state. Sink may be called
// once.
func (m *Metrics) Sink(state func() (active bool, lag time.Duration, written, failed int64)) {
	m.registry.MustRegister(sinkCollector{
		state: state,
		active: prometheus.NewDesc("countersign_events_sink_active",
			"1 if this node writes the events of the sink; of all nodes of a store, one does.", nil, nil),
		lag: prometheus.NewDesc("countersign_events_sink_lag_seconds",
			"Age of the oldest event that this node has read and not yet written; 0 if there is none.", nil, nil),
		written: prometheus.NewDesc("countersign_events_sink_written_total", "Events that the sink has written.", nil, nil),
		failed:  prometheus.NewDesc("countersign_events_sink_failures_total", "Failed writes of the sink, which it tries again.", nil, nil),
	})
}

type sinkCollector struct {
	state                        func() (active bool, lag time.Duration, written, failed int64)
	active, lag, written, failed *prometheus.Desc
}

func (c sinkCollector) Describe(to chan<- *prometheus.Desc) {
	to <- c.active
	to <- c.lag
	to <- c.written
	to <- c.failed
}

func (c sinkCollector) Collect(to chan<- prometheus.Metric) {
	active, lag, written, failed := c.state()
	value := 0.0
	if active {
		value = 1
	}
	to <- prometheus.MustNewConstMetric(c.active, prometheus.GaugeValue, value)
	to <- prometheus.MustNewConstMetric(c.lag, prometheus.GaugeValue, lag.Seconds())
	to <- prometheus.MustNewConstMetric(c.written, prometheus.CounterValue, float64(written))
	to <- prometheus.MustNewConstMetric(c.failed, prometheus.CounterValue, float64(failed))
}
