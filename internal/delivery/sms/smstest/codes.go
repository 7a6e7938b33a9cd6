package smstest

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/wire"
)

// AnswerCode returns handlers that answer with a status and a body of before, the code
// and after.
func AnswerCode(status int, before, after string) func(code string) http.HandlerFunc {
	return func(code string) http.HandlerFunc { return Answer(status, before+code+after) }
}

// RunUnserved checks that codes, sorted, are those of tables that are about a country or
// a sender in it, as the service documents them. Each of them, answered by the service,
// must give an error that is Healthy; the code other must not. An empty other means that
// the service answers with no code.
func RunUnserved(t *testing.T, open func(base string) sms.Provider, answer func(code string) http.HandlerFunc, tables []wire.Codes, codes []string, other string) {
	found := map[string]bool{}
	for _, table := range tables {
		for code, m := range table {
			if m.Kind == wire.Unserved {
				found[code] = true
			}
		}
	}
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, codes) {
		t.Errorf("the codes are %q; want %q", got, codes)
	}
	for _, code := range append(codes, other) {
		if code == "" {
			continue
		}
		srv := httptest.NewServer(answer(code))
		_, err := open(srv.URL).Send(t.Context(), NewMessage(Text))
		srv.Close()
		e, ok := errors.AsType[*sms.Error](err)
		if !ok || e.Kind != sms.Unavailable || !strings.HasSuffix(e.Code, code) || e.Healthy != (code != other) {
			t.Errorf("%s: Send = %#v", code, err)
		}
	}
}
