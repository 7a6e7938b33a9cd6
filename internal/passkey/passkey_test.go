package passkey_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
)

const origin = "https://login.example.com"

var (
	challenge = []byte("0123456789abcdef0123456789abcdef")
	ada       = passkey.User{Handle: []byte("user handle of ada"), Name: "ada@example.com"}
)

func relyingParty(t testing.TB) *passkey.RelyingParty {
	t.Helper()
	p, err := passkey.New(passkey.Config{ID: "example.com", Origins: []string{origin, "https://example.com:8443", "android:apk-key-hash:abc"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func creation(t testing.TB, p *passkey.RelyingParty) []byte {
	t.Helper()
	options, err := p.CreationOptions(passkey.Creation{Challenge: challenge, User: ada})
	if err != nil {
		t.Fatal(err)
	}
	return options
}

func request(t testing.TB, p *passkey.RelyingParty) []byte {
	t.Helper()
	options, err := p.RequestOptions(passkey.Request{Challenge: challenge})
	if err != nil {
		t.Fatal(err)
	}
	return options
}

var expected = passkey.Expectation{Challenge: challenge, UserHandle: ada.Handle, UserVerified: true}

// register makes a passkey and returns it and its stored form.
func register(t testing.TB, p *passkey.RelyingParty, change ...func(*passkeytest.Answer)) (*passkeytest.Passkey, passkey.Credential) {
	t.Helper()
	key, response := passkeytest.Create(t, creation(t, p), origin, change...)
	c, err := p.CheckCreation(response, expected)
	if err != nil {
		t.Fatalf("CheckCreation = %v", err)
	}
	return key, c
}

func check(t testing.TB, p *passkey.RelyingParty, c passkey.Credential, response []byte, want passkey.Expectation) (passkey.Assertion, error) {
	t.Helper()
	r, err := passkey.ReadResponse(response)
	if err != nil {
		return passkey.Assertion{}, err
	}
	return p.Check(r, c, want)
}

func TestPasskeyIsRegisteredAndUsed(t *testing.T) {
	p := relyingParty(t)
	key, c := register(t, p)
	if !bytes.Equal(c.ID, key.ID) || c.SignCount != 1 || !c.UserVerified || c.BackupEligible || c.BackedUp ||
		c.Attachment != "platform" || !slices.Equal(c.Transports, []string{"internal"}) {
		t.Errorf("the credential is %+v", c)
	}
	for want := uint32(2); want < 5; want++ {
		r, err := passkey.ReadResponse(key.Get(t, request(t, p)))
		if err != nil || !bytes.Equal(r.CredentialID, key.ID) || !bytes.Equal(r.UserHandle, ada.Handle) {
			t.Fatalf("ReadResponse = %+v, %v", r, err)
		}
		a, err := p.Check(r, c, expected)
		if err != nil || a != (passkey.Assertion{SignCount: want, UserVerified: true}) {
			t.Fatalf("Check = %+v, %v", a, err)
		}
		c.SignCount = a.SignCount
	}
}

func TestRefusedCreations(t *testing.T) {
	p := relyingParty(t)
	for name, change := range map[string]func(*passkeytest.Answer){
		"of another ceremony":            func(a *passkeytest.Answer) { a.ClientData["type"] = "webauthn.get" },
		"to another challenge":           func(a *passkeytest.Answer) { a.ClientData["challenge"] = "MDEyMzQ1Njc4OWFiY2RlZg" },
		"without a challenge":            func(a *passkeytest.Answer) { delete(a.ClientData, "challenge") },
		"of another site":                func(a *passkeytest.Answer) { a.ClientData["origin"] = "https://example.com.evil.example" },
		"of a sibling site":              func(a *passkeytest.Answer) { a.ClientData["origin"] = "https://www.example.com" },
		"of another port":                func(a *passkeytest.Answer) { a.ClientData["origin"] = origin + ":444" },
		"without TLS":                    func(a *passkeytest.Answer) { a.ClientData["origin"] = "http://login.example.com" },
		"of a frame in another site":     func(a *passkeytest.Answer) { a.ClientData["crossOrigin"] = true },
		"with the top origin of another": func(a *passkeytest.Answer) { a.ClientData["topOrigin"] = "https://evil.example" },
		"for another relying party":      func(a *passkeytest.Answer) { a.RPID = "evil.example" },
		"without presence":               func(a *passkeytest.Answer) { a.Flags &^= passkeytest.UserPresent },
		"without verification":           func(a *passkeytest.Answer) { a.Flags &^= passkeytest.UserVerified },
		"backed up but not eligible":     func(a *passkeytest.Answer) { a.Flags |= passkeytest.BackedUp },
		"with the id of another key":     func(a *passkeytest.Answer) { a.ID = []byte("another one 1234") },
		"with an empty id":               func(a *passkeytest.Answer) { a.ID = nil },
	} {
		_, response := passkeytest.Create(t, creation(t, p), origin, change)
		if c, err := p.CheckCreation(response, expected); !errors.Is(err, passkey.ErrRefused) {
			t.Errorf("a response %s: %+v, %v; want %v", name, c, err, passkey.ErrRefused)
		}
	}
}

func TestRefusedAssertions(t *testing.T) {
	p := relyingParty(t)
	key, c := register(t, p)
	for name, change := range map[string]func(*passkeytest.Answer){
		"of another ceremony":        func(a *passkeytest.Answer) { a.ClientData["type"] = "webauthn.create" },
		"to another challenge":       func(a *passkeytest.Answer) { a.ClientData["challenge"] = "MDEyMzQ1Njc4OWFiY2RlZg" },
		"without a challenge":        func(a *passkeytest.Answer) { delete(a.ClientData, "challenge") },
		"of another site":            func(a *passkeytest.Answer) { a.ClientData["origin"] = "https://evil.example" },
		"of a path of the site":      func(a *passkeytest.Answer) { a.ClientData["origin"] = "https://evil.example/" + origin },
		"of a frame in another site": func(a *passkeytest.Answer) { a.ClientData["crossOrigin"] = true },
		"for another relying party":  func(a *passkeytest.Answer) { a.RPID = "evil.example" },
		"without presence":           func(a *passkeytest.Answer) { a.Flags &^= passkeytest.UserPresent },
		"without verification":       func(a *passkeytest.Answer) { a.Flags &^= passkeytest.UserVerified },
		"suddenly eligible":          func(a *passkeytest.Answer) { a.Flags |= passkeytest.BackupEligible },
		"backed up but not eligible": func(a *passkeytest.Answer) { a.Flags |= passkeytest.BackedUp },
		"of another user":            func(a *passkeytest.Answer) { a.UserHandle = []byte("user handle of eve") },
		"without a user":             func(a *passkeytest.Answer) { a.UserHandle = nil },
		"of another credential":      func(a *passkeytest.Answer) { a.ID = []byte("another one 1234") },
		"with a broken signature":    func(a *passkeytest.Answer) { a.Signature = func(s []byte) []byte { s[len(s)-1] ^= 1; return s } },
		"without a signature":        func(a *passkeytest.Answer) { a.Signature = func([]byte) []byte { return nil } },
	} {
		if a, err := check(t, p, c, key.Get(t, request(t, p), change), expected); !errors.Is(err, passkey.ErrRefused) {
			t.Errorf("a response %s: %+v, %v; want %v", name, a, err, passkey.ErrRefused)
		}
	}
	_, other := register(t, p)
	other.ID = c.ID
	if _, err := check(t, p, other, key.Get(t, request(t, p)), expected); !errors.Is(err, passkey.ErrRefused) {
		t.Errorf("a response of another key: %v", err)
	}
	if _, err := check(t, p, c, key.Get(t, request(t, p)), expected); err != nil {
		t.Errorf("after the refused responses: %v", err)
	}
}

func TestResponseMatchesOnlyItsChallenge(t *testing.T) {
	p := relyingParty(t)
	key, c := register(t, p)
	response := key.Get(t, request(t, p))
	if _, err := check(t, p, c, response, expected); err != nil {
		t.Fatal(err)
	}
	next := expected
	next.Challenge = []byte("another challenge of the site")
	if _, err := check(t, p, c, response, next); !errors.Is(err, passkey.ErrRefused) {
		t.Errorf("a replayed response = %v; want %v", err, passkey.ErrRefused)
	}
	for _, short := range [][]byte{nil, {}, []byte("0123456789abcde")} {
		next.Challenge = short
		answer := key.Get(t, request(t, p), func(a *passkeytest.Answer) { a.ClientData["challenge"] = string(short) })
		if _, err := check(t, p, c, answer, next); !errors.Is(err, passkey.ErrRefused) {
			t.Errorf("a response to a challenge of %d bytes = %v; want %v", len(short), err, passkey.ErrRefused)
		}
	}
}

func TestCounter(t *testing.T) {
	p := relyingParty(t)
	for _, tc := range []struct {
		name            string
		flags           byte
		stored, counter uint32
		want            passkey.Assertion
		err             error
	}{
		{name: "increases", stored: 7, counter: 8, want: passkey.Assertion{SignCount: 8}},
		{name: "jumps", stored: 7, counter: 1 << 31, want: passkey.Assertion{SignCount: 1 << 31}},
		{name: "is not in use", want: passkey.Assertion{}},
		{name: "stays", stored: 7, counter: 7, err: passkey.ErrCloned},
		{name: "falls", stored: 7, counter: 6, err: passkey.ErrCloned},
		{name: "falls to zero", stored: 7, err: passkey.ErrCloned},
		{name: "of a synced passkey increases", flags: passkeytest.BackupEligible, stored: 7, counter: 8, want: passkey.Assertion{SignCount: 8}},
		{name: "of a synced passkey falls", flags: passkeytest.BackupEligible, stored: 7, counter: 6,
			want: passkey.Assertion{SignCount: 7, CounterFell: true}},
		{name: "of a synced passkey falls while it is backed up", flags: passkeytest.BackupEligible | passkeytest.BackedUp, stored: 7,
			want: passkey.Assertion{SignCount: 7, BackedUp: true, CounterFell: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			key, c := register(t, p, func(a *passkeytest.Answer) { a.Flags |= tc.flags })
			c.SignCount = tc.stored
			tc.want.UserVerified = tc.err == nil
			got, err := check(t, p, c, key.Get(t, request(t, p), func(a *passkeytest.Answer) { a.Counter = tc.counter; a.Flags |= tc.flags }), expected)
			if got != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("Check = %+v, %v; want %+v, %v", got, err, tc.want, tc.err)
			}
		})
	}
}

func TestVerificationOfTheUserIsOptional(t *testing.T) {
	p := relyingParty(t)
	want := expected
	want.UserVerified, want.Named = false, true
	unverified := func(a *passkeytest.Answer) { a.Flags = passkeytest.UserPresent; a.UserHandle = nil }
	key, response := passkeytest.Create(t, creation(t, p), origin, unverified)
	c, err := p.CheckCreation(response, want)
	if err != nil || c.UserVerified {
		t.Fatalf("CheckCreation = %+v, %v", c, err)
	}
	if a, err := check(t, p, c, key.Get(t, request(t, p), unverified), want); err != nil || a.UserVerified {
		t.Errorf("Check = %+v, %v", a, err)
	}
}

func TestEveryOriginOfTheSiteIsAccepted(t *testing.T) {
	p := relyingParty(t)
	for _, from := range []string{origin, "https://example.com:8443", "android:apk-key-hash:abc"} {
		key, response := passkeytest.Create(t, creation(t, p), from)
		c, err := p.CheckCreation(response, expected)
		if err != nil {
			t.Errorf("from %s: %v", from, err)
			continue
		}
		if _, err := check(t, p, c, key.Get(t, request(t, p)), expected); err != nil {
			t.Errorf("from %s: %v", from, err)
		}
	}
}

func TestOnlyListedOriginsAreAccepted(t *testing.T) {
	const app = "android:apk-key-hash:abc"
	for name, tc := range map[string]struct {
		cfg      passkey.Config
		accepted map[string]bool
	}{
		"an app":                  {passkey.Config{ID: "example.com", Origins: []string{app}}, map[string]bool{app: true, "https://example.com": false, "https://none.example.com": false}},
		"every port of localhost": {passkey.Config{ID: "localhost", AnyPort: true}, map[string]bool{"http://localhost:3000": true, "https://localhost": false, app: false}},
	} {
		p, err := passkey.New(tc.cfg)
		if err != nil {
			t.Fatal(err)
		}
		for from, want := range tc.accepted {
			key, response := passkeytest.Create(t, creation(t, p), from)
			c, err := p.CheckCreation(response, expected)
			if got := err == nil; got != want {
				t.Errorf("%s: a passkey is created at %s: %v, %v; want %v", name, from, got, err, want)
			}
			if !want {
				continue
			}
			for at, want := range tc.accepted {
				if _, err := check(t, p, c, key.Get(t, request(t, p), func(a *passkeytest.Answer) { a.ClientData["origin"] = at }), expected); (err == nil) != want {
					t.Errorf("%s: a passkey is used at %s: %v; want %v", name, at, err, want)
				}
			}
		}
	}
}

func TestOptionsAreThoseOfTheSpecification(t *testing.T) {
	p := relyingParty(t)
	others := []passkey.Credential{{ID: []byte("one"), Transports: []string{"usb"}}, {ID: []byte("two")}}
	made, err := p.CreationOptions(passkey.Creation{
		Challenge: challenge, User: ada, Exclude: others, UserVerification: passkey.Required,
		ResidentKey: passkey.Required, Attestation: true, Timeout: 5 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, made, `{"rp":{"id":"example.com","name":"example.com"},
		"user":{"id":"dXNlciBoYW5kbGUgb2YgYWRh","name":"ada@example.com","displayName":"ada@example.com"},
		"challenge":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY",
		"pubKeyCredParams":[{"type":"public-key","alg":-7},{"type":"public-key","alg":-8},{"type":"public-key","alg":-257}],
		"timeout":300000,
		"excludeCredentials":[{"type":"public-key","id":"b25l","transports":["usb"]},{"type":"public-key","id":"dHdv"}],
		"authenticatorSelection":{"residentKey":"required","requireResidentKey":true,"userVerification":"required"},
		"attestation":"direct"}`)
	used, err := p.RequestOptions(passkey.Request{Challenge: challenge})
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, used, `{"challenge":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY","rpId":"example.com","allowCredentials":[],"userVerification":"preferred"}`)
}

func sameJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	var a, b any
	if err := errors.Join(json.Unmarshal(got, &a), json.Unmarshal([]byte(want), &b)); err != nil {
		t.Fatal(err)
	}
	x, _ := json.Marshal(a)
	if y, _ := json.Marshal(b); !bytes.Equal(x, y) {
		t.Errorf("the options are\n%s\nwant\n%s", x, y)
	}
}

func TestOptionsWithoutAChallengeAreNotMade(t *testing.T) {
	p := relyingParty(t)
	if o, err := p.CreationOptions(passkey.Creation{Challenge: challenge[:15], User: ada}); err == nil {
		t.Errorf("options with a short challenge: %s", o)
	}
	if o, err := p.CreationOptions(passkey.Creation{Challenge: challenge, User: passkey.User{Handle: make([]byte, 65)}}); err == nil {
		t.Errorf("options with a long user handle: %s", o)
	}
	if o, err := p.RequestOptions(passkey.Request{}); err == nil {
		t.Errorf("options without a challenge: %s", o)
	}
}

func TestWrongSites(t *testing.T) {
	for _, c := range []passkey.Config{
		{},
		{ID: "example.com"},
		{ID: "192.0.2.1", Origins: []string{"https://192.0.2.1"}},
		{ID: "https://example.com", Origins: []string{"https://example.com"}},
		{ID: "Example.com", Origins: []string{"https://example.com"}},
		{ID: "example.com", Origins: []string{"https://example.com/"}},
		{ID: "example.com", Origins: []string{"http://example.com"}},
		{ID: "example.com", Origins: []string{"example.com"}},
		{ID: "example.com", Origins: []string{"https://example.com/console"}},
	} {
		if _, err := passkey.New(c); err == nil {
			t.Errorf("New(%+v) has no error", c)
		}
	}
	if _, err := passkey.New(passkey.Config{ID: "localhost", Origins: []string{"http://localhost:8081"}}); err != nil {
		t.Error(err)
	}
}

func FuzzResponse(f *testing.F) {
	p := relyingParty(f)
	key, c := register(f, p)
	_, made := passkeytest.Create(f, creation(f, p), origin)
	f.Add(made)
	f.Add(key.Get(f, request(f, p)))
	f.Add([]byte(`{"id":"AA","rawId":"AA","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"","attestationObject":"oA"}}`))
	f.Add([]byte("{}"))
	f.Add([]byte(strings.Repeat("[", 1000)))
	f.Fuzz(func(t *testing.T, response []byte) {
		if _, err := p.CheckCreation(response, expected); err != nil && !errors.Is(err, passkey.ErrRefused) {
			t.Errorf("CheckCreation = %v", err)
		}
		r, err := passkey.ReadResponse(response)
		if err == nil {
			_, err = p.Check(r, c, expected)
		}
		if err != nil && !errors.Is(err, passkey.ErrRefused) && !errors.Is(err, passkey.ErrCloned) {
			t.Errorf("Check = %v", err)
		}
	})
}
