package delivery

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"github.com/countersign-mfa/countersign/internal/ids"
)

// A numberRange is a range of phone numbers that the metadata for checking numbers do not
// have yet.
type numberRange struct {
	prefix  string // "+1942"
	country string // "CA"
}

var (
	rangeSeparators = strings.NewReplacer(" ", "", "-", "", ".", "", "(", "", ")", "")
	rangePrefix     = regexp.MustCompile(`^\+[1-9][0-9]{1,13}$`)
)

// compileRanges checks the countries of prefixes, {"+1 942": "CA"}. It returns the
// longest prefix first.
func compileRanges(countries map[string]string) (all []numberRange, err error) {
	for _, written := range slices.Sorted(maps.Keys(countries)) {
		n := numberRange{rangeSeparators.Replace(written), strings.ToUpper(strings.TrimSpace(countries[written]))}
		if err := CheckCountries([]string{n.country}); err != nil {
			return nil, fmt.Errorf("allow_numbers: %q: %w", written, err)
		}
		code := "+" + strconv.Itoa(phonenumbers.GetCountryCodeForRegion(n.country))
		switch {
		case !rangePrefix.MatchString(n.prefix):
			return nil, fmt.Errorf("allow_numbers: %q is not a prefix, such as \"+1 942\"", written)
		case !strings.HasPrefix(n.prefix, code):
			return nil, fmt.Errorf("allow_numbers: %q is not in %s, whose numbers begin with %s", written, n.country, code)
		case n.prefix == code:
			return nil, fmt.Errorf("allow_numbers: %q is the code of a whole country; give the digits of the new range", written)
		case slices.ContainsFunc(all, func(other numberRange) bool { return other.prefix == n.prefix }):
			return nil, fmt.Errorf("allow_numbers: %q is listed twice", written)
		}
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b numberRange) int { return len(b.prefix) - len(a.prefix) })
	return all, nil
}

// rangeOf returns the range of a number; ok is false if the metadata have the number.
func (r *ruleset) rangeOf(phone Phone) (numberRange, bool) {
	for _, n := range r.ranges {
		if strings.HasPrefix(phone.E164(), n.prefix) {
			parsed, err := phonenumbers.Parse(phone.E164(), "")
			return n, err == nil && !phonenumbers.IsValidNumber(parsed)
		}
	}
	return numberRange{}, false
}

// countryOf returns the country of a number by ISO 3166-1, "ZZ" if it is unknown.
func (r *ruleset) countryOf(phone Phone) string {
	if n, ok := r.rangeOf(phone); ok {
		return n.country
	}
	return countryOf(phone)
}

// ParsePhone is ParsePhone for an environment, whose operator may allow ranges that the
// metadata do not have.
func (p *Policy) ParsePhone(env ids.Environment, text string) (Phone, error) {
	phone, err := ParsePhone(text, env.Production)
	if err == nil || !env.Production {
		return phone, err
	}
	possible, wrong := ParsePhone(text, false)
	if wrong != nil {
		return phone, err
	}
	if _, ok := p.of(env).rangeOf(possible); !ok {
		return phone, err
	}
	return possible, nil
}
