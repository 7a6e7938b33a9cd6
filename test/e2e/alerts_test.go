package e2e_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/server"
	"github.com/countersign-mfa/countersign/internal/testenv"
)

// deploy returns the absolute path of a file in deploy.
func deploy(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTheAlertsFireAndAreSilent runs the unit tests of the rules.
func TestTheAlertsFireAndAreSilent(t *testing.T) {
	t.Parallel()
	promtool := testenv.Tool(t, "promtool")
	for _, args := range [][]string{
		{"check", "rules", deploy(t, "prometheus/alerts.yaml")},
		{"test", "rules", deploy(t, "prometheus/alerts_test.yaml")},
	} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	tests := string(readFile(t, deploy(t, "prometheus/alerts_test.yaml")))
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(readFile(t, deploy(t, "prometheus/alerts.yaml"))), -1) {
		fires := regexp.MustCompile(`(?s)- name: ` + m[1] + ` fires\n(.*?)- name: `).FindStringSubmatch(tests)
		if fires == nil || !strings.Contains(fires[1], "exp_labels") || !strings.Contains(tests, "- name: "+m[1]+" is silent\n") {
			t.Errorf("alerts_test.yaml has no firing and silent case of %s", m[1])
		}
	}
}

// A rule is an alert as Prometheus has loaded it.
type rule struct {
	Name, Query, Health, LastError, State string
	Duration                              float64
	LastEvaluation                        time.Time
	Labels, Annotations                   map[string]string
}

// A monitor is a running Prometheus.
type monitor struct {
	t   *testing.T
	url string
}

// monitored starts a Prometheus with the alerts, which scrapes target.
func monitored(t *testing.T, target string) monitor {
	t.Helper()
	program, dir := testenv.Tool(t, "prometheus"), t.TempDir()
	config := filepath.Join(dir, "prometheus.yaml")
	write(t, config, `
global: { scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms }
rule_files: ["`+deploy(t, "prometheus/alerts.yaml")+`"]
scrape_configs: [{ job_name: countersign, static_configs: [{ targets: ["`+target+`"] }] }]
`)
	p := launchBy(t, nil, exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0"))
	return monitor{t, "http://" + p.await(p.log, `msg="?Listening on"? address=(127\S+)`)[1]}
}

// ask returns the data that an address of the API answers, or the error that it reports.
func (m monitor) ask(path string, data any) (problem string) {
	m.t.Helper()
	_, body := get(m.t, m.url+path)
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return err.Error() + ": " + body // it still starts
	}
	if answer.Status != "success" {
		return answer.Error
	}
	if err := json.Unmarshal(answer.Data, data); err != nil {
		m.t.Fatal(err)
	}
	return ""
}

func (m monitor) rules() []rule {
	m.t.Helper()
	var data struct{ Groups []struct{ Rules []rule } }
	if problem := m.ask("/api/v1/rules", &data); problem != "" || len(data.Groups) == 0 {
		return nil
	}
	return data.Groups[0].Rules
}

// query returns the number of series of an answer.
func (m monitor) query(expr string) (series int, problem string) {
	m.t.Helper()
	var data struct{ Result []json.RawMessage }
	problem = m.ask("/api/v1/query?query="+url.QueryEscape(expr), &data)
	return len(data.Result), problem
}

// dashboardQueries returns the titles of all panels by their queries.
func dashboardQueries(t *testing.T) map[string]string {
	t.Helper()
	var board struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(readFile(t, deploy(t, "grafana/countersign.json")), &board); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	values := strings.NewReplacer("$__rate_interval", "1m", "$job", ".+", "$instance", ".+")
	for _, p := range board.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("the panel %q has no query", p.Title)
		}
		for _, target := range p.Targets {
			all[values.Replace(target.Expr)] = p.Title
		}
	}
	return all
}

