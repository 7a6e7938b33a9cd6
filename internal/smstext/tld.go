package smstext

import (
	"strings"
	"unicode"

	"golang.org/x/net/publicsuffix"
)

// isTLD reports whether label is a top-level domain. Label may be in any script, and in
// upper or lower case.
func isTLD(label []rune) bool {
	const longest = 63
	if len(label) < 2 || len(label) > longest {
		return false
	}
	name := strings.ToLower(string(label))
	if !isASCII(name) {
		name = "xn--" + punycode([]rune(name))
	}
	// For a name that matches no rule of the list, PublicSuffix returns a suffix too, but
	// with icann false.
	_, icann := publicsuffix.PublicSuffix("x." + name)
	return icann
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII })
}

// punycode returns label in ASCII, without "xn--" (RFC 3492, section 6.3). The label
// must have at most 63 runes: then no number overflows.
func punycode(label []rune) string {
	const base, tMin, tMax, skew, damp = 36, 1, 26, 38, 700
	var out strings.Builder
	for _, r := range label {
		if r <= unicode.MaxASCII {
			out.WriteRune(r)
		}
	}
	basic := out.Len()
	if basic > 0 {
		out.WriteByte('-')
	}
	n, delta, bias := rune(0x80), 0, 72
	for done := basic; done < len(label); {
		next := unicode.MaxRune + 1
		for _, r := range label {
			if r >= n && int(r) < int(next) {
				next = r
			}
		}
		delta += int(next-n) * (done + 1)
		n = next
		for _, r := range label {
			if r < n {
				delta++
			}
			if r != n {
				continue
			}
			q := delta
			for k := base; ; k += base {
				t := min(max(k-bias, tMin), tMax)
				if q < t {
					break
				}
				out.WriteByte(punycodeDigit(t + (q-t)%(base-t)))
				q = (q - t) / (base - t)
			}
			out.WriteByte(punycodeDigit(q))
			first := done == basic
			if done++; first {
				delta /= damp
			} else {
				delta /= 2
			}
			delta += delta / done
			bias = 0
			for delta > (base-tMin)*tMax/2 {
				delta /= base - tMin
				bias += base
			}
			bias += (base - tMin + 1) * delta / (delta + skew)
			delta = 0
		}
		delta++
		n++
	}
	return out.String()
}

func punycodeDigit(d int) byte {
	if d < 26 {
		return byte('a' + d)
	}
	return byte('0' + d - 26)
}
