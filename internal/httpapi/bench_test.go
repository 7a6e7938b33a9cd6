package httpapi_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/httpapi"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

// A response is a ResponseWriter that keeps the status, the header and the body.
type response struct {
	header http.Header
	body   bytes.Buffer
	status int
}

func (p *response) Header() http.Header         { return p.header }
func (p *response) Write(b []byte) (int, error) { return p.body.Write(b) }
func (p *response) WriteHeader(status int)      { p.status = status }

// BenchmarkFlow makes requests: plain and keyed challenge a generic_otp factor and verify
// its code. It includes the handlers and a store on disk, but not the network.
func BenchmarkFlow(b *testing.B) {
	log := slog.New(slog.NewJSONHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := sqlite.Open(filepath.Join(b.TempDir(), "bench.db"), log)
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	keyset, err := secret.NewKeyset()
	if err != nil {
		b.Fatal(err)
	}
	service, err := mfa.NewService(store, keyset, nil, mfa.Options{Logger: log})
	if err != nil {
		b.Fatal(err)
	}
	keys := access.NewService(store, nil)
	env, err := keys.CreateEnvironment(b.Context(), mfa.Caller{}, "bench", true)
	if err != nil {
		b.Fatal(err)
	}
	key, _, err := keys.CreateKey(b.Context(), mfa.Caller{Environment: env}, access.KeyParams{})
	if err != nil {
		b.Fatal(err)
	}
	api, err := httpapi.New(service, keys, events.NewService(store, events.Options{}), httpapi.Options{Logger: log, RateLimit: 1_000_000_000})
	if err != nil {
		b.Fatal(err)
	}
	do := func(method, path, body string, header ...string) *response {
		r, err := http.NewRequest(method, path, strings.NewReader(body))
		if err != nil {
			panic(err)
		}
		r.Header.Set("Authorization", "Bearer "+key.Reveal())
		for _, value := range header {
			r.Header.Set("Idempotency-Key", value)
		}
		p := &response{header: http.Header{}}
		api.ServeHTTP(p, r)
		if p.status >= http.StatusBadRequest {
			panic(p.body.String())
		}
		return p
	}
	post := func(path, body string, header ...string) string {
		return do(http.MethodPost, path, body, header...).body.String()
	}
	between := func(s, before, after string) string {
		_, s, _ = strings.Cut(s, before)
		s, _, _ = strings.Cut(s, after)
		return s
	}
	enroll := func(body string) (id string) { return between(post("/auth/factors/enroll", body), `"id":"`, `"`) }
	generic, app := enroll(`{"type":"generic_otp"}`), enroll(`{"type":"totp","totp_issuer":"Example","totp_user":"ada"}`)
	var keyed atomic.Int64
	for _, bc := range []struct {
		name string
		do   func()
	}{
		{"plain", func() {
			c := post("/auth/factors/"+generic+"/challenge", "{}")
			post("/auth/challenges/"+between(c, `"id":"`, `"`)+"/verify", `{"code":"`+between(c, `"code":"`, `"`)+`"}`)
		}},
		{"keyed", func() {
			key := strconv.FormatInt(keyed.Add(1), 10)
			c := post("/auth/factors/"+generic+"/challenge", "{}", key)
			post("/auth/challenges/"+between(c, `"id":"`, `"`)+"/verify", `{"code":"`+between(c, `"code":"`, `"`)+`"}`, key)
		}},
		{"challenge totp", func() { post("/auth/factors/"+app+"/challenge", "{}") }},
		{"enroll generic", func() { enroll(`{"type":"generic_otp"}`) }},
		{"enroll totp", func() { enroll(`{"type":"totp","totp_issuer":"Example","totp_user":"ada"}`) }},
		{"get generic", func() { do(http.MethodGet, "/auth/factors/"+generic, "") }},
		{"get totp", func() { do(http.MethodGet, "/auth/factors/"+app, "") }},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					bc.do()
				}
			})
		})
	}
}
