package stats

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
)

// Money is an amount in a currency.
type Money struct {
	Currency string // by ISO 4217: "EUR"
	Micros   int64  // millionths
}

// Amount returns the amount as a decimal number with at least two decimal places.
func (m Money) Amount() string {
	sign, n := "", m.Micros
	if n < 0 {
		sign, n = "-", -n
	}
	text := fmt.Sprintf("%d.%06d", n/1e6, n%1e6)
	for strings.HasSuffix(text, "0") && text[len(text)-3] != '.' {
		text = text[:len(text)-1]
	}
	return sign + text
}

// addMoney adds an amount to the one of its currency. Currencies are sorted.
func addMoney(all []Money, m Money) []Money {
	i, found := slices.BinarySearchFunc(all, m, func(a, b Money) int { return strings.Compare(a.Currency, b.Currency) })
	if !found {
		all = slices.Insert(all, i, Money{Currency: m.Currency})
	}
	all[i].Micros += m.Micros
	return all
}

// A route is a provider and a country, "*" for any country.
type route struct{ provider, country string }

// A price is what a segment costs from a time on.
type price struct {
	since time.Time
	Money
}

// Prices is a list of prices of segments. The zero value has no prices.
type Prices struct {
	of   map[route][]price // the oldest first
	free bool
}

// free are the prices of messages that cost nothing.
var free = Prices{free: true}

const anyCountry = "*"

// cost returns what segments cost at a time. known is false if no price is known.
func (p Prices) cost(provider, country string, segments int64, at time.Time) (cost Money, known bool) {
	if segments == 0 || p.free {
		return Money{}, true
	}
	for _, r := range []route{{provider, country}, {provider, anyCountry}} {
		for _, price := range slices.Backward(p.of[r]) {
			if !price.since.After(at) {
				return Money{price.Currency, price.Micros * segments}, true
			}
		}
	}
	return Money{}, false
}

var (
	priceForm    = regexp.MustCompile(`^[0-9]{1,6}(\.[0-9]{1,6})?$`)
	currencyForm = regexp.MustCompile(`^[A-Z]{3}$`)
)

// priceColumns are the columns of a list of prices. The last may be absent.
var priceColumns = []string{"provider", "country", "price", "currency", "since"}

// ReadPrices reads a list of prices in CSV. Its first line has the names of the columns:
// provider, country, price, currency, and optionally since. An error names the line.
func ReadPrices(from io.Reader) (Prices, error) {
	p := Prices{of: make(map[route][]price)}
	lines := csv.NewReader(from)
	lines.TrimLeadingSpace, lines.Comment = true, '#'
	head, err := lines.Read()
	if err != nil && !errors.Is(err, io.EOF) {
		return p, err
	}
	if len(head) > 0 {
		head[0] = strings.TrimPrefix(head[0], "\ufeff") // spreadsheets write it
	}
	if n := len(head); n < 4 || !slices.Equal(head, priceColumns[:min(n, len(priceColumns))]) {
		return p, fmt.Errorf("line 1 must be %s, or %s", strings.Join(priceColumns, ","), strings.Join(priceColumns[:4], ","))
	}
	for {
		row, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return p, nil
		}
		if err != nil {
			return p, err
		}
		line, _ := lines.FieldPos(0)
		if err := p.add(row); err != nil {
			return p, fmt.Errorf("line %d: %w", line, err)
		}
	}
}

// add adds a row of a list.
func (p Prices) add(row []string) error {
	r := route{row[0], strings.ToUpper(row[1])}
	one := price{Money: Money{Currency: row[3]}}
	if r.provider == "" {
		return errors.New("the provider is missing: use its name in the file of providers")
	}
	if r.country != anyCountry {
		if err := delivery.CheckCountries([]string{r.country}); err != nil {
			return fmt.Errorf("%w, or * for all other countries", err)
		}
	}
	if !priceForm.MatchString(row[2]) {
		return fmt.Errorf("%q is not a price, such as 0.0075, with at most six decimal places", row[2])
	}
	if !currencyForm.MatchString(one.Currency) {
		return fmt.Errorf("%q is not a currency of ISO 4217, such as EUR", one.Currency)
	}
	whole, part, _ := strings.Cut(row[2], ".")
	one.Micros, _ = strconv.ParseInt(whole+(part + "000000")[:6], 10, 64) // at most twelve digits
	if len(row) == len(priceColumns) && row[4] != "" {
		var err error
		if one.since, err = time.Parse(time.DateOnly, row[4]); err != nil {
			return fmt.Errorf("%q is not a date, such as 2026-01-31", row[4])
		}
	}
	all := p.of[r]
	i, found := slices.BinarySearchFunc(all, one, func(a, b price) int { return a.since.Compare(b.since) })
	if found {
		return fmt.Errorf("a second price of %s for %s from the same day on", r.provider, r.country)
	}
	p.of[r] = slices.Insert(all, i, one)
	return nil
}
