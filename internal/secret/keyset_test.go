package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// must returns k and ends the test on an error.
func must(t testing.TB) func(k *secret.Keyset, err error) *secret.Keyset {
	return func(k *secret.Keyset, err error) *secret.Keyset {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
}

func fresh(t testing.TB) *secret.Keyset {
	t.Helper()
	return must(t)(secret.NewKeyset())
}

func seal(t testing.TB, k *secret.Keyset, text, place string) []byte {
	t.Helper()
	sealed, err := k.Seal([]byte(text), []byte(place))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func tag(t testing.TB, k *secret.Keyset, message string) []byte {
	t.Helper()
	return k.MAC([]byte(message))
}

func marshal(t testing.TB, k *secret.Keyset) []byte {
	t.Helper()
	data, err := k.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func opens(k *secret.Keyset, sealed []byte) bool {
	got, err := k.Open(sealed, []byte("here"))
	return err == nil && string(got) == plain
}

func TestOpenReturnsSealedValue(t *testing.T) {
	k := fresh(t)
	for _, text := range []string{"", "x", plain, strings.Repeat("long ", 1000)} {
		sealed := seal(t, k, text, "factors/1/secret")
		if bytes.Contains(sealed, []byte(plain)) {
			t.Errorf("sealed value shows the plain one")
		}
		got, err := k.Open(sealed, []byte("factors/1/secret"))
		if err != nil || string(got) != text {
			t.Errorf("Open = %q, %v; want %q", got, err, text)
		}
	}
}

func TestSealsOfOneValueDiffer(t *testing.T) {
	k := fresh(t)
	if bytes.Equal(seal(t, k, plain, "here"), seal(t, k, plain, "here")) {
		t.Error("two seals of one value are equal")
	}
}

func TestSealedValueOpensOnlyWhereItBelongs(t *testing.T) {
	k := fresh(t)
	sealed := seal(t, k, plain, "factors/1/secret")
	for _, place := range []string{"factors/2/secret", "factors/1/phone", "factors/1/secret ", ""} {
		if got, err := k.Open(sealed, []byte(place)); !errors.Is(err, secret.ErrOpen) || got != nil {
			t.Errorf("Open at %q = %q, %v; want %v", place, got, err, secret.ErrOpen)
		}
	}
}

func TestDamagedValueDoesNotOpen(t *testing.T) {
	k := fresh(t)
	sealed := seal(t, k, plain, "here")
	for i := range sealed {
		damaged := bytes.Clone(sealed)
		damaged[i] ^= 1
		if _, err := k.Open(damaged, []byte("here")); !errors.Is(err, secret.ErrOpen) {
			t.Errorf("Open with byte %d changed: %v; want %v", i, err, secret.ErrOpen)
		}
		if _, err := k.Open(sealed[:i], []byte("here")); !errors.Is(err, secret.ErrOpen) {
			t.Errorf("Open of %d bytes: %v; want %v", i, err, secret.ErrOpen)
		}
	}
}

func TestForeignKeysetReadsNothing(t *testing.T) {
	k, foreign := fresh(t), fresh(t)
	if opens(foreign, seal(t, k, plain, "here")) {
		t.Error("a foreign keyset opens a sealed value")
	}
	if foreign.VerifyMAC(tag(t, k, plain), []byte(plain)) {
		t.Error("a foreign keyset verifies a MAC")
	}
	if foreign.Index([]byte(plain)) == k.Index([]byte(plain)) {
		t.Error("a foreign keyset has the same index")
	}
}

func TestVerifyMAC(t *testing.T) {
	k := fresh(t)
	good := tag(t, k, "challenge 1: 482913")
	if len(good) != 5+16 {
		t.Errorf("a MAC has %d bytes; want a prefix of 5 and a tag of 16", len(good))
	}
	if !k.VerifyMAC(good, []byte("challenge 1: 482913")) {
		t.Error("VerifyMAC refuses its own MAC")
	}
	for _, message := range []string{"challenge 2: 482913", "challenge 1: 482914", ""} {
		if k.VerifyMAC(good, []byte(message)) {
			t.Errorf("VerifyMAC takes the MAC for %q", message)
		}
	}
	for i := range good {
		damaged := bytes.Clone(good)
		damaged[i] ^= 1
		if k.VerifyMAC(damaged, []byte("challenge 1: 482913")) || k.VerifyMAC(good[:i], []byte("challenge 1: 482913")) {
			t.Errorf("VerifyMAC takes a MAC damaged at %d", i)
		}
	}
}

func TestIndexIsSteadyAndDistinct(t *testing.T) {
	k := fresh(t)
	first, second := k.Index([]byte("+15005550006")), k.Index([]byte("+15005550006"))
	if first != second {
		t.Error("two indexes of one value differ")
	}
	if k.Index([]byte("+15005550006")) == k.Index([]byte("+15005550007")) {
		t.Error("indexes of two values are equal")
	}
}

// state is what a node with a keyset can do with values written under another.
type state struct{ opens, verifies, stale bool }

func TestRotationStepByStep(t *testing.T) {
	first := fresh(t)
	added := must(t)(first.Add())
	promoted := must(t)(added.Promote())
	retired := must(t)(promoted.Retire())

	for _, tc := range []struct {
		name           string
		writer, reader *secret.Keyset
		want           state
	}{
		{"added reads first", first, added, state{true, true, false}},
		{"first reads added", added, first, state{true, true, false}},
		{"promoted reads first", first, promoted, state{true, true, true}},
		{"promoted reads added", added, promoted, state{true, true, true}},
		{"added reads promoted", promoted, added, state{true, true, true}},
		{"promoted reads its own", promoted, promoted, state{true, true, false}},
		{"retired reads promoted", promoted, retired, state{true, true, false}},
		{"promoted reads retired", retired, promoted, state{true, true, false}},
		{"retired no longer reads first", first, retired, state{false, false, true}},
		{"first cannot read promoted", promoted, first, state{false, false, true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sealed := seal(t, tc.writer, plain, "here")
			got := state{
				opens:    opens(tc.reader, sealed),
				verifies: tc.reader.VerifyMAC(tag(t, tc.writer, plain), []byte(plain)),
				stale:    tc.reader.Stale(sealed),
			}
			if got != tc.want {
				t.Errorf("got %+v; want %+v", got, tc.want)
			}
			if tc.reader.Index([]byte(plain)) != tc.writer.Index([]byte(plain)) {
				t.Error("the index changed")
			}
		})
	}
}

func TestStepsOutOfTurn(t *testing.T) {
	first := fresh(t)
	added := must(t)(first.Add())
	promoted := must(t)(added.Promote())
	retired := must(t)(promoted.Retire())
	for _, tc := range []struct {
		name string
		step func() (*secret.Keyset, error)
		want error
	}{
		{"promote before add", first.Promote, secret.ErrNoKeyWaiting},
		{"retire at first", first.Retire, secret.ErrNoOldKey},
		{"add twice", added.Add, secret.ErrKeyWaiting},
		{"rotate with a key waiting", added.Rotate, secret.ErrKeyWaiting},
		{"retire before promote", added.Retire, secret.ErrNoOldKey},
		{"promote twice", promoted.Promote, secret.ErrNoKeyWaiting},
		{"retire twice", retired.Retire, secret.ErrNoOldKey},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if k, err := tc.step(); !errors.Is(err, tc.want) || k != nil {
				t.Errorf("got %v, %v; want %v", k, err, tc.want)
			}
		})
	}
}

func TestManyRotationsKeepEverythingReadable(t *testing.T) {
	k := fresh(t)
	var sealed, tags [][]byte
	for range 5 {
		sealed = append(sealed, seal(t, k, plain, "here"))
		tags = append(tags, tag(t, k, plain))
		k = must(t)(k.Rotate())
	}
	k = must(t)(secret.ParseKeyset(marshal(t, k)))
	for i := range sealed {
		if !opens(k, sealed[i]) || !k.Stale(sealed[i]) || !k.VerifyMAC(tags[i], []byte(plain)) {
			t.Errorf("generation %d: opens %t, stale %t", i, opens(k, sealed[i]), k.Stale(sealed[i]))
		}
	}
	k = must(t)(must(t)(k.Add()).Retire())
	if opens(k, sealed[4]) {
		t.Error("a retired key still opens")
	}
	if k = must(t)(k.Promote()); k.Stale(seal(t, k, plain, "here")) {
		t.Error("Retire dropped the key that waited")
	}
}

func TestStaleOfRubbish(t *testing.T) {
	k := fresh(t)
	for _, sealed := range [][]byte{nil, {}, {1}, []byte("not sealed at all")} {
		if !k.Stale(sealed) {
			t.Errorf("Stale(%q) = false; want true", sealed)
		}
	}
}

func TestMarshalledKeysetReadsTheSame(t *testing.T) {
	k := must(t)(must(t)(fresh(t).Rotate()).Add())
	sealed, mac := seal(t, k, plain, "here"), tag(t, k, plain)
	data := marshal(t, k)
	for name, written := range map[string][]byte{
		"JSON":             data,
		"JSON with spaces": []byte("\n  " + string(data) + " \r\n"),
		"base64":           []byte(base64.StdEncoding.EncodeToString(data) + "\n"),
	} {
		again := must(t)(secret.ParseKeyset(written))
		if !opens(again, sealed) || again.Stale(sealed) || !again.VerifyMAC(mac, []byte(plain)) || again.Index(sealed) != k.Index(sealed) {
			t.Errorf("%s: the keyset is another one", name)
		}
		if !bytes.Equal(marshal(t, again), data) {
			t.Errorf("%s: Marshal differs after a round trip", name)
		}
	}
}

func TestMalformedKeysetsAreRefusedWithoutQuotingThem(t *testing.T) {
	data := string(marshal(t, fresh(t)))
	key := regexp.MustCompile(`"value":"([^"]+)"`).FindStringSubmatch(data)[1]
	index := regexp.MustCompile(`"index":(\{.*\})\}$`).FindStringSubmatch(data)[1]
	for _, tc := range []struct{ name, data string }{
		{"nothing", ""},
		{"null", "null"},
		{"an empty object", "{}"},
		{"neither JSON nor base64", "hush"},
		{"base64 of something else", base64.StdEncoding.EncodeToString([]byte(plain))},
		{"another format", strings.Replace(data, "keyset-1", "keyset-2", 1)},
		{"cut short", data[:len(data)-1]},
		{"with a tail", data + "{}"},
		{"a part missing", strings.Replace(data, `"mac"`, `"mace"`, 1)},
		{"a part of the wrong kind", regexp.MustCompile(`"mac":\{.*\},"index"`).ReplaceAllLiteralString(data, `"mac":`+index+`,"index"`)},
		{"keys disabled", strings.ReplaceAll(data, "ENABLED", "DISABLED")},
		{"another prefix", strings.Replace(data, `"TINK"`, `"RAW"`, 1)},
		{"a key that is not base64", strings.Replace(data, key, key+"!", 1)},
		{"a key that is too short", strings.Replace(data, key, "GhB0aGlzIGlzIDE2IGJ5dGVz", 1)},
		{"an unknown field", strings.Replace(data, `"keyData"`, `"`+plain+`":1,"keyData"`, 1)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.data == data {
				t.Fatal("the keyset was not changed")
			}
			k, err := secret.ParseKeyset([]byte(tc.data))
			if !errors.Is(err, secret.ErrMalformed) || k != nil {
				t.Fatalf("ParseKeyset = %v, %v; want %v", k, err, secret.ErrMalformed)
			}
			if text := err.Error(); strings.Contains(text, key) || strings.Contains(text, plain) {
				t.Errorf("the error quotes its input: %s", text)
			}
		})
	}
}

