package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func newFailures() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "countersign_maintenance_failures_total",
		Help: "Failed rounds of background work, which are tried again, by task.",
	}, []string{"task"})
}

// The tasks whose failures are counted. mfa.Service.Maintain reports the first three.
const (
	TaskSweep      = "sweep"
	TaskExpire     = "expire"
	TaskReseal     = "reseal"
	TaskWebhooks   = "webhooks"
	TaskStatistics = "statistics"
)

var tasks = []string{TaskSweep, TaskExpire, TaskReseal, TaskWebhooks, TaskStatistics}

// TaskFailed counts a failed round of a task.
func (m *Metrics) TaskFailed(task string) { m.failures.WithLabelValues(task).Inc() }

// Ready shows whether the server is ready. Every scrape calls ready. Ready may be called once.
func (m *Metrics) Ready(ready func() bool) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_ready",
		Help: "1 if the server is ready, as at /readyz: its store answers and its clock is right.",
	}, func() float64 {
		if ready() {
			return 1
		}
		return 0
	}))
}

// Certificate shows when the TLS certificate in use ends. Every scrape calls end; a zero time
// hides the metric. Certificate may be called once.
func (m *Metrics) Certificate(end func() time.Time) {
	desc := prometheus.NewDesc("countersign_tls_certificate_expiry_timestamp_seconds",
		"Unix time at which the TLS certificate in use ends; of several certificates, the earliest.", nil, nil)
	m.registry.MustRegister(prometheus.CollectorFunc(func(out chan<- prometheus.Metric) {
		if at := end(); !at.IsZero() {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(at.Unix()))
		}
	}))
}

// DailyMessages shows the used share of the daily limits on text messages. Every scrape calls
// used. DailyMessages may be called once.
func (m *Metrics) DailyMessages(used func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_sms_daily_used_ratio",
		Help: "Used share of a daily limit on messages, of the environment and limit with the largest; 1 if messages are refused, as of the last minute.",
	}, used))
}
