package mfa_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/store/storetest"
)

func TestASecretThatIsImportedTwiceIsFlaggedOrRefused(t *testing.T) {
	const seed, other = "JBSWY3DPEHPK3PXP", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	onBothStores(t, func(t *testing.T, w *fixture, s *mfa.Service, store mfa.Store) {
		imported := func(user, seed string) mfa.EnrollParams {
			return mfa.EnrollParams{Type: mfa.TOTP, User: user, Secret: secret.NewString(seed)}
		}
		reasonOf := func(id mfa.FactorID) (reason string) {
			for _, e := range storetest.Events(t, store) {
				if e.Type == mfa.FactorEnrolled && e.Factor == id {
					reason = e.Reason
				}
			}
			return reason
		}
		allow, flag, refuse := sandbox, configured(t, "duplicate_seed", "flag"), configured(t, "duplicate_seed", "refuse")
		if _, err := s.Enroll(t.Context(), allow, mfa.EnrollParams{Type: mfa.SMS, User: "ada", PhoneNumber: adasPhone}, nil); err != nil {
			t.Fatal(err)
		}
		for i, tc := range []struct {
			by        mfa.Caller
			p         mfa.EnrollParams
			duplicate bool // the reply and the event say so
			refused   bool
		}{
			{by: refuse, p: imported("ada", seed)},
			{by: refuse, p: imported("ada", seed), refused: true},
			{by: refuse, p: imported("ada", "jbsw y3dp ehpk 3pxp"), refused: true},
			{by: refuse, p: mfa.EnrollParams{Type: mfa.TOTP, User: "ada", Secret: secret.NewString(seed), Algorithm: "SHA256", Digits: "8"}, refused: true},
			{by: refuse, p: imported("ada", other)},
			{by: refuse, p: imported("ada", other), refused: true},
			{by: refuse, p: imported("grace", seed)},
			{by: refuse, p: imported("", seed)},
			{by: refuse, p: imported("", seed)},
			{by: refuse, p: mfa.EnrollParams{Type: mfa.TOTP, User: "ada"}},
			{by: flag, p: imported("ada", seed), duplicate: true},
			{by: flag, p: mfa.EnrollParams{Type: mfa.TOTP, User: "ada"}},
			{by: flag, p: imported("grace", other)},
			{by: allow, p: imported("ada", seed)},
		} {
			e, err := s.Enroll(t.Context(), tc.by, tc.p, nil)
			if tc.refused {
				wantInvalid(t, err, "totp_secret", "duplicate")
				continue
			}
			if err != nil || e.Duplicate != tc.duplicate {
				t.Errorf("enrollment %d: duplicate %v, %v; want %v", i, e.Duplicate, err, tc.duplicate)
			}
			if got := reasonOf(e.ID); (got == "duplicate_seed") != tc.duplicate {
				t.Errorf("enrollment %d: the reason of the event is %q", i, got)
			}
		}
		for round := range 5 {
			var errs [8]error
			var racers sync.WaitGroup
			for i := range errs {
				racers.Go(func() {
					_, errs[i] = s.Enroll(t.Context(), refuse, imported(fmt.Sprint("racer ", round), seed), nil)
				})
			}
			racers.Wait()
			stored := 0
			for _, err := range errs {
				if err == nil {
					stored++
				} else if !errors.Is(err, mfa.ErrInvalid) {
					t.Error(err)
				}
			}
			if stored != 1 {
				t.Errorf("%d of 8 racing enrollments of one secret succeeded; want 1", stored)
			}
		}
	})
}
