package e2e_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/countersign-mfa/countersign/internal/logcapture"
)

// A collector receives traces over OTLP. It reads them with the protocol buffers of
// OpenTelemetry, and refuses fields that these do not have.
type collector struct {
	*httptest.Server
	t   testing.TB
	log io.Writer

	mu    sync.Mutex
	spans []*tracepb.Span
	names map[string]bool // service.name of the resources
}

func newCollector(t testing.TB) *collector {
	c := &collector{t: t, log: logcapture.Log(t, t.Name()+"-spans"), names: map[string]bool{}}
	c.Server = httptest.NewServer(http.HandlerFunc(c.receive))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var data tracepb.TracesData
	if err == nil {
		err = protojson.Unmarshal(body, &data)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.log, "%s\n", body) // searched for secrets like the logs
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("X-Token") != "token of the collector" {
		c.t.Errorf("the collector received %s %s with %v: %v\n%s", r.Method, r.URL, r.Header, err, body)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, resource := range data.ResourceSpans {
		for _, a := range resource.Resource.Attributes {
			if a.Key == "service.name" {
				c.names[a.Value.GetStringValue()] = true
			}
		}
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, "{}")
}

// inHex returns an id. The JSON of OTLP has ids in hexadecimal, where the JSON of protocol
// buffers has base64. Hexadecimal digits are digits of base64 too, so encoding brings back the text.
func inHex(id []byte) string { return base64.StdEncoding.EncodeToString(id) }

func attributesOf(s *tracepb.Span) map[string]string {
	all := map[string]string{}
	for _, a := range s.Attributes {
		all[a.Key] = a.Value.GetStringValue()
		if a.Value.GetStringValue() == "" {
			all[a.Key] = strconv.FormatInt(a.Value.GetIntValue(), 10)
		}
	}
	return all
}

// traced makes a request with a traceparent.
func traced(a *api, parent, path, body string) answer {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.key)
	req.Header.Set("traceparent", parent)
	req.Header.Set("tracestate", "vendor=1")
	resp, err := a.client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusCreated {
		a.t.Fatalf("%s: %d %s, %v", path, resp.StatusCode, text, err)
	}
	got := answer{status: resp.StatusCode, header: resp.Header, body: text}
	if got.entity, err = readEntity(text); err != nil {
		a.t.Fatal(err)
	}
	return got
}

const spanOfClient = "00f067aa0ba902b7"