func TestKeysetPrintsAsRedacted(t *testing.T) {
	k := fresh(t)
	var buf bytes.Buffer
	for _, v := range []any{k, *k} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			if got := fmt.Sprintf(format, v); got != "[redacted]" {
				t.Errorf("%s of %T = %q; want [redacted]", format, v, got)
			}
		}
		if got, err := json.Marshal(v); err != nil || string(got) != `"[redacted]"` {
			t.Errorf("JSON of %T = %s, %v", v, got, err)
		}
		slog.New(slog.NewTextHandler(&buf, nil)).Info("m", "k", v)
		slog.New(slog.NewJSONHandler(&buf, nil)).Info("m", "k", v)
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%p"} {
			fmt.Fprintf(&buf, format+"\n", struct{ k any }{v})
			fmt.Fprintf(&buf, format+"\n", struct{ k secret.Keyset }{*k})
		}
	}
	if strings.Contains(buf.String(), "aesgcm") || strings.Contains(buf.String(), "{[") {
		t.Errorf("a nested keyset shows what it holds: %s", &buf)
	}
}

func TestKeysetIsSafeForConcurrentUse(t *testing.T) {
	k := fresh(t)
	sealed, mac := seal(t, k, plain, "here"), tag(t, k, plain)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if !opens(k, sealed) || !opens(k, seal(t, k, plain, "here")) || !k.VerifyMAC(mac, []byte(plain)) || k.Stale(sealed) {
					t.Error("a keyset in use by many fails")
				}
				k.Index(mac)
			}
		})
	}
	all.Wait()
}

