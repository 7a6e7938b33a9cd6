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

// RunUnserved checks that the codes in tables with the kind wire.Unserved are exactly
// codes, which are sorted. If the service answers with one of them, the error of Send must
// be Healthy; for the code other it must not be. other is empty if the service answers
// without codes.
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
