// Package chart_test renders deploy/helm with Helm's libraries, and reads deploy/compose.
package chart_test

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"

	countersign "github.com/countersign-mfa/countersign"
	"github.com/countersign-mfa/countersign/internal/cli"
)

const chartDir = "../../deploy/helm/countersign"

// A manifest is a document of YAML.
type manifest = map[string]any

// render returns the manifests of a release by kind and name.
func render(t *testing.T, values string) (map[string]manifest, error) {
	t.Helper()
	chart, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	options := chartutil.ReleaseOptions{Name: "mfa", Namespace: "auth", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, given, options, nil)
	if err != nil {
		return nil, err
	}
	strict := engine.Engine{Strict: true}
	files, err := strict.Render(chart, all)
	if err != nil {
		return nil, err
	}
	found := make(map[string]manifest)
	for name, text := range files {
		if !strings.HasSuffix(name, ".yaml") || strings.TrimSpace(text) == "" {
			continue
		}
		var m manifest
		if err := yaml.Unmarshal([]byte(text), &m); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		if m != nil {
			found[fmt.Sprint(m["kind"], "/", at(m, "metadata", "name"))] = m
		}
	}
	return found, nil
}

// at returns a value inside of a manifest, or nil. Numbers are places in lists.
func at(m any, path ...any) any {
	for _, step := range path {
		switch v := m.(type) {
		case manifest:
			m = v[step.(string)]
		case []any:
			if m = nil; step.(int) < len(v) {
				m = v[step.(int)]
			}
		default:
			return nil
		}
	}
	return m
}

const postgres = `
store: postgres
postgres: {replicas: 3, urlSecret: db, keysetSecret: keys}
tlsSecret: tls
metrics: {serviceMonitor: true, prometheusRule: true}
settings: {rate_limit: 12000000, sms_countries: [US, CA], public_url: "https://mfa.example.com"}
`

func TestTheChartHasTheObjectsOfEachStore(t *testing.T) {
	for _, tc := range []struct {
		name, values string
		want         []string
	}{
		{"SQLite", "", []string{"NetworkPolicy/mfa-countersign", "Service/mfa-countersign", "StatefulSet/mfa-countersign"}},
		{"PostgreSQL", postgres, []string{
			"Deployment/mfa-countersign", "Job/mfa-countersign-migrate", "NetworkPolicy/mfa-countersign", "PodDisruptionBudget/mfa-countersign",
			"PrometheusRule/mfa-countersign", "Service/mfa-countersign", "ServiceMonitor/mfa-countersign",
		}},
		{"one node on PostgreSQL", "store: postgres\npostgres: {replicas: 1, urlSecret: db, keysetSecret: keys}\nmetrics: {enabled: false}\nnetworkPolicy: {enabled: false}", []string{
			"Deployment/mfa-countersign", "Job/mfa-countersign-migrate", "Service/mfa-countersign",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			found, err := render(t, tc.values)
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, tc.want) {
				t.Errorf("objects %q; want %q", got, tc.want)
			}
		})
	}
}

// TestPodsRunTheServerWithItsSettings reads the pods of both stores.
func TestPodsRunTheServerWithItsSettings(t *testing.T) {
	known := settings()
	for name, values := range map[string]string{"StatefulSet/mfa-countersign": "", "Deployment/mfa-countersign": postgres} {
		found, err := render(t, values)
		if err != nil {
			t.Fatal(err)
		}
		spec := at(found[name], "spec", "template", "spec")
		container := at(spec, "containers", 0)
		for path, want := range map[string]any{
			"image":                    "countersign:" + countersign.Version,
			"args":                     []any{"serve"},
			"startupProbe path":        "/healthz",
			"livenessProbe path":       "/healthz",
			"readinessProbe path":      "/readyz",
			"readOnlyRootFilesystem":   true,
			"allowPrivilegeEscalation": false,
		} {
			var got any
			switch probe, isProbe := strings.CutSuffix(path, " path"); {
			case isProbe:
				got = at(container, probe, "httpGet", "path")
			case path == "image" || path == "args":
				got = at(container, path)
			default:
				got = at(container, "securityContext", path)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %s is %v; want %v", name, path, got, want)
			}
		}
		if user := at(spec, "securityContext", "runAsUser"); user != 65532 {
			t.Errorf("%s: the pod runs as %v", name, user)
		}
		env := make(map[string]string)
		for _, v := range at(container, "env").([]any) {
			name := at(v, "name").(string)
			env[name] = fmt.Sprint(at(v, "value"))
			if strings.HasPrefix(name, "COUNTERSIGN_") && !known[name] {
				t.Errorf("the server has no setting %s", name)
			}
		}
		if name == "Deployment/mfa-countersign" {
			for setting, want := range map[string]string{"COUNTERSIGN_RATE_LIMIT": "12000000", "COUNTERSIGN_SMS_COUNTRIES": "US,CA", "COUNTERSIGN_PUBLIC_URL": "https://mfa.example.com", "COUNTERSIGN_TLS_CERT": "/etc/countersign/tls/tls.crt"} {
				if env[setting] != want {
					t.Errorf("%s is %q; want %q", setting, env[setting], want)
				}
			}
			if _, plain := env["COUNTERSIGN_PLAIN_HTTP"]; plain {
				t.Error("nodes with a certificate serve plain HTTP")
			}
			if scheme := at(container, "readinessProbe", "httpGet", "scheme"); scheme != "HTTPS" {
				t.Errorf("the probe uses %v", scheme)
			}
			if replicas := at(found[name], "spec", "replicas"); replicas != 3 {
				t.Errorf("%v replicas; want 3", replicas)
			}
		} else if env["COUNTERSIGN_PLAIN_HTTP"] != "true" || env["COUNTERSIGN_STORE"] != "sqlite:/var/lib/countersign/countersign.db" {
			t.Errorf("SQLite: environment %q", env)
		}
	}
}

