package mfa

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"

	"github.com/countersign-mfa/countersign/internal/smstext"
)

// SMSRules say where the messages of an environment go, how many there may be and
// what they read. Zero fields take their defaults; no limit can be switched off.
type SMSRules struct {
	Countries []string // where a production environment sends, by ISO 3166-1: "US"; default nowhere
	Home      string   // the country that is not abroad; default the first of Countries
	Daily     int      // messages of a production environment in any 24 h; default 1,000
	Abroad    int      // of them, those to other countries than Home; default 100
	Pumping   Pumping
	Texts     map[string]string // by locale, "de" or "pt-BR", with {{code}} in each; "default" for all others
	Origin    string            // the host that browsers fill the code in for, named in a last line; default none
	Links     bool              // whether a caller's own text may hold what phones make a link of

	// AllowNumbers has the countries of prefixes, {"+1 942": "CA"}, whose numbers are
	// newer than the metadata by which numbers are checked. Default none.
	AllowNumbers map[string]string
}

// Pumping says when the numbers of one prefix, its first six digits, look as if
// messages were sent there for the money that they cost: many are challenged, and
// few of them verified. The prefix is then paused.
type Pumping struct {
	Sends    int           // challenges in Window from which on a prefix is judged; default 20
	Verified float64       // the least share of them that must be verified; default 0.3
	Window   time.Duration // default 1 h
	Pause    time.Duration // default 24 h
}

// smsRules are SMSRules, checked and ready for use.
type smsRules struct {
	SMSRules
	texts  *smstext.Templates
	ranges []numberRange // the longest first
}

func (r SMSRules) compile() (*smsRules, error) {
	var errs []error
	r.Countries = upper(r.Countries)
	r.Home = strings.ToUpper(r.Home)
	if err := CheckCountries(r.Countries); err != nil {
		errs = append(errs, fmt.Errorf("countries: %w", err))
	}
	switch {
	case r.Home == "" && len(r.Countries) > 0:
		r.Home = r.Countries[0]
	case r.Home != "":
		if err := CheckCountries([]string{r.Home}); err != nil {
			errs = append(errs, fmt.Errorf("home: %w", err))
		}
	}
	if r.Home != "" && len(r.Countries) > 0 && !slices.Contains(r.Countries, r.Home) {
		errs = append(errs, fmt.Errorf("home is %q, which is not among the countries %s", r.Home, strings.Join(r.Countries, ", ")))
	}
	for _, limit := range []struct {
		name  string
		value *int
		def   int
	}{
		{"daily messages", &r.Daily, 1000},
		{"daily messages abroad", &r.Abroad, 100},
		{"challenges before a prefix is judged", &r.Pumping.Sends, 20},
	} {
		if *limit.value == 0 {
			*limit.value = limit.def
		}
		if *limit.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %d; it must be positive", limit.name, *limit.value))
		}
	}
	p := &r.Pumping
	if p.Verified == 0 {
		p.Verified = 0.3
	}
	if p.Window == 0 {
		p.Window = time.Hour
	}
	if p.Pause == 0 {
		p.Pause = 24 * time.Hour
	}
	switch {
	case p.Verified < 0 || p.Verified > 1:
		errs = append(errs, fmt.Errorf("the least verified share is %v; it must be above 0 and at most 1", p.Verified))
	case p.Window < 10*time.Minute || p.Window > 24*time.Hour:
		errs = append(errs, fmt.Errorf("the window in which a prefix is judged is %v; it must be from 10m to 24h", p.Window))
	case p.Pause < time.Minute || p.Pause > 30*24*time.Hour:
		errs = append(errs, fmt.Errorf("the pause of a prefix is %v; it must be from 1m to 720h", p.Pause))
	}
	if r.Origin != "" {
		if err := smstext.CheckHost(r.Origin); err != nil {
			errs = append(errs, fmt.Errorf("origin: %w", err))
		}
	}
	texts, err := smstext.NewTemplates(r.Texts)
	if err != nil {
		errs = append(errs, fmt.Errorf("texts: %w", err))
	}
	ranges, err := compileRanges(r.AllowNumbers)
	if err != nil {
		errs = append(errs, err)
	}
	return &smsRules{r, texts, ranges}, errors.Join(errs...)
}

// compileAll returns the rules of all environments by their names, "" for those that
// have none of their own.
func compileAll(opts Options) (map[string]*smsRules, error) {
	all := map[string]*smsRules{}
	var err error
	if all[""], err = opts.SMS.compile(); err != nil {
		return nil, err
	}
	for name, rules := range opts.SMSOf {
		if all[name], err = rules.compile(); err != nil {
			return nil, fmt.Errorf("environment %q: %w", name, err)
		}
	}
	return all, nil
}

// CheckSMSRules reports what is wrong with the rules of all environments or of one.
func CheckSMSRules(all SMSRules, of map[string]SMSRules) error {
	_, err := compileAll(Options{SMS: all, SMSOf: of})
	return err
}

// rulesOf returns the rules of an environment's messages.
func (s *Service) rulesOf(env Environment) *smsRules {
	if r, ok := s.sms[env.Name]; ok {
		return r
	}
	return s.sms[""]
}

const (
	defaultTemplate = "Your verification code is: " + smstext.Place
	maxTemplate     = 1600 // characters, the most that carriers join into one message
)

// check reports what of a request cannot be sent.
func (r *smsRules) check(p ChallengeParams) error {
	var wrong []FieldError
	add := func(field, code, message string) { wrong = append(wrong, FieldError{field, code, message}) }
	switch t := p.Template; {
	case t == "":
	case !strings.Contains(t, smstext.Place):
		add("sms_template", "missing_code", "sms_template must contain {{code}}, where the code goes")
	case utf8.RuneCountInString(t) > maxTemplate:
		add("sms_template", "too_long", fmt.Sprintf("sms_template must have at most %d characters", maxTemplate))
	case !r.Links && smstext.Link(t) != "":
		add("sms_template", "has_link", "sms_template must not contain what a phone makes a link of: an address of a site, a mailbox or a phone")
	}
	if p.Locale != "" && smstext.CheckLocale(p.Locale) != nil {
		add("locale", "invalid", "locale must be a language tag, such as de or pt-BR")
	}
	if wrong != nil {
		return &InvalidError{Fields: wrong}
	}
	return nil
}

// text returns the message for a phone: the caller's own words, or else those of
// the locale that it asks for, or of the phone's country.
func (r *smsRules) text(p ChallengeParams, phone Phone, code string) string {
	template := p.Template
	if template == "" {
		template, _ = r.texts.Find(p.Locale, r.countryOf(phone))
	}
	return r.fill(template, code)
}

// fill puts a code into a template, or into the one for all if it is "".
func (r SMSRules) fill(template, code string) string {
	text := strings.ReplaceAll(firstNonEmpty(template, defaultTemplate), smstext.Place, code)
	if r.Origin != "" {
		text = smstext.OriginBound(text, r.Origin, code)
	}
	return text
}

// Samples returns what messages with the code 123456 read, by locale; "default" is
// always there.
func (r SMSRules) Samples() map[string]string {
	samples := map[string]string{"default": r.fill("", testCode)}
	for locale, template := range r.Texts {
		samples[locale] = r.fill(template, testCode)
	}
	return samples
}

// countryOf returns the country of a number by ISO 3166-1, "ZZ" if it is unknown.
func countryOf(phone Phone) string {
	n, err := phonenumbers.Parse(phone.E164(), "")
	if err != nil {
		return "ZZ"
	}
	if country := phonenumbers.GetRegionCodeForNumber(n); country != "" {
		return country
	}
	return "ZZ"
}
