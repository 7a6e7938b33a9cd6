package metrics

import (
	"cmp"
	"maps"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// requests counts answers. It looks up the series of each kind of answer by labels only
// once, because the lookup is slow and allocates.
type requests struct {
	count *prometheus.CounterVec
	took  *prometheus.HistogramVec

	known atomic.Pointer[map[answer]series] // a map is never changed, only replaced
}

type answer struct {
	route, method string
	status        int
}

type series struct {
	count prometheus.Counter
	took  prometheus.Observer
}

func newRequests() *requests {
	r := &requests{
		count: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_http_requests_total",
			Help: "Requests answered, by route, method and status.",
		}, []string{"route", "method", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_http_request_duration_seconds",
			Help: "Duration of requests, by route.",
			// From the time of a store in memory to the time that clients wait until a message is sent.
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 15},
		}, []string{"route"}),
	}
	r.known.Store(&map[answer]series{})
	return r
}

// Request records an answered request. The sets of routes, methods and statuses
// must be small: each combination creates a permanent series. A request that
// matches no route has the route "".
func (m *Metrics) Request(route, method string, status int, took time.Duration) {
	a := answer{route, method, status}
	s, ok := (*m.requests.known.Load())[a]
	if !ok {
		s = m.requests.learn(a)
	}
	s.count.Inc()
	s.took.Observe(took.Seconds())
}

// learn looks up the series of a kind of answer and stores it. If two goroutines do this
// at the same time, one of the kinds may be lost, and the next answer looks it up again.
func (r *requests) learn(a answer) series {
	route := cmp.Or(a.route, "unknown") // Prometheus treats an empty label as missing
	s := series{r.count.WithLabelValues(route, a.method, strconv.Itoa(a.status)), r.took.WithLabelValues(route)}
	known := maps.Clone(*r.known.Load())
	known[a] = s
	r.known.Store(&known)
	return s
}
