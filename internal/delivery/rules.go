package delivery

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"

	"github.com/countersign-mfa/countersign/internal/ids"
	"github.com/countersign-mfa/countersign/internal/smstext"
)

// Rules are the rules for the messages of an environment: their countries, their number
// and their text. Zero fields take their defaults; no limit can be switched off.
type Rules struct {
	Countries []string // to which a production environment sends, by ISO 3166-1: "US"; default no country
	Home      string   // the country whose numbers do not count as abroad; default the first of Countries
	Daily     int      // messages of a production environment in any 24 h; default 1,000
	Abroad    int      // of these, the messages to other countries than Home; default 100
	Pumping   Pumping
	Texts     map[string]string // by locale, "de" or "pt-BR", with {{code}} in each; "default" for all other locales
	Origin    string            // the host for which browsers fill in the code, named in a last line; default none
	Links     bool              // whether a caller's own text may contain text that phones show as a link

	// AllowNumbers has the countries of prefixes, {"+1 942": "CA"}, that the metadata for
	// checking numbers do not have yet. Default none.
	AllowNumbers map[string]string
}

// Pumping describes SMS pumping, where an attacker earns money from the messages to the
// numbers of one prefix, the first six digits: many numbers are challenged, and few
// challenges are verified. The prefix is then paused.
type Pumping struct {
	Sends    int           // the number of challenges in Window from which a prefix is judged; default 20
	Verified float64       // the minimum share of verified challenges; default 0.3
	Window   time.Duration // default 1 h
	Pause    time.Duration // default 24 h
}

// Period returns Window or its default.
func (p Pumping) Period() time.Duration {
	if p.Window == 0 {
		return time.Hour
	}
	return p.Window
}

// A ruleset has the checked Rules of an environment.
type ruleset struct {
	Rules
	texts  *smstext.Templates
	ranges []numberRange // the longest first
}

func (r Rules) compile() (*ruleset, error) {
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
	p.Window = p.Period()
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
	return &ruleset{r, texts, ranges}, errors.Join(errs...)
}

// compileAll returns the rules by the name of the environment. The name "" has the rules of
// all environments without their own rules.
func compileAll(all Rules, of map[string]Rules) (map[string]*ruleset, error) {
	compiled := map[string]*ruleset{}
	var err error
	if compiled[""], err = all.compile(); err != nil {
		return nil, err
	}
	for name, rules := range of {
		if compiled[name], err = rules.compile(); err != nil {
			return nil, fmt.Errorf("environment %q: %w", name, err)
		}
	}
	return compiled, nil
}

// CheckRules returns the faults of rules: all is for all environments, of for single ones.
func CheckRules(all Rules, of map[string]Rules) error {
	_, err := compileAll(all, of)
	return err
}

const (
	defaultTemplate = "Your verification code is: " + smstext.Place
	maxTemplate     = 1600 // characters, the maximum that carriers join into one message
)

// TextParams describe the text of a message, as a caller asks for it.
type TextParams struct {
	Template string // the whole text, with {{code}} in it; default the text of the environment
	Locale   string // of the environment's text, "de" or "pt-BR"; default that of the phone's country
}

// A Fault is the reason why a part of TextParams cannot be sent.
type Fault struct {
	Part string // "template" or "locale"
	Code string // stable, for programs
	Must string // what the part must be: "must contain …"
}

// Check returns the faults of the text that params describe.
func (p *Policy) Check(env ids.Environment, params TextParams) (faults []Fault) {
	add := func(part, code, must string) { faults = append(faults, Fault{part, code, must}) }
	switch t := params.Template; {
	case t == "":
	case !strings.Contains(t, smstext.Place):
		add("template", "missing_code", "must contain {{code}}, where the code goes")
	case utf8.RuneCountInString(t) > maxTemplate:
		add("template", "too_long", fmt.Sprintf("must have at most %d characters", maxTemplate))
	case !p.of(env).Links && smstext.Link(t) != "":
		add("template", "has_link", "must not contain text that phones turn into links: web addresses, email addresses or phone numbers")
	}
	if params.Locale != "" && smstext.CheckLocale(params.Locale) != nil {
		add("locale", "invalid", "must be a language tag, such as de or pt-BR")
	}
	return faults
}

// Text returns the message for a phone: the template of the caller, or the text of the
// requested locale, or that of the phone's country.
func (p *Policy) Text(env ids.Environment, params TextParams, phone Phone, code string) string {
	r := p.of(env)
	template := params.Template
	if template == "" {
		template, _ = r.texts.Find(params.Locale, r.countryOf(phone))
	}
	return r.fill(template, code)
}

// fill puts a code into a template; for "" it uses the default template.
func (r Rules) fill(template, code string) string {
	text := strings.ReplaceAll(cmp.Or(template, defaultTemplate), smstext.Place, code)
	if r.Origin != "" {
		text = smstext.OriginBound(text, r.Origin, code)
	}
	return text
}

// Samples returns the texts of messages with the code 123456, by locale. It always contains
// "default".
func (r Rules) Samples() map[string]string {
	samples := map[string]string{"default": r.fill("", TestCode)}
	for locale, template := range r.Texts {
		samples[locale] = r.fill(template, TestCode)
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
