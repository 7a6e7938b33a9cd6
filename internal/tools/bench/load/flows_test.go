package load_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/tools/bench/bare"
	"github.com/countersign-mfa/countersign/internal/tools/bench/load"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// client returns a client of h.
func client(t *testing.T, h http.Handler) *load.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := load.NewClient(strings.TrimPrefix(s.URL, "http://"), "sk_live_key", "me")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func one() *load.Factors { return load.NewFactors([]load.Factor{{ID: bare.FactorID, User: bare.User}}) }

// spoilt passes on the answers of the ceiling to requests whose path holds a text,
// with something in them replaced.
func spoilt(path, from, to string) http.Handler {
	h := bare.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, path) {
			h.ServeHTTP(w, r)
			return
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		body := strings.Replace(rec.Body.String(), from, to, 1)
		if from != "" && body == rec.Body.String() {
			body = "this test replaces nothing"
		}
		status := rec.Code
		if from == "" {
			status, _ = strconv.Atoi(to)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		w.Write([]byte(body))
	})
}

func TestWrongAnswersAreNoticed(t *testing.T) {
	const (
		otherFactor    = "auth_factor_01K9QZ5T7V3W8X2Y4Z6A8B0C1X"
		otherChallenge = "auth_challenge_01K9QZ5T7V3W8X2Y4Z6A8B0C1X"
		challenge      = "auth_challenge_01K9QZ5T7V3W8X2Y4Z6A8B0C1E"
	)
	flow, wrong, get, list := load.ChallengeVerify(one()), load.ChallengeWrong(one()), load.Get(one()), load.List(one())
	for _, tc := range []struct {
		name     string
		flow     load.Flow
		path     string
		from, to string // from "": another status
		want     string // in the error
	}{
		{"another status", flow, "/challenge", "", "200", "want 201"},
		{"a server error", flow, "/challenge", "", "500", "want 201"},
		{"503 without Retry-After", flow, "/challenge", "", "503", "no Retry-After"},
		{"another object", flow, "/challenge", "authentication_challenge", "authentication_factor", "object"},
		{"no id", flow, "/challenge", `"id":"` + challenge, `"id":"`, "the id"},
		{"the id of something else", flow, "/challenge", "auth_challenge_", "auth_factor_", "the id"},
		{"a challenge of another factor", flow, "/challenge", bare.FactorID, otherFactor, "another factor"},
		{"no expiry", flow, "/challenge", "expires_at", "expired_at", "never expires"},
		{"no code", flow, "/challenge", `"code"`, `"coda"`, "no code"},
		{"five digits", flow, "/challenge", "424242", "42424", "no code"},
		{"no digits", flow, "/challenge", "424242", "42424x", "no code"},
		{"no JSON", flow, "/challenge", "{", "", "no JSON"},
		{"a right code that is wrong", flow, "/verify", "true", "false", "valid is not true"},
		{"no verdict", flow, "/verify", `"valid":true`, `"void":true`, "valid is not true"},
		{"another challenge verified", flow, "/verify", challenge, otherChallenge, "another challenge"},
		{"of another factor", flow, "/verify", bare.FactorID, otherFactor, "another factor"},
		{"a verification with another status", flow, "/verify", "", "200", "want 201"},
		{"a wrong code that is right", wrong, "/verify", "false", "true", "valid is not false"},
		{"a code for a totp factor", totpFlow, "/challenge", "x", "x", "there is a code"},
		{"another factor", get, "/factors", bare.FactorID, otherFactor, "another factor"},
		{"a factor of another type", get, "/factors", "generic_otp", "sms", "type"},
		{"a factor that is none", get, "/factors", "authentication_factor", "factor", "object"},
		{"created instead of found", get, "/factors", "", "201", "want 200"},
		{"no list", list, "/auth_factors", `"list"`, `"page"`, "no list"},
		{"an empty list", list, "/auth_factors", `"id":`, `"no":`, "not the user's"},
		{"another user's list", list, "/auth_factors", bare.User, "user_2", "another user"},
		{"a long list", list, "/auth_factors", `"data":[{`, `"data":[{"id":"` + bare.FactorID + `"},{`, "more than one"},
		{"a generic_otp factor instead", load.EnrollTOTP, "/enroll", `"totp"`, `"generic_otp"`, "type"},
		{"no secret", load.EnrollTOTP, "/enroll", `"secret"`, `"sacred"`, "no secret"},
		{"no URI", load.EnrollTOTP, "/enroll", "otpauth://totp/", "otpauth://hotp/", "otpauth"},
		{"no image", load.EnrollTOTP, "/enroll", "image/png", "image/gif", "PNG"},
		{"an image that is damaged", load.EnrollTOTP, "/enroll", "base64,iVBOR", "base64,aaaaa", "no image"},
		{"a totp factor instead", load.EnrollGeneric, "/enroll", "generic_otp", "totp", "type"},
		{"an enrollment without an id", load.EnrollGeneric, "/enroll", "auth_factor_", "factor_", "the id"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := spoilt(tc.path, tc.from, tc.to)
			if tc.from == tc.to {
				h = bare.Handler()
			}
			err := tc.flow(client(t, h))
			wrong, ok := errors.AsType[*load.WrongError](err)
			if !ok || !strings.Contains(wrong.What, tc.want) {
				t.Fatalf("%v; want a WrongError that says %q", err, tc.want)
			}
			for _, secret := range []string{"424242", "42424x", "JBSWY3DP", "sk_live_key"} {
				if tc.to != "500" && strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows a secret: %v", err)
				}
			}
		})
	}
}

func totpFlow(c *load.Client) error { return load.ChallengeTOTP(one())(c) }

