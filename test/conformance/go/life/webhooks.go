package main

import "strings"

// webhooks checks signatures as a receiver of webhooks does.
func webhooks(w *fixture) {
	w.report.step("webhook signature", func(s *step) {
		d := w.server.delivery()
		equal("event", must(w.here.accept(d.Secret, d.Signature, d.Body)), event{
			id:        "event_" + noULID,
			name:      "authentication.mfa_succeeded",
			createdAt: "2022-03-27T05:15:26.432Z",
			userAgent: "Förde <b>&\u2028\u2029 \"1.0\" 🔑 \\ /",
		})
		for _, bad := range []struct {
			what, signature, body string
			want                  error
		}{
			{"altered", d.Signature, strings.Replace(d.Body, "succeeded", "failed", 1), w.errForged},
			{"stale", d.Stale, d.Body, w.errStale},
			{"forged", d.Forged, d.Body, w.errForged},
			{"not signed", "", d.Body, w.errUnsigned},
		} {
			_, err := w.here.accept(d.Secret, bad.signature, bad.body)
			equal(bad.what, err, bad.want)
		}
		s.Detail = "an altered, a stale and a forged one are refused"
	})
}
