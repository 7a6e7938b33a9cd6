package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/config"
	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/server"
	"github.com/countersign-mfa/countersign/internal/tools/bench/bare"
	"github.com/countersign-mfa/countersign/internal/tools/bench/load"
)

// A site is a real server over a store in path.
type site struct {
	path, url, key string
	close          func()
}

func open(t *testing.T, path string) *site {
	t.Helper()
	cfg := config.Default()
	cfg.Store, cfg.RateLimit, cfg.FreeFailures, cfg.FactorFailures = "sqlite:"+path, 60_000_000, 100, 100
	s, err := server.New(t.Context(), cfg, server.Parts{Logger: slog.New(slog.NewTextHandler(logcapture.Log(t, t.Name()), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(s)
	closed := false
	at := &site{path: path, url: ts.URL, close: func() {
		if closed {
			return
		}
		closed = true
		ts.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}}
	t.Cleanup(at.close)
	env, err := s.Access().Environment(t.Context(), "bench")
	if err != nil {
		if env, err = s.Access().CreateEnvironment(t.Context(), mfa.Caller{}, "bench", true); err != nil {
			t.Fatal(err)
		}
	}
	key, _, err := s.Access().CreateKey(t.Context(), mfa.Caller{Environment: env}, access.KeyParams{})
	if err != nil {
		t.Fatal(err)
	}
	at.key = key.Reveal()
	logcapture.Secret(t, at.key)
	return at
}

func (s *site) clients(t *testing.T, n int) []*load.Client {
	t.Helper()
	all, err := load.Clients(strings.TrimPrefix(s.url, "http://"), s.key, t.Name(), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { load.CloseAll(all) })
	return all
}

// passAll carries out every flow a few times.
func passAll(t *testing.T, s *site, generic, totp []load.Factor) {
	t.Helper()
	c := s.clients(t, 1)[0]
	for name, flow := range flowsOver(generic, totp) {
		for range 2 {
			if err := flow(c); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestFlowsPassOnARealServer(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "countersign.db"))
	generic, totp, err := load.Enroll(s.clients(t, 3), 20, 10)
	if err != nil {
		t.Fatal(err)
	}
	passAll(t, s, generic, totp)
	if err := load.Get(load.NewFactors(totp))(s.clients(t, 1)[0]); err == nil {
		t.Error("a totp factor passes as a generic_otp one")
	}
}

// The ceiling would not be one if it sent less.
func TestCeilingAnswersAreOfTheSizeOfRealOnes(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "countersign.db"))
	generic, totp, err := load.Enroll(s.clients(t, 1), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	ceiling := httptest.NewServer(bare.Handler())
	t.Cleanup(ceiling.Close)
	ask := func(url, key, method, path, body string) string {
		req, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode >= 300 {
			t.Fatalf("%s %s: %d, %v", method, path, resp.StatusCode, err)
		}
		return string(b)
	}
	between := func(text, before string) string {
		_, text, _ = strings.Cut(text, before)
		text, _, _ = strings.Cut(text, `"`)
		return text
	}
	var real, fixed []string
	for _, side := range []struct {
		url, key, generic, user string
		answers                 *[]string
	}{
		{s.url, s.key, generic[0].ID, totp[0].User, &real},
		{ceiling.URL, "any", bare.FactorID, bare.User, &fixed},
	} {
		challenge := ask(side.url, side.key, "POST", "/auth/factors/"+side.generic+"/challenge", "{}")
		id, code := between(challenge, `"id":"`), between(challenge, `"code":"`)
		*side.answers = []string{
			challenge,
			ask(side.url, side.key, "POST", "/auth/challenges/"+id+"/verify", fmt.Sprintf(`{"code":%q}`, code)),
			ask(side.url, side.key, "POST", "/auth/factors/enroll", `{"type":"generic_otp"}`),
			ask(side.url, side.key, "POST", "/auth/factors/enroll", `{"type":"totp","totp_issuer":"Example","totp_user":"ada@example.com"}`),
			ask(side.url, side.key, "GET", "/auth/factors/"+side.generic, ""),
			ask(side.url, side.key, "GET", "/user_management/users/"+side.user+"/auth_factors", ""),
		}
	}
	for i := range real {
		if got, want := len(fixed[i]), len(real[i]); got < want*97/100 || got > want*103/100 {
			t.Errorf("answer %d of the ceiling has %d bytes; a real one has %d", i, got, want)
		}
	}
}

func TestFilledStoreServesEnrolledFactors(t *testing.T) {
	for _, kind := range []string{"totp", "generic_otp"} {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "countersign.db")
			s := open(t, path)
			generic, totp, err := load.Enroll(s.clients(t, 3), 20, 10)
			if err != nil {
				t.Fatal(err)
			}
			s.close()
			if err := fill(t.Context(), path, kind, 3000); err != nil {
				t.Fatal(err)
			}
			s = open(t, path)
			passAll(t, s, generic, totp)
			s.close()
			checkFilled(t, path, kind, len(generic)+len(totp), 3000)
		})
	}
}

// checkFilled looks at the file of a store that was filled, whose enrolled
// factors are older than all that were enrolled since.
func checkFilled(t *testing.T, path, kind string, enrolled, filled int) {
	t.Helper()
	db, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	text := func(sql string) string {
		s, _, err := db.Prepare(sql)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if !s.Step() {
			t.Fatalf("%s: no row, %v", sql, s.Err())
		}
		return s.ColumnText(0)
	}
	if got := text("PRAGMA integrity_check"); got != "ok" {
		t.Errorf("integrity_check: %s", got)
	}
	// Those that passAll enrolled come after all others: two of each type.
	ofKind := map[string]int{"totp": 10, "generic_otp": 20}[kind]
	if got, want := text(fmt.Sprintf("SELECT count(*) FROM factors WHERE type = %d", kindNumbers[kind])), fmt.Sprint(filled+ofKind+2); got != want {
		t.Errorf("%s factors of the type %s; want %s", got, kind, want)
	}
	if got := text("SELECT count(*) FROM sqlite_schema WHERE name = 'factors_by_user'"); got != "1" {
		t.Error("the index by user is gone")
	}
	if got := text("SELECT count(*) FROM (SELECT DISTINCT hi, lo FROM factors)"); got != text("SELECT count(*) FROM factors") {
		t.Error("an id is that of two")
	}
	// An enrolled factor has events; a filled one does not.
	const spread = `SELECT max(n) - min(n) FROM (SELECT n - lag(n, 1, 0) OVER (ORDER BY n) AS n FROM
		(SELECT row_number() OVER (ORDER BY hi, lo) AS n, (hi, lo) IN (SELECT factor_hi, factor_lo FROM events) AS enrolled FROM factors) WHERE enrolled LIMIT %d)`
	if got := text(fmt.Sprintf(spread, enrolled)); got != "0" {
		t.Errorf("between two enrolled factors lie up to %s more than between two others", got)
	}
}

func TestFillThatCannotWorkSaysSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "countersign.db")
	s := open(t, path)
	s.close()
	if err := fill(t.Context(), path, "totp", 10); err == nil {
		t.Error("an empty store was filled")
	}
}

func TestIDsAsNumbers(t *testing.T) {
	a, b := id{1, 5}, id{0, 10}
	if got := a.minus(b); got != (id{0, 1<<64 - 5}) || got.plus(b) != a {
		t.Errorf("%v - %v = %v", a, b, got)
	}
	if got := (id{10, 6}).over(4); got != (id{2, 1<<63 + 1}) {
		t.Errorf("(10, 6) / 4 = %v", got)
	}
	if hi, lo := a.stored(); idOf(hi, lo) != a {
		t.Errorf("%v comes back as %v", a, idOf(hi, lo))
	}
}
