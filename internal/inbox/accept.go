package inbox

import (
	"cmp"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// wantsJSON reports whether a request asks for JSON: by ?format=json, or by an Accept
// header that does not prefer HTML. If the header gives both the same quality, the type
// that it names is preferred to one that a wildcard matches. If this does not decide
// either, the answer is JSON. So the answer to */* or to no Accept header is JSON: such a
// request comes from a program such as curl, because browsers always name text/html.
func wantsJSON(r *http.Request) bool {
	if r.URL.Query().Get("format") == "json" {
		return true
	}
	accept := strings.Join(r.Header.Values("Accept"), ",")
	return preferenceFor(accept, "text", "html").compare(preferenceFor(accept, "application", "json")) <= 0
}

// A preference is the weight that an Accept header gives to a media type (RFC 9110,
// section 12.5.1). The zero value means that the client does not accept the type.
type preference struct {
	quality   float64 // 0 to 1
	precision int     // of the matching range: 3 for type/subtype, 2 for type/*, 1 for */*
}

func (p preference) compare(q preference) int {
	return cmp.Or(cmp.Compare(p.quality, q.quality), cmp.Compare(p.precision, q.precision))
}

// preferenceFor returns the preference of the most precise range of accept that matches a
// media type. It skips malformed ranges.
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
		return preference{} // q=0 refuses the type, with any precision
	}
	return best
}

// quality returns the value of a q parameter, and 1 if it is absent or invalid.
func quality(q string) float64 {
	v, err := strconv.ParseFloat(q, 64)
	if err != nil || !(v >= 0 && v <= 1) {
		return 1
	}
	return v
}