// TestServicesAndBudgetsSelectThePods compares the labels of pods with the selectors of the
// objects that refer to them. The job of the migration must not receive requests.
func TestServicesAndBudgetsSelectThePods(t *testing.T) {
	found, err := render(t, postgres)
	if err != nil {
		t.Fatal(err)
	}
	nodes := at(found["Deployment/mfa-countersign"], "spec", "template", "metadata", "labels").(manifest)
	job := at(found["Job/mfa-countersign-migrate"], "spec", "template", "metadata", "labels").(manifest)
	for kind, path := range map[string][]any{
		"Deployment":          {"spec", "selector", "matchLabels"},
		"Service":             {"spec", "selector"},
		"PodDisruptionBudget": {"spec", "selector", "matchLabels"},
		"NetworkPolicy":       {"spec", "podSelector", "matchLabels"},
	} {
		selector, ok := at(found[kind+"/mfa-countersign"], path...).(manifest)
		if !ok || len(selector) == 0 || !selects(selector, nodes) || selects(selector, job) {
			t.Errorf("%s selects %v; the nodes have %v, the job has %v", kind, selector, nodes, job)
		}
	}
	service := at(found["Service/mfa-countersign"], "metadata", "labels").(manifest)
	if selector, _ := at(found["ServiceMonitor/mfa-countersign"], "spec", "selector", "matchLabels").(map[string]any); len(selector) == 0 || !selects(selector, service) {
		t.Errorf("the ServiceMonitor selects %v; the service has %v", selector, service)
	}
}

// TestTheChartHasTheAlerts compares the rules of the chart with the file for Prometheus.
func TestTheChartHasTheAlerts(t *testing.T) {
	found, err := render(t, postgres)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var want manifest
	if err := yaml.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if got := found["PrometheusRule/mfa-countersign"]["spec"]; len(want) == 0 || !reflect.DeepEqual(got, any(want)) {
		t.Errorf("the rules of the chart differ from deploy/prometheus/alerts.yaml; copy it to deploy/helm/countersign/files: %v", got)
	}
}

func selects(selector, labels map[string]any) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return true
}

func TestTheSchemaRefusesWrongValues(t *testing.T) {
	for _, values := range []string{
		"store: mysql",
		"store: postgres",
		"store: postgres\npostgres: {urlSecret: db}",
		"store: postgres\npostgres: {urlSecret: db, keysetSecret: keys, replicas: 0}",
		"replicas: 3",
		"sqlite: {size: large}",
		"settings: {store: x}",
		"settings: {rate-limit: 5}",
		"service: {port: 70000}",
	} {
		if _, err := render(t, values); err == nil {
			t.Errorf("accepted: %s", values)
		}
	}
}

func TestTheVersionOfTheChartIsThatOfTheProgram(t *testing.T) {
	chart, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := chart.Validate(); err != nil {
		t.Error(err)
	}
	if chart.Metadata.Version != countersign.Version || chart.Metadata.AppVersion != countersign.Version {
		t.Errorf("the chart is %s of %s; the program is %s", chart.Metadata.Version, chart.Metadata.AppVersion, countersign.Version)
	}
}

// TestTheComposeFileRunsTheServer reads the file; no container engine runs here.
func TestTheComposeFileRunsTheServer(t *testing.T) {
	text, err := os.ReadFile("../../deploy/compose/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Image       string
			ReadOnly    bool `yaml:"read_only"`
			Environment map[string]string
			Volumes     []string
			HealthCheck struct{ Test []string }
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	service := file.Services["countersign"]
	if !strings.HasSuffix(service.Image, "countersign:"+countersign.Version+"}") || !service.ReadOnly {
		t.Errorf("image %q, read only %t", service.Image, service.ReadOnly)
	}
	known := settings()
	if len(service.Environment) == 0 {
		t.Error("the service has no settings")
	}
	for name := range service.Environment {
		if !known[name] {
			t.Errorf("the server has no setting %s", name)
		}
	}
	if _, ok := file.Volumes["countersign"]; !ok || !slices.Contains(service.Volumes, "countersign:/var/lib/countersign") {
		t.Errorf("volumes %v of %v", service.Volumes, file.Volumes)
	}
	if !slices.Equal(service.HealthCheck.Test, []string{"CMD", "/usr/bin/countersign", "health"}) {
		t.Errorf("health check %q", service.HealthCheck.Test)
	}
}

// settings returns the variables of all flags of serve.
func settings() map[string]bool {
	known := make(map[string]bool)
	for _, command := range cli.Model().Leaves(true) {
		if command.Name == "serve" {
			for _, flag := range command.Flags {
				known["COUNTERSIGN_"+strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))] = true
			}
		}
	}
	return known
}