func FuzzParseKeyset(f *testing.F) {
	data := marshal(f, must(f)(fresh(f).Rotate()))
	f.Add(data)
	f.Add([]byte(base64.StdEncoding.EncodeToString(data)))
	f.Add([]byte(`{"format":"countersign-keyset-1","seal":{},"mac":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := secret.ParseKeyset(data)
		if err != nil {
			if !errors.Is(err, secret.ErrMalformed) {
				t.Errorf("ParseKeyset = %v; want %v", err, secret.ErrMalformed)
			}
			return
		}
		if !opens(k, seal(t, k, plain, "here")) || !k.VerifyMAC(tag(t, k, plain), []byte(plain)) {
			t.Error("a keyset that parses does not work")
		}
		must(t)(secret.ParseKeyset(marshal(t, k)))
	})
}

func FuzzOpen(f *testing.F) {
	k := fresh(f)
	sealed := seal(f, k, plain, "here")
	f.Add(sealed, []byte("here"))
	f.Add(sealed[:5], []byte("here"))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, data, associated []byte) {
		k.Stale(data)
		k.VerifyMAC(data, associated)
		if _, err := k.Open(data, associated); err == nil && !(bytes.Equal(data, sealed) && string(associated) == "here") {
			t.Errorf("a forgery opens: %x", data)
		}
	})
}

var place = []byte("factors/auth_factor_01FZ4WMXXA09XF6NK1XMKNWB3M/secret")

func BenchmarkSeal(b *testing.B) {
	k := fresh(b)
	b.ReportAllocs()
	for b.Loop() {
		k.Seal([]byte("20 bytes of a secret"), place)
	}
}

func BenchmarkOpen(b *testing.B) {
	k := fresh(b)
	sealed, _ := k.Seal([]byte("20 bytes of a secret"), place)
	b.ReportAllocs()
	for b.Loop() {
		k.Open(sealed, place)
	}
}

func BenchmarkMAC(b *testing.B) {
	k := fresh(b)
	b.ReportAllocs()
	for b.Loop() {
		k.MAC(place)
	}
}

func BenchmarkVerifyMAC(b *testing.B) {
	k := fresh(b)
	mac := tag(b, k, string(place))
	b.ReportAllocs()
	for b.Loop() {
		k.VerifyMAC(mac, place)
	}
}

func BenchmarkIndex(b *testing.B) {
	k := fresh(b)
	b.ReportAllocs()
	for b.Loop() {
		k.Index([]byte("+15005550006"))
	}
}
