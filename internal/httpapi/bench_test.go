package httpapi_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/access"
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

// BenchmarkFlow challenges a generic_otp factor and verifies its code. It includes the
// handlers and a store on disk, but not the network.
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
	env, err := keys.CreateEnvironment(b.Context(), "bench", true)
	if err != nil {
		b.Fatal(err)
	}
	key, _, err := keys.CreateKey(b.Context(), env)
	if err != nil {
		b.Fatal(err)
	}
	api, err := httpapi.New(service, keys, httpapi.Options{Logger: log, RateLimit: 1_000_000_000})
	if err != nil {
		b.Fatal(err)
	}
	do := func(path, body string) *response {
		r, err := http.NewRequest(http.MethodPost, path, strings.NewReader(body))
		if err != nil {
			panic(err)
		}
		r.Header.Set("Authorization", "Bearer "+key.Reveal())
		p := &response{header: http.Header{}}
		api.ServeHTTP(p, r)
		if p.status != http.StatusCreated {
			panic(p.body.String())
		}
		return p
	}
	between := func(s, before, after string) string {
		_, s, _ = strings.Cut(s, before)
		s, _, _ = strings.Cut(s, after)
		return s
	}
	factor := between(do("/auth/factors/enroll", `{"type":"generic_otp"}`).body.String(), `"id":"`, `"`)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c := do("/auth/factors/"+factor+"/challenge", "{}").body.String()
			v := do("/auth/challenges/"+between(c, `"id":"`, `"`)+"/verify", `{"code":"`+between(c, `"code":"`, `"`)+`"}`)
			if !strings.Contains(v.body.String(), `"valid":true`) {
				panic("not valid")
			}
		}
	})
}
