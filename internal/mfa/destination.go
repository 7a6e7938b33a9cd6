package mfa

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// checkCountries reports which of the codes is none of ISO 3166-1, "US".
func checkCountries(codes []string) error {
	known := phonenumbers.GetSupportedRegions()
	for _, code := range codes {
		if !known[code] {
			return fmt.Errorf("%q is not the code of a country, such as US or DE", code)
		}
	}
	return nil
}

// refuseDestination returns why no message may go to a number: its country is not
// among those that the operator named, or whoever answers it is paid for that. A
// sandbox may ask for anything: no provider of ours carries what it sends.
func (s *Service) refuseDestination(env Environment, phone Phone) error {
	if !env.Production {
		return nil
	}
	n, err := phonenumbers.Parse(phone.E164(), "")
	if err != nil {
		return errors.New("a stored phone number cannot be read")
	}
	if !slices.Contains(s.opts.Countries, phonenumbers.GetRegionCodeForNumber(n)) {
		return ErrCountry
	}
	switch phonenumbers.GetNumberType(n) {
	case phonenumbers.PREMIUM_RATE, phonenumbers.SHARED_COST, phonenumbers.UAN, phonenumbers.VOICEMAIL, phonenumbers.PAGER, phonenumbers.TOLL_FREE:
		return ErrNumberType
	}
	return nil
}

// upper returns the codes as ISO 3166-1 writes them.
func upper(codes []string) []string {
	all := make([]string, len(codes))
	for i, code := range codes {
		all[i] = strings.ToUpper(strings.TrimSpace(code))
	}
	return all
}
