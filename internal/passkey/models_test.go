package passkey_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/passkey"
	"github.com/countersign-mfa/countersign/internal/passkey/passkeytest"
)

const (
	model   = "ee882879-721c-4913-9775-3dfcce97072a"
	revoked = "11111111-721c-4913-9775-3dfcce97072a"
	unknown = "22222222-721c-4913-9775-3dfcce97072a"
	selfish = "33333333-721c-4913-9775-3dfcce97072a"
)

func aaguid(t testing.TB, text string) [16]byte {
	t.Helper()
	id, err := passkey.ParseAAGUID(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestOnlyProvenModelsAreRegistered registers passkeys on a site that asks for proof.
func TestOnlyProvenModelsAreRegistered(t *testing.T) {
	root, keys, stranger := passkeytest.NewRoot(t), passkeytest.NewRoot(t), passkeytest.NewRoot(t)
	list := root.Host(t, "mds.fidoalliance.org").List(t, time.Now().Add(48*time.Hour), []passkeytest.Model{
		{AAGUID: model, Root: keys},
		{AAGUID: revoked, Root: keys, Status: "REVOKED"},
		{AAGUID: selfish, Root: keys, Types: []string{"basic_surrogate"}},
	})
	models, err := passkey.ReadModelsUnder(root.Certificate, list, time.Now())
	if err != nil || models.Number != 3 || models.Unreadable != 0 {
		t.Fatalf("ReadModelsUnder = %+v, %v", models, err)
	}
	site := func(change func(*passkey.Config)) *passkey.RelyingParty {
		c := passkey.Config{ID: "example.com", Origins: []string{origin}, Attestation: true, Models: models}
		change(&c)
		p, err := passkey.New(c)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	strict := site(func(*passkey.Config) {})
	blind := site(func(c *passkey.Config) { c.Models = nil })
	other := site(func(c *passkey.Config) { c.AAGUIDs = [][16]byte{aaguid(t, unknown)} })
	listed := site(func(c *passkey.Config) { c.AAGUIDs = [][16]byte{aaguid(t, unknown), aaguid(t, model)} })
	trusting := site(func(c *passkey.Config) { c.Attestation, c.AAGUIDs = false, [][16]byte{aaguid(t, model)} })
	attested := func(by *passkeytest.Issuer, of, claimed string) func(*passkeytest.Answer) {
		return func(a *passkeytest.Answer) {
			a.AAGUID, a.Attest = aaguid(t, claimed), by.Manufacture(t, aaguid(t, of)).Attest
		}
	}
	claimed := func(model string) func(*passkeytest.Answer) {
		return func(a *passkeytest.Answer) { a.AAGUID = aaguid(t, model) }
	}
	for _, tc := range []struct {
		name   string
		site   *passkey.RelyingParty
		change func(*passkeytest.Answer)
		want   passkey.Reason
	}{
		{"a proven model", strict, attested(keys, model, model), ""},
		{"a proven model of the list", listed, attested(keys, model, model), ""},
		{"a proven model that is not on the list", other, attested(keys, model, model), passkey.ModelNotAllowed},
		{"no attestation", strict, claimed(model), passkey.WrongAttestation},
		{"another manufacturer", strict, attested(stranger, model, model), passkey.WrongAttestation},
		{"the certificate of another model", strict, attested(keys, selfish, model), passkey.WrongAttestation},
		{"a model with known faults", strict, attested(keys, revoked, revoked), passkey.WrongAttestation},
		{"a model that is not in the metadata", strict, attested(keys, unknown, unknown), passkey.WrongAttestation},
		{"a proven model, without metadata", blind, attested(keys, model, model), passkey.WrongAttestation},
		{"a claimed model of the list, without proof", trusting, claimed(model), ""},
		{"a claimed model that is not on the list", trusting, claimed(unknown), passkey.ModelNotAllowed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, response := passkeytest.Create(t, creation(t, tc.site), origin, tc.change)
			c, err := tc.site.CheckCreation(response, expected)
			refusedFor(t, err, tc.want)
			if tc.want == "" && c.AAGUID == [16]byte{} {
				t.Error("the credential has no model")
			}
		})
	}
	t.Run("a passkey that signs its own attestation", func(t *testing.T) {
		key, _ := passkeytest.Create(t, creation(t, strict), origin)
		for _, claimed := range []string{model, selfish} {
			_, err := strict.CheckCreation(key.SelfAttested(t, creation(t, strict), origin, aaguid(t, claimed)), expected)
			refusedFor(t, err, passkey.WrongAttestation)
		}
		plain := relyingParty(t)
		if _, err := plain.CheckCreation(key.SelfAttested(t, creation(t, plain), origin, aaguid(t, model)), expected); err != nil {
			t.Errorf("a site that asks for no proof: %v", err)
		}
	})
	t.Run("a passkey of before the proof is still used", func(t *testing.T) {
		key, c := register(t, relyingParty(t))
		if _, err := check(t, strict, c, key.Get(t, request(t, strict)), expected); err != nil {
			t.Errorf("Check = %v", err)
		}
	})
	if !bytes.Contains(creation(t, strict), []byte(`"attestation":"direct"`)) || !bytes.Contains(creation(t, relyingParty(t)), []byte(`"attestation":"none"`)) {
		t.Error("the options do not ask for the attestation of the site")
	}
}

func refusedFor(t *testing.T, err error, want passkey.Reason) {
	t.Helper()
	var got passkey.Reason
	if e, ok := errors.AsType[*passkey.RefusedError](err); ok {
		got = e.Reason
	} else if err != nil {
		t.Errorf("the error is %v", err)
	}
	if got != want {
		t.Errorf("the reason is %q (%v); want %q", got, err, want)
	}
}

func TestOnlyTheListOfTheFIDOAllianceIsRead(t *testing.T) {
	root, next := passkeytest.NewRoot(t), time.Now().Add(48*time.Hour)
	models := []passkeytest.Model{{AAGUID: model, Root: root}}
	signer := root.Host(t, "mds.fidoalliance.org")
	good := signer.List(t, next, models)
	dots := bytes.Split(bytes.TrimSpace(good), []byte("."))
	other := bytes.Split(signer.List(t, next, []passkeytest.Model{{AAGUID: unknown, Root: root}}), []byte("."))
	for name, blob := range map[string][]byte{
		"empty":                    {},
		"not three parts":          []byte("a.b"),
		"not base64":               []byte("!.!.!"),
		"another root":             passkeytest.NewRoot(t).Host(t, "mds.fidoalliance.org").List(t, next, models),
		"another host of the root": root.Host(t, "example.com").List(t, next, models),
		"the signature of another": bytes.Join([][]byte{dots[0], dots[1], other[2]}, []byte(".")),
		"the content of another":   bytes.Join([][]byte{dots[0], other[1], dots[2]}, []byte(".")),
		"no model":                 signer.List(t, next, nil),
	} {
		if m, err := passkey.ReadModelsUnder(root.Certificate, blob, time.Now()); err == nil {
			t.Errorf("%s: the models are %+v", name, m)
		}
	}
	if _, err := passkey.ReadModelsUnder(root.Certificate, good, time.Now()); err != nil {
		t.Errorf("a good list: %v", err)
	}
	if _, err := passkey.ReadModels(good, time.Now()); err == nil {
		t.Error("a list of another root is accepted as one of the FIDO Alliance")
	}
	// The certificates of an old list have expired, and the server starts nevertheless.
	if m, err := passkey.ReadModelsUnder(root.Certificate, signer.List(t, time.Now(), models), time.Now().AddDate(1, 0, 0)); err != nil || m.NextUpdate.After(time.Now()) {
		t.Errorf("an old list: %+v, %v", m, err)
	}
	odd := append(models, passkeytest.Model{AAGUID: "not an AAGUID", Root: root})
	if m, err := passkey.ReadModelsUnder(root.Certificate, signer.List(t, next, odd), time.Now()); err != nil || m.Number != 1 || m.Unreadable != 1 {
		t.Errorf("a list with an unreadable entry: %+v, %v", m, err)
	}
}

func TestAAGUIDsHaveOneForm(t *testing.T) {
	for _, text := range []string{"", "ee882879", "ee882879721c491397753dfcce97072a", model + "0", "ge882879-721c-4913-9775-3dfcce97072a", "ee-82879-721c-4913-9775-3dfcce97072a"} {
		if id, err := passkey.ParseAAGUID(text); err == nil {
			t.Errorf("%q is the AAGUID %x", text, id)
		}
	}
}
