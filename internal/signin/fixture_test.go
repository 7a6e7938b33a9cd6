package signin_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/events"
	"github.com/countersign-mfa/countersign/internal/mfa/mfatest"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/sqlitetest"
	"github.com/countersign-mfa/countersign/internal/store/sqlite"
)

const origin = "https://console.example.com"

var root = operator.By{Operator: "root"}

// A fixture is a Service over a real store, with a clock that does not move, and the browser
// of one person.
type fixture struct {
	*signin.Service
	t      testing.TB
	store  *sqlite.Store
	clock  *mfatest.Clock
	client signin.Client
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	store, err := sqlite.Open(sqlitetest.Path(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	f := &fixture{t: t, store: store, clock: mfatest.NewClock(mfatest.Start), client: signin.Client{Network: "192.0.2.1", Request: "r1", Browser: "Firefox"}}
	f.Service = f.node()
	return f
}

// node returns another Service over the same store.
func (f *fixture) node() *signin.Service {
	f.t.Helper()
	site, err := passkey.New(passkey.Config{ID: "console.example.com", Origins: []string{origin}})
	if err != nil {
		f.t.Fatal(err)
	}
	return signin.NewService(f.store, site, signin.Options{Now: f.clock.Now})
}

// at returns the client with the session.
func (f *fixture) at(session secret.String) signin.Client {
	c := f.client
	c.Session = session
	return c
}

func (f *fixture) link(name string, role access.Role) secret.String {
	f.t.Helper()
	l, err := f.CreateLink(f.t.Context(), root, name, role)
	if err != nil {
		f.t.Fatalf("CreateLink(%s) = %v", name, err)
	}
	return l.Token
}

// enroll makes an operator with a passkey and signs the operator in.
func (f *fixture) enroll(name string, role access.Role) (*passkeytest.Passkey, secret.String) {
	f.t.Helper()
	link := f.link(name, role)
	b, err := f.BeginEnrollment(f.t.Context(), f.client, link)
	if err != nil {
		f.t.Fatalf("BeginEnrollment = %v", err)
	}
	key, response := passkeytest.Create(f.t, b.Options, origin)
	session, err := f.FinishEnrollment(f.t.Context(), f.client, b.Token, "Laptop", response)
	if err != nil {
		f.t.Fatalf("FinishEnrollment = %v", err)
	}
	return key, session
}

func (f *fixture) signIn(key *passkeytest.Passkey, change ...func(*passkeytest.Answer)) (secret.String, error) {
	f.t.Helper()
	b, err := f.BeginSignIn(f.t.Context(), f.client)
	if err != nil {
		return secret.String{}, err
	}
	return f.FinishSignIn(f.t.Context(), f.client, b.Token, key.Get(f.t, b.Options, change...))
}

func (f *fixture) mustSignIn(key *passkeytest.Passkey) secret.String {
	f.t.Helper()
	session, err := f.signIn(key)
	if err != nil {
		f.t.Fatalf("sign in: %v", err)
	}
	return session
}

// want checks whether a session is good, on this node and on another one.
func (f *fixture) want(session secret.String, want error) {
	f.t.Helper()
	for _, s := range []*signin.Service{f.Service, f.node()} {
		if _, err := s.Identify(f.t.Context(), session); !errors.Is(err, want) {
			f.t.Errorf("Identify = %v; want %v", err, want)
		}
	}
}

// events returns the events of operators as "type reason by", from the given number on.
func (f *fixture) events(from int) (all []string) {
	f.t.Helper()
	page, err := f.store.ReadEvents(f.t.Context(), events.Query{Limit: 1000})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range page.Events {
		all = append(all, strings.TrimPrefix(strings.TrimSpace(string(e.Type)+" "+e.Reason), "operator.")+" by "+strings.TrimPrefix(e.Caller, "operator:"))
	}
	return all[min(from, len(all)):]
}

func (f *fixture) wantEvents(from int, want ...string) {
	f.t.Helper()
	if got := f.events(from); !slices.Equal(got, want) {
		f.t.Errorf("the events are\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func (f *fixture) account(name string) signin.Account {
	f.t.Helper()
	a, err := f.Account(f.t.Context(), name)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

const minute = time.Minute
