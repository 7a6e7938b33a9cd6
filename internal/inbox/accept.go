package inbox

import (
	"cmp"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// wantsJSON reports whether a request asks for JSON: by ?format=json, or by an
// Accept header that does not prefer HTML. Where it likes both alike, what it
// names is preferred to what a wildcard covers; if that decides nothing either it
// is JSON. So a lone */*, or no Accept at all, is answered with JSON: it comes
// from a program such as curl, since browsers always name text/html.
func wantsJSON(r *http.Request) bool {
	if r.URL.Query().Get("format") == "json" {
		return true
	}
	accept := strings.Join(r.Header.Values("Accept"), ",")
	return preferenceFor(accept, "text", "html").compare(preferenceFor(accept, "application", "json")) <= 0
}

// A preference is how much an Accept header likes a media type (RFC 9110, section
// 12.5.1). Its zero value: not at all.
type preference struct {
	quality   float64 // 0 to 1
	precision int     // of the range that says so: 3 type/subtype, 2 type/*, 1 */*
}

func (p preference) compare(q preference) int {
	return cmp.Or(cmp.Compare(p.quality, q.quality), cmp.Compare(p.precision, q.precision))
}

// preferenceFor finds the most precise range of accept that covers a media type.
// Ranges that cannot be read are skipped.
func preferenceFor(accept, mainType, subtype string) preference {
	var best preference
	for part := range strings.SplitSeq(accept, ",") {
		mediaRange, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		precision := 0
		switch mediaRange {
		case mainType + "/" + subtype:
			precision = 3
		case mainType + "/*":
			precision = 2
		case "*/*":
			precision = 1
		}
		if precision > best.precision {
			best = preference{quality(params["q"]), precision}
		}
	}
	if best.quality == 0 {
		return preference{} // q=0 says no, however precisely
	}
	return best
}

// quality reads a q parameter, which is 1 where it is absent or makes no sense.
func quality(q string) float64 {
	v, err := strconv.ParseFloat(q, 64)
	if err != nil || !(v >= 0 && v <= 1) {
		return 1
	}
	return v
}
