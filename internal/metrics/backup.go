package metrics

import "github.com/prometheus/client_golang/prometheus"

// Backups shows the state of regular backups. Every scrape calls state; ok is false
// before the first backup. Backups may be called once.
func (m *Metrics) Backups(state func() (age float64, size int64, failures int, ok bool)) {
	m.registry.MustRegister(backupCollector{
		state: state,
		age: prometheus.NewDesc("countersign_backup_age_seconds",
			"Time since the newest regular backup began; missing before the first backup.", nil, nil),
		size: prometheus.NewDesc("countersign_backup_size_bytes", "Size of the newest regular backup.", nil, nil),
		failures: prometheus.NewDesc("countersign_backup_failures_total",
			"Regular backups that failed, since the start of the process.", nil, nil),
	})
}

type backupCollector struct {
	state               func() (age float64, size int64, failures int, ok bool)
	age, size, failures *prometheus.Desc
}

func (c backupCollector) Describe(to chan<- *prometheus.Desc) {
	to <- c.age
	to <- c.size
	to <- c.failures
}

func (c backupCollector) Collect(to chan<- prometheus.Metric) {
	age, size, failures, ok := c.state()
	to <- prometheus.MustNewConstMetric(c.failures, prometheus.CounterValue, float64(failures))
	if ok {
		to <- prometheus.MustNewConstMetric(c.age, prometheus.GaugeValue, age)
		to <- prometheus.MustNewConstMetric(c.size, prometheus.GaugeValue, float64(size))
	}
}
