package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/server"
)

// TestTheOperatorAPIIsServedOnlyIfItIsOn also restarts a server, which stores the last use of
// its keys when it ends.
func TestTheOperatorAPIIsServedOnlyIfItIsOn(t *testing.T) {
	dir := t.TempDir()
	key := ""
	for _, tc := range []struct {
		name   string
		change func(*config.Config)
		want   int
	}{
		{"by default", func(*config.Config) {}, http.StatusNotFound},
		{"on", func(c *config.Config) { c.OperatorAPI = "on" }, http.StatusOK},
		{"off", func(c *config.Config) { c.OperatorAPI = "off" }, http.StatusNotFound},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := configIn(dir)
			tc.change(&cfg)
			s, err := server.New(t.Context(), cfg, parts(t))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if key == "" {
				text, k, err := s.Access().CreateKey(t.Context(), mfa.Caller{}, access.KeyParams{Scopes: access.ScopesOf(access.ScopeOperatorRead)})
				if err != nil || !k.LastUsedAt.IsZero() {
					t.Fatal(k, err)
				}
				key = text.Reveal()
				logcapture.Secret(t, key)
			}
			r := httptest.NewRequest(http.MethodGet, "/operator/v1/keys", nil)
			r.Header.Set("Authorization", "Bearer "+key)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != tc.want {
				t.Errorf("answered %d %s; want %d", w.Code, w.Body, tc.want)
			}
			if tc.name != "off" {
				return
			}
			if all, err := s.Access().Keys(t.Context()); err != nil || len(all) != 1 || all[0].LastUsedAt.IsZero() {
				t.Errorf("the keys are %+v, %v; want one that was used", all, err)
			}
		})
	}
}

func TestTheAddressOfTheConsoleHasTheOperatorAPI(t *testing.T) {
	cfg := configIn(t.TempDir())
	cfg.ConsoleAddr = "127.0.0.1:0"
	s := start(t, cfg)
	text, _, err := s.Access().CreateKey(t.Context(), mfa.Caller{}, access.KeyParams{Scopes: access.ScopesOf(access.ScopeOperatorRead)})
	if err != nil {
		t.Fatal(err)
	}
	logcapture.Secret(t, text.Reveal())
	base, _, _ := strings.Cut(s.ConsoleURL(), "/console")
	for key, want := range map[string]int{text.Reveal(): http.StatusOK, "": http.StatusUnauthorized} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/operator/v1/me", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("with a key of %d characters: %d; want %d", len(key), resp.StatusCode, want)
		}
	}
}
