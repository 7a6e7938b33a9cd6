package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/secret"
)

const plain = "hush-482913"

// traces are the forms in which fmt, slog and JSON could give plain away.
var traces = []string{
	plain,
	hex.EncodeToString([]byte(plain)),
	strings.ToUpper(hex.EncodeToString([]byte(plain))),
	base64.StdEncoding.EncodeToString([]byte(plain)),
	strings.Trim(fmt.Sprintf("%d", []byte(plain)), "[]"),
	strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(plain)), "[]byte{"), "}"),
	strings.Trim(fmt.Sprintf("% x", []byte(plain)), "[]"),
	strings.Trim(fmt.Sprintf("%b", []byte(plain)), "[]"),
	strings.Trim(fmt.Sprintf("%o", []byte(plain)), "[]"),
	strings.Trim(fmt.Sprintf("%U", []byte(plain)), "[]"),
}

func checkSilent(t *testing.T, how, got string) {
	t.Helper()
	for _, trace := range traces {
		if strings.Contains(got, trace) {
			t.Errorf("%s shows the secret: %s", how, got)
		}
	}
}

type holder struct {
	Shown  any
	hidden any
}

type account struct {
	Key   secret.Bytes
	Phone *secret.String
	key   secret.Bytes
	phone *secret.String
}

func secrets() map[string]any {
	b, s := secret.NewBytes([]byte(plain)), secret.NewString(plain)
	return map[string]any{"Bytes": b, "*Bytes": &b, "String": s, "*String": &s}
}

func TestSecretsPrintAsRedacted(t *testing.T) {
	for name, v := range secrets() {
		for _, format := range []string{
			"%v", "%+v", "%#v", "%s", "%+s", "%#s", "%x", "%X", "% x", "%#x", "%q", "%+q", "%#q",
			"%d", "%b", "%o", "%O", "%c", "%U", "%#U", "%t", "%e", "%f", "%g", "%20v", "%-5.2s", "%z",
		} {
			got := fmt.Sprintf(format, v)
			if got != "[redacted]" {
				t.Errorf("%s of %s = %q; want [redacted]", format, name, got)
			}
		}
		if got := fmt.Sprint(v); got != "[redacted]" {
			t.Errorf("Sprint of %s = %q", name, got)
		}
	}
}

func TestSecretsInsideOthersStaySilent(t *testing.T) {
	for name, v := range secrets() {
		b, s := secret.NewBytes([]byte(plain)), secret.NewString(plain)
		for _, outer := range []any{
			holder{v, v}, &holder{v, v}, []any{v}, [1]any{v}, map[string]any{"k": v}, holder{hidden: holder{hidden: v}},
			account{b, &s, b, &s}, &account{b, &s, b, &s}, []account{{b, &s, b, &s}}, map[int]*account{1: {b, &s, b, &s}},
			[]secret.Bytes{b}, []secret.String{s}, [1]secret.Bytes{b}, struct{ secret.Bytes }{b}, struct{ s *secret.String }{&s},
		} {
			for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d", "%b", "%o", "%U", "%p", "%w", "%T", "%z"} {
				checkSilent(t, fmt.Sprintf("%s of %T with %s", format, outer, name), fmt.Sprintf(format, outer))
			}
		}
	}
}

func TestSecretsInErrorsStaySilent(t *testing.T) {
	for name, v := range secrets() {
		err := errors.Join(fmt.Errorf("send to %v", v), fmt.Errorf("send to %+v", holder{v, v}))
		checkSilent(t, "error with "+name, err.Error())
		checkSilent(t, "panic with "+name, recovered(v))
	}
}

func recovered(v any) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	panic(v)
}

func TestSecretsAreRedactedInLogs(t *testing.T) {
	var buf bytes.Buffer
	for handler, h := range map[string]slog.Handler{
		"text": slog.NewTextHandler(&buf, nil),
		"json": slog.NewJSONHandler(&buf, nil),
	} {
		for name, v := range secrets() {
			buf.Reset()
			log := slog.New(h).With("with", v).WithGroup("g")
			log.Info("m", "plain", v, slog.Group("sub", "k", v), "any", slog.AnyValue(v))
			if n := strings.Count(buf.String(), "[redacted]"); n != 4 {
				t.Errorf("%s log of %s has %d marks; want 4: %s", handler, name, n, &buf)
			}
			log.Info("m", "nested", holder{v, v}, "list", []any{v}, "map", map[string]any{"k": v})
			checkSilent(t, handler+" log of "+name, buf.String())
		}
	}
}

func TestSecretsAreRedactedWhenMarshalled(t *testing.T) {
	for name, v := range secrets() {
		got, err := json.Marshal(v)
		if err != nil || string(got) != `"[redacted]"` {
			t.Errorf("JSON of %s = %s, %v", name, got, err)
		}
		got, err = json.Marshal(map[string]any{"h": holder{v, v}, "l": []any{v}})
		if err != nil || strings.Count(string(got), "[redacted]") != 2 {
			t.Errorf("nested JSON of %s = %s, %v", name, got, err)
		}
		checkSilent(t, "nested JSON of "+name, string(got))
		got, err = xml.Marshal(v)
		if err != nil || !bytes.Contains(got, []byte("[redacted]")) {
			t.Errorf("XML of %s = %s, %v", name, got, err)
		}
		checkSilent(t, "XML of "+name, string(got))
	}
}

func TestReveal(t *testing.T) {
	if got := secret.NewBytes([]byte(plain)).Reveal(); string(got) != plain {
		t.Errorf("Bytes.Reveal = %q; want %q", got, plain)
	}
	if got := secret.NewString(plain).Reveal(); got != plain {
		t.Errorf("String.Reveal = %q; want %q", got, plain)
	}
}

func TestZeroSecretsHoldNothing(t *testing.T) {
	var b secret.Bytes
	var s secret.String
	if b.Reveal() != nil || s.Reveal() != "" {
		t.Errorf("Reveal = %v, %q; want nothing", b.Reveal(), s.Reveal())
	}
	if got := fmt.Sprintf("%v %s %+v", b, s, (*secret.Bytes)(nil)); got != "[redacted] [redacted] <nil>" {
		t.Errorf("zero values print as %s", got)
	}
}