func TestRightAnswersPass(t *testing.T) {
	for name, flow := range map[string]load.Flow{
		"challenge and verify": load.ChallengeVerify(one()),
		"with keys":            load.Keyed(load.ChallengeVerify(one())),
		"wrong code":           load.ChallengeWrong(one()),
		"enroll generic_otp":   load.EnrollGeneric,
		"enroll totp":          load.EnrollTOTP,
		"get":                  load.Get(one()),
		"list":                 load.List(one()),
	} {
		c := client(t, bare.Handler())
		for range 3 {
			if err := flow(c); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestRefusalIsNoWrongAnswer(t *testing.T) {
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte("{}"))
	}))
	if err := load.ChallengeVerify(one())(c); !errors.Is(err, load.ErrRefused) {
		t.Errorf("%v; want %v", err, load.ErrRefused)
	}
}

func TestRequestsMatchTheirNames(t *testing.T) {
	var got []string
	keys := map[string]bool{}
	h := bare.Handler()
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		body.ReadFrom(r.Body)
		got = append(got, r.Method+" "+r.URL.Path+" "+body.String())
		r.Body = http.NoBody
		if r.Method == http.MethodPost {
			again := httptest.NewRequest(r.Method, r.URL.Path, &body)
			again.Header = r.Header
			r = again
		}
		if key := r.Header.Get("Idempotency-Key"); key != "" {
			keys[key] = true
		}
		if r.Header.Get("Authorization") != "Bearer sk_live_key" {
			t.Errorf("%s %s bears %q", r.Method, r.URL.Path, r.Header.Get("Authorization"))
		}
		h.ServeHTTP(w, r)
	}))
	flow := load.ChallengeVerify(one())
	for _, f := range []load.Flow{load.Keyed(flow), load.Keyed(flow), flow, load.Get(one())} {
		if err := f(c); err != nil {
			t.Fatal(err)
		}
	}
	if len(keys) != 4 {
		t.Errorf("two flows with two keyed requests each had %d different keys", len(keys))
	}
	want := []string{"POST /auth/factors/" + bare.FactorID + "/challenge {}",
		`POST /auth/challenges/auth_challenge_01K9QZ5T7V3W8X2Y4Z6A8B0C1E/verify {"code":"424242"}`,
		"GET /auth/factors/" + bare.FactorID + " "}
	if len(got) != 7 || got[4] != want[0] || got[5] != want[1] || got[6] != want[2] {
		t.Errorf("requests were %q", got)
	}
}

func TestCodesAreThoseOfTheSecret(t *testing.T) {
	key, err := totp.ParseSecret(load.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []int64{0, 1, 58_000_000, 1 << 40} {
		if got, want := string(load.AppendTOTP(nil, step)), totp.Code(key, step); got != want {
			t.Errorf("at step %d the code differs from the server's", step)
		}
	}
}

func TestEveryCodeIsTakenOnceAndInOrder(t *testing.T) {
	factors := load.NewFactors([]load.Factor{{ID: "a"}, {ID: "b"}})
	now := time.Unix(30_000, 0) // the begin of step 1000
	taken := map[string][]int64{}
	for range 6 {
		f, step, err := factors.NextTOTP(now)
		if err != nil {
			t.Fatal(err)
		}
		taken[f.ID] = append(taken[f.ID], step)
	}
	for id, steps := range taken {
		if len(steps) != 3 || steps[0] != 999 || steps[1] != 1000 || steps[2] != 1001 {
			t.Errorf("factor %s gave the steps %d; want 999, 1000, 1001", id, steps)
		}
	}
	if _, step, err := factors.NextTOTP(now); !errors.Is(err, load.ErrSpent) {
		t.Errorf("then step %d, %v; want %v", step, err, load.ErrSpent)
	}
	if _, step, err := factors.NextTOTP(now.Add(30 * time.Second)); err != nil || step != 1002 {
		t.Errorf("30 s later step %d, %v; want 1002", step, err)
	}
	// Near its end, a step may be over when the server looks.
	fresh := load.NewFactors([]load.Factor{{ID: "c"}})
	if _, step, err := fresh.NextTOTP(now.Add(29 * time.Second)); err != nil || step != 1000 {
		t.Errorf("a second before its end step %d, %v; want 1000", step, err)
	}
}

func TestFactorsAreAllTakenInTurn(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 999, 1000} {
		all := make([]load.Factor, n)
		for i := range all {
			all[i].ID = strconv.Itoa(i)
		}
		p := load.NewFactors(all)
		for range 2 {
			seen := map[string]bool{}
			for range n {
				seen[p.Next().ID] = true
			}
			if len(seen) != n {
				t.Errorf("of %d factors %d were taken in a turn", n, len(seen))
			}
		}
	}
}

func TestRecoveryCodesAreTriedInTurn(t *testing.T) {
	var got []string
	answer := `{"valid":false}`
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		body.ReadFrom(r.Body)
		got = append(got, r.URL.Path+" "+body.String())
		io.WriteString(w, answer)
	}))
	flow := load.RecoverWrong(load.NewFactors([]load.Factor{{User: "ada"}, {User: "alan"}}))
	for range 2 {
		if err := flow(c); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(got)
	want := []string{
		`/user_management/users/ada/verify {"code":"0000-0000-0000-0000"}`,
		`/user_management/users/alan/verify {"code":"0000-0000-0000-0000"}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("requests were %q; want %q", got, want)
	}
	answer = `{"valid":true}`
	if _, ok := errors.AsType[*load.WrongError](flow(c)); !ok {
		t.Error("a wrong code that is valid is not noticed")
	}
}