// TestPrometheusEvaluatesAlertsAndDashboard has Prometheus scrape a server that has done real
// work, with every part that has metrics.
func TestPrometheusEvaluatesAlertsAndDashboard(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "prometheus")
	const number = "+16073517112"
	dir := t.TempDir()
	provider := &gateway{secret: strings.Repeat("metric ", 8), status: http.StatusAccepted}
	logcapture.Secret(t, number, provider.secret)
	sms := filepath.Join(dir, "sms.yaml")
	write(t, sms, `providers: [{ name: first, type: webhook, url: "`+provider.start(t)+`", secret: "`+provider.secret+`" }]`)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := server.MakeCertificate(cert, key); err != nil {
		t.Fatal(err)
	}
	store := storeIn(t, dir)
	flags := []string{"--store", store, "--sms", sms, "--sms-countries", "US", "--metrics-addr", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key,
		"--events-sink", "file:" + filepath.Join(dir, "events.jsonl")}
	if !pgtest.Chosen() {
		flags = append(flags, "--backup-dir", t.TempDir())
	}
	p := serve(t, flags...)
	p.cert = readFile(t, cert)
	succeed(t, "environment", "create", "production", "--production", "--store", store)
	p.key = createKey(t, dir, "production")
	metrics, api := p.metricsURL(), p.api()
	m := monitored(t, strings.TrimSuffix(strings.TrimPrefix(metrics, "http://"), "/metrics"))

	factor := api.enroll(`{"type":"sms","phone_number":"` + number + `","user_id":"user_of_ada"}`)
	challenge := api.challenge(factor.ID)
	text := provider.got()[0].Text
	code := text[len(text)-6:]
	logcapture.Secret(t, code)
	if api.verify(challenge.ID, wrong) || !api.verify(challenge.ID, code) {
		t.Fatal("the flow does not work")
	}
	if !pgtest.Chosen() {
		poll(t, "the first backup", func() bool {
			_, body := get(t, metrics)
			return strings.Contains(body, "\ncountersign_backup_age_seconds ")
		})
	}

	var rules []rule
	poll(t, "the evaluation of all rules", func() bool {
		rules = m.rules()
		return len(rules) > 0 && !slices.ContainsFunc(rules, func(r rule) bool { return r.LastEvaluation.IsZero() || r.Health == "unknown" })
	})
	for _, r := range rules {
		if r.Health != "ok" || r.LastError != "" {
			t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
		}
	}
	documentsAlerts(t, rules)
	queries := dashboardQueries(t)
	namesExist(t, metrics, rules, queries)

	poll(t, "two scrapes after the work", func() bool {
		n, _ := m.query(`rate(countersign_events_total{type="authentication.mfa_succeeded"}[1m])`)
		return n > 0
	})
	poll(t, "the calls of the API in Prometheus", func() bool {
		n, _ := m.query(`rate(countersign_http_requests_total{route="POST /auth/challenges/{id}/verify"}[1m])`)
		return n > 0
	})
	// These show something only after faults, or with PostgreSQL.
	mayBeEmpty := []string{"Errors", "Failed requests by route and status", "Events by type", "Clock ahead of the database"}
	if pgtest.Chosen() {
		mayBeEmpty = append(mayBeEmpty, "Age of the newest backup", "Size of the newest backup", "Failed backups")
	}
	for expr, title := range queries {
		n, problem := m.query(expr)
		if problem != "" || n == 0 && !slices.Contains(mayBeEmpty, title) {
			t.Errorf("%s: %s has %d series %s", title, expr, n, problem)
		}
	}

	state := func() string {
		for _, r := range m.rules() {
			if r.Name == "CountersignDown" {
				return r.State
			}
		}
		return ""
	}
	if got := state(); got != "inactive" {
		t.Errorf("CountersignDown is %q while the server runs", got)
	}
	p.stop()
	poll(t, "CountersignDown", func() bool { got := state(); return got == "pending" || got == "firing" })
}

// documentsAlerts compares the rules with the sections of docs/alerts.md.
func documentsAlerts(t *testing.T, rules []rule) {
	t.Helper()
	page := string(readFile(t, "../../docs/alerts.md"))
	sections := make(map[string]string)
	for _, part := range strings.Split(page, "\n## ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		if strings.HasPrefix(name, "Countersign") {
			sections[name] = text
		}
	}
	for _, r := range rules {
		after := ", at once."
		if r.Duration > 0 {
			after = ", after " + strings.NewReplacer("h0m0s", "h", "m0s", "m").Replace((time.Duration(r.Duration) * time.Second).String()) + "."
		}
		want := []string{"Severity: " + r.Labels["severity"] + after, "**Meaning.** ", "**Cause.** ", "**What to do.** "}
		for _, text := range want {
			if !strings.Contains(sections[r.Name], text) {
				t.Errorf("the section %s of docs/alerts.md lacks %q", r.Name, text)
			}
		}
		delete(sections, r.Name)
		if r.Labels["severity"] != "critical" && r.Labels["severity"] != "warning" {
			t.Errorf("%s has the severity %q", r.Name, r.Labels["severity"])
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || !strings.HasSuffix(r.Annotations["runbook_url"], "/docs/alerts.md#"+strings.ToLower(r.Name)) {
			t.Errorf("%s has the annotations %q", r.Name, r.Annotations)
		}
	}
	for name := range sections {
		t.Errorf("docs/alerts.md has a section %s, which is not a rule", name)
	}
}

// namesExist checks that each metric of rules and queries is in a scrape and in the documents.
func namesExist(t *testing.T, metrics string, rules []rule, queries map[string]string) {
	t.Helper()
	_, body := get(t, metrics)
	elsewhere := "countersign_clock_ahead_seconds" // only with PostgreSQL
	if pgtest.Chosen() {
		elsewhere = "countersign_backup_"
	}
	documents := string(readFile(t, "../../docs/operating.md")) + string(readFile(t, "../../docs/siem.md"))
	used := make(map[string]string)
	names := regexp.MustCompile(`\b(?:countersign|go|process)_[a-z_]+`)
	for _, r := range rules {
		for _, name := range names.FindAllString(r.Query, -1) {
			used[name] = r.Name
		}
	}
	for expr, title := range queries {
		for _, name := range names.FindAllString(expr, -1) {
			used[name] = title
		}
	}
	for name, by := range used {
		if !strings.HasPrefix(name, elsewhere) && !regexp.MustCompile(`(?m)^`+name+`[{ ]`).MatchString(body) {
			t.Errorf("%s uses %s, which is not in a scrape", by, name)
		}
		family := strings.TrimSuffix(name, "_bucket")
		if strings.HasPrefix(name, "countersign_") && !regexp.MustCompile("`"+family+"[`{]").MatchString(documents) {
			t.Errorf("%s uses %s, which no document lists", by, name)
		}
	}
	// The types and results of selectors must exist as well.
	for expr := range queries {
		checkTypes(t, body, expr)
	}
	for _, r := range rules {
		checkTypes(t, body, r.Query)
	}
}

// checkTypes checks that the types of events in a query exist.
func checkTypes(t *testing.T, body, expr string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`type=~?"([a-z_.|()]+)"`).FindAllStringSubmatch(expr, -1) {
		prefix, list := "", m[1]
		if before, rest, ok := strings.Cut(list, "("); ok {
			prefix, list = before, strings.TrimSuffix(rest, ")")
		}
		for _, typ := range strings.Split(list, "|") {
			if !strings.Contains(body, `countersign_events_total{type="`+prefix+typ+`"}`) {
				t.Errorf("there is no type of event %s%s, which %s uses", prefix, typ, expr)
			}
		}
	}
}
