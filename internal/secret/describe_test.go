package secret_test

import (
	"slices"
	"testing"

	"github.com/countersign-mfa/countersign/internal/secret"
)

func TestKeysOfARotation(t *testing.T) {
	k := fresh(t)
	states := func(k *secret.Keyset, use string) (all []string) {
		for _, key := range k.Keys() {
			if key.Use == use {
				all = append(all, key.State)
			}
		}
		return all
	}
	for _, step := range []struct {
		name string
		do   func(*secret.Keyset) (*secret.Keyset, error)
		want []string
	}{
		{"new", nil, []string{secret.KeyPrimary}},
		{"added", (*secret.Keyset).Add, []string{secret.KeyPrimary, secret.KeyWaiting}},
		{"promoted", (*secret.Keyset).Promote, []string{secret.KeyOld, secret.KeyPrimary}},
		{"retired", (*secret.Keyset).Retire, []string{secret.KeyPrimary}},
	} {
		if step.do != nil {
			k = must(t)(step.do(k))
		}
		for _, use := range []string{secret.UseSeal, secret.UseMAC, secret.UseSign} {
			if got := states(k, use); !slices.Equal(got, step.want) {
				t.Errorf("%s: the %s keys are %q; want %q", step.name, use, got, step.want)
			}
		}
		if got := states(k, secret.UseIndex); !slices.Equal(got, []string{secret.KeyPrimary}) {
			t.Errorf("%s: the index keys are %q", step.name, got)
		}
	}
}

func TestTheKeyOfAValueIsFound(t *testing.T) {
	old := fresh(t)
	k := must(t)(old.Rotate())
	sealedBefore, sealedAfter := seal(t, old, plain, "here"), seal(t, k, plain, "here")
	tagBefore, tagAfter := tag(t, old, "message"), tag(t, k, "message")
	ids := make(map[string]string) // by use and state
	for _, key := range k.Keys() {
		ids[key.Use+" "+key.State] = key.ID
	}
	finder := k.Finder()
	for name, tc := range map[string]struct {
		value []byte
		want  string
	}{
		"sealed before": {sealedBefore, ids["seal old"]},
		"sealed after":  {sealedAfter, ids["seal primary"]},
		"tag before":    {tagBefore, ids["mac old"]},
		"tag after":     {tagAfter, ids["mac primary"]},
	} {
		if id, ok := finder.Find(tc.value); !ok || id != tc.want || len(id) != 8 {
			t.Errorf("%s: Find = %q, %t; want %q", name, id, ok, tc.want)
		}
	}
	for _, value := range [][]byte{nil, {1}, []byte("plain text")} {
		if id, ok := finder.Find(value); ok {
			t.Errorf("Find(%q) = %q", value, id)
		}
	}
	if id, ok := old.Finder().Find(sealedAfter); ok {
		t.Errorf("a key that the keyset does not have is found as %q", id)
	}
}