// TestOneTraceFromTheClientToTheGateway makes a challenge and verifies its code as parts of a trace of
// the client.
func TestOneTraceFromTheClientToTheGateway(t *testing.T) {
	t.Parallel()
	const number, trace = "+16073517112", "4bf92f3577b34da6a3ce929d0e0e4736"
	dir, c := t.TempDir(), newCollector(t)
	var mu sync.Mutex
	var deliveries []string // the traceparents of webhook deliveries
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		deliveries = append(deliveries, r.Header.Get("traceparent"))
	}))
	defer hook.Close()
	g := &gateway{secret: strings.Repeat("secret ", 8), status: http.StatusAccepted}
	logcapture.Secret(t, number, g.secret)
	sms, headers := filepath.Join(dir, "sms.yaml"), filepath.Join(dir, "headers")
	write(t, sms, `providers: [{ name: first, type: webhook, url: "`+g.start(t)+`", secret: "`+g.secret+`" }]`)
	write(t, headers, "X-Token: token of the collector\n")
	logcapture.Secret(t, "token of the collector", "user_of_ada")
	store := storeIn(t, dir)
	p := serve(t, "--store", store, "--sms", sms, "--sms-countries", "US", "--webhook-allow", "127.0.0.0/8", "--webhook-plain-http",
		"--otlp-endpoint", c.URL, "--otlp-headers-file", headers, "--otlp-service-name", "second factors")
	succeed(t, "environment", "create", "production", "--production", "--store", store)
	p.key = createKey(t, dir, "production")
	api := p.api()
	hookSecret := api.want(http.StatusCreated, "POST", "/webhook_endpoints", `{"endpoint_url":"`+hook.URL+`/path-of-the-hook","events":["authentication.mfa_succeeded"]}`)
	logcapture.Secret(t, regexp.MustCompile(`"secret":"([^"]+)"`).FindStringSubmatch(string(hookSecret.body))[1])

	factor := api.enroll(`{"type":"sms","phone_number":"` + number + `","user_id":"user_of_ada"}`)
	parent := "00-" + trace + "-" + spanOfClient + "-01"
	challenge := traced(api, parent, "/auth/factors/"+factor.ID+"/challenge", "")
	text := g.got()[0].Text
	code := text[len(text)-6:]
	logcapture.Secret(t, code)
	if verified := traced(api, parent, "/auth/challenges/"+challenge.ID+"/verify?code="+code, `{"code":"`+code+`"}`); !verified.Valid {
		t.Fatal("the code is refused")
	}
	poll(t, "a delivery", func() bool { mu.Lock(); defer mu.Unlock(); return len(deliveries) > 0 })
	if code := p.stop(); code != 0 {
		t.Fatalf("the program ended with exit code %d", code)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	byID, ofTrace := map[string]*tracepb.Span{}, 0
	for _, s := range c.spans {
		byID[inHex(s.SpanId)] = s
		if s.EndTimeUnixNano < s.StartTimeUnixNano || s.StartTimeUnixNano == 0 {
			t.Errorf("%s lasts from %d to %d", s.Name, s.StartTimeUnixNano, s.EndTimeUnixNano)
		}
	}
	servers, children := map[string]*tracepb.Span{}, map[string][]*tracepb.Span{}
	for _, s := range c.spans {
		if inHex(s.TraceId) != trace {
			continue
		}
		ofTrace++
		if s.TraceState != "vendor=1" {
			t.Errorf("the tracestate of %s is %q", s.Name, s.TraceState)
		}
		if s.Kind == tracepb.Span_SPAN_KIND_SERVER {
			servers[s.Name] = s
			if inHex(s.ParentSpanId) != spanOfClient || s.Flags != 0x301 {
				t.Errorf("%s has the parent %s and the flags %x", s.Name, inHex(s.ParentSpanId), s.Flags)
			}
			continue
		}
		up := byID[inHex(s.ParentSpanId)]
		if up == nil || up.Kind != tracepb.Span_SPAN_KIND_SERVER || inHex(up.TraceId) != trace || s.StartTimeUnixNano < up.StartTimeUnixNano {
			t.Errorf("the parent of %s is %v", s.Name, up)
			continue
		}
		children[up.Name+" > "+s.Name] = append(children[up.Name+" > "+s.Name], s)
	}
	const create, verify = "POST /auth/factors/{id}/challenge", "POST /auth/challenges/{id}/verify"
	for _, name := range []string{create, verify} {
		s := servers[name]
		if s == nil {
			t.Fatalf("there is no span %s in %v", name, c.spans)
		}
		got := attributesOf(s)
		for key, want := range map[string]string{
			"http.request.method": "POST", "http.route": strings.TrimPrefix(name, "POST "), "http.response.status_code": "201",
			"url.scheme": "http", "countersign.environment": "production",
		} {
			if got[key] != want {
				t.Errorf("%s of %s is %q; want %q", key, name, got[key], want)
			}
		}
		p.await(p.log, `msg=request request=`+got["countersign.request"]+` route="`+regexp.QuoteMeta(name)+`".* trace=`+trace)
	}
	for _, name := range []string{create + " > store update", create + " > sms first", verify + " > store update"} {
		if len(children[name]) == 0 {
			t.Errorf("there is no span %s", name)
			continue
		}
		if got := attributesOf(children[name][0]); !strings.HasSuffix(name, "sms first") && got["db.system.name"] != "sqlite" && got["db.system.name"] != "postgresql" {
			t.Errorf("the attributes of %s are %v", name, got)
		}
	}
	if sent := children[create+" > sms first"]; len(sent) == 1 {
		if want := "00-" + trace + "-" + inHex(sent[0].SpanId) + "-01"; g.parents[0] != want {
			t.Errorf("the gateway received the traceparent %s; want %s", g.parents[0], want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	part := strings.Split(deliveries[0], "-")
	if len(part) != 4 || byID[part[2]] == nil || byID[part[2]].Name != "webhook delivery" || inHex(byID[part[2]].TraceId) != part[1] || part[1] == trace {
		t.Errorf("the webhook received the traceparent %q", deliveries[0])
	} else if got := attributesOf(byID[part[2]]); got["http.response.status_code"] != "200" || got["server.address"] != "127.0.0.1" {
		t.Errorf("the attributes of the delivery are %v", got)
	}
	if !c.names["second factors"] || len(c.names) != 1 {
		t.Errorf("the names of the service are %v", c.names)
	}
	for _, s := range c.spans {
		for _, secret := range []string{factor.ID, challenge.ID, code, number[1:], "user_of_ada", "path-of-the-hook", p.key} {
			if strings.Contains(s.String(), secret) {
				t.Errorf("the span %s contains %s", s.Name, secret)
			}
		}
	}
	t.Logf("%d spans, of which %d belong to the trace of the client", len(c.spans), ofTrace)
}

// TestASilentCollectorDelaysNoRequest makes more spans than the queue holds while the collector answers
// nothing.
func TestASilentCollectorDelaysNoRequest(t *testing.T) {
	t.Parallel()
	const requests, callers, queue, batch = 4000, 8, 2048, 512
	end := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
	defer silent.Close()
	defer close(end)
	p := serve(t, "--store", storeIn(t, t.TempDir()), "--metrics-addr", "127.0.0.1:0", "--otlp-endpoint", silent.URL)
	url := p.metricsURL()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range requests / callers {
				resp, err := http.Get(p.url + "/nowhere")
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusNotFound {
					t.Errorf("status %d", resp.StatusCode)
				}
			}
		})
	}
	all.Wait()
	// All requests were answered while the collector had not answered once.
	var dropped int
	poll(t, "dropped spans", func() bool {
		_, body := get(t, url)
		found := regexp.MustCompile(`(?m)^countersign_telemetry_spans_dropped_total (\d+)$`).FindStringSubmatch(body)
		if found == nil || !strings.Contains(body, "\ncountersign_telemetry_spans_sent_total 0\n") {
			t.Fatalf("the metrics of spans are wrong:\n%s", strings.Join(ours(body), "\n"))
		}
		dropped, _ = strconv.Atoi(found[1])
		return dropped >= requests-queue-batch
	})
	if dropped > requests {
		t.Errorf("%d of %d spans are dropped", dropped, requests)
	}
}
