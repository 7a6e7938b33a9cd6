package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/pgtest"
	"github.com/countersign-mfa/countersign/internal/softkey"
	"github.com/countersign-mfa/countersign/internal/tools/bench/history"
	"github.com/countersign-mfa/countersign/internal/tools/bench/load"
)

// A Page is the time that requests for a page of operators took, one after another.
type Page struct {
	Name     string  `json:"name"`
	Server   string  `json:"server"`
	Requests int     `json:"requests"`
	P50      float64 `json:"p50_ms"`
	P95      float64 `json:"p95_ms"`
	Max      float64 `json:"max_ms"`
}

// mostOfPage is the time in milliseconds that 95 of 100 requests for a page may take.
const mostOfPage = 100

// measureConsole measures the pages of the console and the answers of the operator API, over
// stores with a year of events.
func (b *bench) measureConsole(ctx context.Context) error {
	for _, kind := range b.opts.stores {
		if err := b.measureConsoleOf(ctx, kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func (b *bench) measureConsoleOf(ctx context.Context, kind string) error {
	open := b.historyInPostgres
	if kind == "sqlite" {
		open = b.historyInSQLite
	}
	st, sample, err := open(ctx)
	if err != nil {
		return err
	}
	o, err := b.newOperator(ctx, kind, st)
	if err != nil {
		return err
	}
	if err := o.awaitCounts(ctx, b); err != nil {
		return err
	}
	for _, p := range o.pages(sample) {
		page, err := o.measure(ctx, b.opts.requests, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		b.say("%s on %s: p50 %.1f ms, p95 %.1f ms", page.Name, page.Server, page.P50, page.P95)
		b.results.Pages = append(b.results.Pages, page)
	}
	return o.server.stop()
}

// historyInPostgres returns a new store with a year of events in a PostgreSQL cluster that is
// removed with the bench.
func (b *bench) historyInPostgres(ctx context.Context) (*stored, history.Sample, error) {
	cluster, err := pgtest.New()
	if err != nil {
		return nil, history.Sample{}, err
	}
	b.cleanup = append(b.cleanup, cluster.Remove)
	st := &stored{build: b.opts.binary, keyset: filepath.Join(b.work, "history.keyset"), store: cluster.URL("postgres")}
	sample, err := b.fillHistory(ctx, st)
	return st, sample, err
}

// historyInSQLite returns a new SQLite store with a year of events. The filled store is kept for
// the rest of the day, and copied: pages are about the last day as well.
func (b *bench) historyInSQLite(ctx context.Context) (*stored, history.Sample, error) {
	var sample history.Sample
	if err := b.room(int64(b.opts.events) * 800); err != nil {
		return nil, sample, err
	}
	schema, err := b.schema(ctx, b.opts.binary)
	if err != nil {
		return nil, sample, err
	}
	kept := filepath.Join(b.opts.dir, "stores", fmt.Sprintf("history%d-%d-%d-%s", schema, b.opts.people, b.opts.events, time.Now().Format(time.DateOnly)))
	in := func(dir string) *stored {
		return &stored{build: b.opts.binary, store: "sqlite:" + filepath.Join(dir, databaseFile), keyset: filepath.Join(dir, keysetFile)}
	}
	if _, err := os.Stat(kept); errors.Is(err, fs.ErrNotExist) {
		partial := kept + ".partial"
		if err := errors.Join(os.RemoveAll(partial), os.MkdirAll(partial, 0o700)); err != nil {
			return nil, sample, err
		}
		st := in(partial)
		if sample, err = b.fillHistory(ctx, st); err != nil {
			return nil, sample, err
		}
		// The server counts the events once, and not for each copy.
		o, err := b.newOperator(ctx, "filling", st)
		if err == nil {
			err = o.awaitCounts(ctx, b)
		}
		if err == nil {
			err = o.server.stop()
		}
		if err != nil {
			return nil, sample, err
		}
		text, err := json.Marshal(keptHistory{st.Key, sample})
		if err != nil {
			return nil, sample, err
		}
		if err := errors.Join(os.WriteFile(filepath.Join(partial, populationFile), text, 0o600), os.Rename(partial, kept)); err != nil {
			return nil, sample, err
		}
	}
	dir := filepath.Join(b.work, "history")
	if err := os.CopyFS(dir, os.DirFS(kept)); err != nil {
		return nil, sample, err
	}
	st := in(dir)
	text, err := os.ReadFile(filepath.Join(dir, populationFile))
	if err != nil {
		return nil, sample, err
	}
	var found keptHistory
	if err := json.Unmarshal(text, &found); err != nil {
		return nil, sample, fmt.Errorf("%s: %w; remove it", kept, err)
	}
	st.Key = found.Key
	return st, found.Sample, os.Chmod(st.keyset, 0o600)
}

// A keptHistory describes a filled store.
type keptHistory struct {
	Key    string // an API key
	Sample history.Sample
}

// fillHistory creates a store with a year of events.
func (b *bench) fillHistory(ctx context.Context, st *stored) (history.Sample, error) {
	if _, err := b.command(ctx, st.build, "keyset", "create", st.keyset); err != nil {
		return history.Sample{}, err
	}
	if _, err := b.command(ctx, st.build, "environment", "create", "bench", "--production", "--store", st.store); err != nil {
		return history.Sample{}, err
	}
	var err error
	if st.Key, err = b.command(ctx, st.build, "key", "create", "--env", "bench", "--store", st.store); err != nil {
		return history.Sample{}, err
	}
	began := time.Now()
	b.say("filling %s with %s factors and %s events", filepath.Base(st.store), sizeName(b.opts.people), sizeName(b.opts.events))
	told := began
	sample, err := history.FillStore(ctx, st.store, st.keyset, history.Plan{
		Key: "key_bench", Factors: b.opts.people, Events: b.opts.events, Until: began,
		Report: func(written int) {
			if now := time.Now(); now.Sub(told) > 10*time.Second {
				told = now
				b.say("%d k rows after %.0f s", written/1000, now.Sub(began).Seconds())
			}
		},
	})
	b.say("filled in %.0f s", time.Since(began).Seconds())
	return sample, err
}

// An operatorClient asks a server as operators and their programs do.
type operatorClient struct {
	server  *process
	console string // the address
	key     string // an operator key
	cookies map[string]string
}

// newOperator starts a server over a store, and signs in to its console.
func (b *bench) newOperator(ctx context.Context, kind string, st *stored) (*operatorClient, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(addr, ":")
	origin := "http://localhost:" + port
	o := &operatorClient{console: origin, cookies: map[string]string{}}
	if o.key, err = b.command(ctx, st.build, "key", "create", "--operator", "--store", st.store); err != nil {
		return nil, err
	}
	if o.server, err = b.startStore(ctx, "console "+kind, st, "--console-addr", addr, "--console-url", origin, "--operator-api", "on"); err != nil {
		return nil, err
	}
	link, err := b.command(ctx, st.build, "console", "link", "--as", "bench", "--role", "admin", "--store", st.store, "--console-url", origin)
	if err != nil {
		return nil, err
	}
	_, token, ok := strings.Cut(link, "#")
	if !ok {
		return nil, errors.New("the link of the console has no token")
	}
	return o, o.enroll(ctx, token)
}

// enroll registers a passkey, which signs the operator in.
func (o *operatorClient) enroll(ctx context.Context, token string) error {
	var answer struct {
		Options   json.RawMessage
		To, Error string
	}
	ask := func(path string, question any) error {
		body, err := json.Marshal(question)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.console+path, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		text, err := o.do(req, http.StatusOK)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			return err
		}
		if answer.Error != "" {
			return errors.New(answer.Error)
		}
		return nil
	}
	if err := ask("/console/enroll/options", map[string]string{"link": token}); err != nil {
		return err
	}
	key, err := softkey.NewKey()
	if err != nil {
		return err
	}
	response, err := key.Create(answer.Options, o.console)
	if err != nil {
		return err
	}
	return ask("/console/enroll", map[string]any{"name": "Bench", "response": json.RawMessage(response)})
}

// do sends a request with the cookies of the session, and returns the body of the answer.
func (o *operatorClient) do(req *http.Request, status int) ([]byte, error) {
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	req.Header.Set("Origin", o.console)
	for name, value := range o.cookies {
		req.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	resp, err := once.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	// A cookie jar would not send these cookies without TLS; browsers do to localhost.
	for _, c := range resp.Cookies() {
		o.cookies[c.Name] = c.Value
	}
	if resp.StatusCode != status {
		return nil, fmt.Errorf("%s %s = %d, want %d: %s", req.Method, req.URL.Path, resp.StatusCode, status, body[:min(len(body), 500)])
	}
	return body, nil
}

// once follows no redirect.
var once = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// awaitCounts waits until all events and users are counted, which takes minutes after so many rows
// were imported.
func (o *operatorClient) awaitCounts(ctx context.Context, b *bench) error {
	began := time.Now()
	b.say("waiting until the statistics are counted")
	counted := func(path, field string) (time.Time, error) {
		req, err := o.ask(ctx, http.MethodGet, path, "")
		if err != nil {
			return time.Time{}, err
		}
		text, err := o.do(req, http.StatusOK)
		if err != nil {
			return time.Time{}, err
		}
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			return time.Time{}, err
		}
		at, _ := fields[field].(string)
		if at == "" {
			return time.Time{}, nil
		}
		return time.Parse(time.RFC3339, at)
	}
	for {
		to, err := counted("/operator/v1/environments/bench/statistics", "counted_to")
		if err != nil {
			return err
		}
		users := time.Time{}
		if to.After(began) {
			if users, err = counted("/operator/v1/environments/bench/coverage", "counted_at"); err != nil {
				return err
			}
		}
		if !users.IsZero() {
			b.say("counted in %.0f s", time.Since(began).Seconds())
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-o.server.ended:
			return fmt.Errorf("the server has ended:\n%s", o.server.tail())
		case <-time.After(time.Second):
		}
	}
}

// ask returns a request to the operator API or, under /console, to the console. A body of the
// operator API is JSON, and one of the console a form.
func (o *operatorClient) ask(ctx context.Context, method, path, body string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, o.console+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(path, "/console") {
		if body != "" {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return req, nil
	}
	req.Header.Set("Authorization", "Bearer "+o.key)
	return req, nil
}

// A request is one for a page.
type request struct {
	method, path, body string
	status             int
}

// A pageRequest makes the requests for a page, each about another person.
type pageRequest struct {
	name string
	make func(i int) request
}

// pages lists all requests of the measurement.
func (o *operatorClient) pages(s history.Sample) []pageRequest {
	const console, api = "/console/e/bench", "/operator/v1/environments/bench"
	get := func(path string) func(int) request {
		return func(int) request { return request{http.MethodGet, path, "", http.StatusOK} }
	}
	each := func(before string, ids []string, after string) func(int) request {
		return func(i int) request {
			return request{http.MethodGet, before + url.QueryEscape(ids[i*7919%len(ids)]) + after, "", http.StatusOK}
		}
	}
	find := func(ids []string, status int) func(int) request {
		return func(i int) request {
			return request{http.MethodPost, console + "/users", url.Values{"q": {ids[i*7919%len(ids)]}}.Encode(), status}
		}
	}
	findAPI := func(ids []string) func(int) request {
		return func(i int) request {
			return request{http.MethodPost, api + "/find", fmt.Sprintf(`{"text":%q}`, ids[i*7919%len(ids)]), http.StatusOK}
		}
	}
	list := []pageRequest{
		{"console: find a user", find(s.Users, http.StatusSeeOther)},
		{"console: find a phone number", find(s.Phones, http.StatusOK)},
		{"console: user", each(console+"/user?id=", s.Users, "")},
		{"console: factor", each(console+"/factors/", s.Factors, "")},
		{"console: challenge", each(console+"/challenges/", s.Challenges, "")},
		{"console: messages", get(console + "/messages")},
		{"console: messages, year", get(console + "/messages?span=year")},
		{"console: keys", get(console + "/keys")},
		{"console: webhooks", get(console + "/webhooks")},
		{"console: system", get("/console/system")},
		{"console: operators", get("/console/operators")},
		{"api: find a user", findAPI(s.Users)},
		{"api: find a phone number", findAPI(s.Phones)},
		{"api: user", each(api+"/users/", s.Users, "")},
		{"api: factor", each("/operator/v1/factors/", s.Factors, "")},
		{"api: challenge", each("/operator/v1/challenges/", s.Challenges, "")},
		{"api: coverage", get(api + "/coverage")},
		{"api: messages", get(api + "/messages")},
	}
	for _, span := range []string{"day", "week", "month", "year"} {
		list = append(list, pageRequest{"console: overview, " + span, get(console + "?span=" + span)})
	}
	year := url.Values{"since": {time.Now().Add(-history.Span).UTC().Format(time.RFC3339)}, "step": {"day"}}.Encode()
	list = append(list,
		pageRequest{"api: statistics, year", get(api + "/statistics?" + year)},
		pageRequest{"api: message statistics, year", get(api + "/statistics/messages?" + year)})
	for _, f := range []struct {
		name, console, api string
		of                 []string
	}{
		{"no filter", "", "", nil},
		{"common type", "type=challenge.created", "events=challenge.created", nil},
		{"rare type", "type=factor.locked", "events=factor.locked", nil},
		{"type that never occurred", "type=factor.suspended", "events=factor.suspended", nil},
		{"group of types", "type=message.", "events=message.prefix_paused", nil},
		{"common caller", "caller=key_bench", "caller=key_bench", nil},
		{"rare caller", "caller=operator:ada", "caller=operator:ada", nil},
		{"user", "user=", "user_id=", s.Users},
		{"factor", "id=", "factor_id=", s.Factors},
		{"challenge", "id=", "challenge_id=", s.Challenges},
		{"user and type", "type=factor.locked&user=", "events=factor.locked&user_id=", s.Users},
	} {
		if f.of != nil {
			list = append(list,
				pageRequest{"console: events, " + f.name, each(console+"/events?"+f.console, f.of, "")},
				pageRequest{"api: events, " + f.name, each(api+"/events?"+f.api, f.of, "")})
			continue
		}
		list = append(list,
			pageRequest{"console: events, " + f.name, get(console + "/events?" + f.console)},
			pageRequest{"api: events, " + f.name, get(api + "/events?" + f.api)})
	}
	recent := url.Values{"range_start": {time.Now().Add(-7 * 24 * time.Hour).UTC().Format(time.RFC3339)}, "events": {"factor.locked"}}.Encode()
	return append(list, pageRequest{"api: events, rare type in a week", get(api + "/events?" + recent)})
}

// measure sends n requests, one after another, and before them a few that do not count. A page
// that is much too slow gets fewer requests.
func (o *operatorClient) measure(ctx context.Context, n int, p pageRequest) (Page, error) {
	var times load.Histogram
	const warm = 3
	began := time.Now()
	for i := range n + warm {
		r := p.make(i)
		req, err := o.ask(ctx, r.method, r.path, r.body)
		if err != nil {
			return Page{}, err
		}
		sent := time.Now()
		if _, err := o.do(req, r.status); err != nil {
			return Page{}, err
		}
		if i >= warm || sent.Sub(began) > time.Minute {
			times.Record(time.Since(sent))
		}
		if times.Count() > 0 && time.Since(began) > time.Minute {
			break
		}
	}
	return Page{
		Name: p.name, Server: strings.TrimPrefix(o.server.name, "console "), Requests: int(times.Count()),
		P50: ms(times.Quantile(0.5)), P95: ms(times.Quantile(0.95)), Max: ms(times.Max()),
	}, nil
}
