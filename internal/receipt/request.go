package receipt

import (
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Request says what a receipt is for.
type Request struct {
	Audience    string // the service that will check the receipt
	Nonce       string // chosen by that service; may be ""
	FirstFactor string // what the caller has verified before; may be "", see FirstFactors
	ExpiresIn   int    // seconds; 0 means DefaultExpiry
	Action      Action // what the person confirms; may be zero
}

// An Action is what a person confirms, as the application has shown it.
type Action struct {
	Title   string
	Details string
	SHA256  string // of the document or transaction, in lower-case hexadecimal
}

// The limits of a request, in bytes.
const (
	maxAudience = 255
	maxNonce    = 255
	maxTitle    = 255
	maxDetails  = 2048
)

// How long a receipt can be used.
const (
	DefaultExpiry = 5 * time.Minute
	MaxExpiry     = time.Hour
	minExpiry     = 30 * time.Second
)

// FirstFactors are the values of RFC 8176 for something that a person knows or is. Together
// with a factor, which a person has, they make two kinds of factors.
var FirstFactors = []string{"pwd", "pin", "kba", "face", "fpt", "iris", "retina", "vbm"}

// A Fault is a value of a Request that is not accepted. Its texts do not contain the value.
type Fault struct {
	Field string // "aud", "action.title"
	Code  string // stable, for programs
	Must  string // "must have at most 255 bytes"
}

// Check returns everything that is wrong with r.
func (r *Request) Check() (faults []Fault) {
	if r.Audience == "" {
		faults = append(faults, Fault{"aud", "required", "is required: it names the service that will check the receipt"})
	}
	for _, t := range []struct {
		field, value string
		most         int
		lines        bool
	}{
		{"aud", r.Audience, maxAudience, false},
		{"nonce", r.Nonce, maxNonce, false},
		{"action.title", r.Action.Title, maxTitle, false},
		{"action.details", r.Action.Details, maxDetails, true},
	} {
		switch {
		case !isPlainText(t.value, t.lines):
			faults = append(faults, Fault{t.field, "invalid_characters", "must be plain text without control characters"})
		case len(t.value) > t.most:
			faults = append(faults, Fault{t.field, "too_long", "must have at most " + strconv.Itoa(t.most) + " bytes"})
		}
	}
	if r.Action != (Action{}) && r.Action.Title == "" {
		faults = append(faults, Fault{"action.title", "required", "is required with an action"})
	}
	if r.Action.SHA256 != "" && !isHash(r.Action.SHA256) {
		faults = append(faults, Fault{"action.sha256", "not_sha256", "must be a SHA-256 hash: 64 hexadecimal digits in lower case"})
	}
	if r.FirstFactor != "" && !slices.Contains(FirstFactors, r.FirstFactor) {
		faults = append(faults, Fault{"first_factor", "unsupported", "must be " + strings.Join(FirstFactors[:len(FirstFactors)-1], ", ") + " or " + FirstFactors[len(FirstFactors)-1]})
	}
	if in := time.Duration(r.ExpiresIn) * time.Second; r.ExpiresIn != 0 && (r.ExpiresIn < 0 || r.ExpiresIn > int(MaxExpiry/time.Second) || in < minExpiry) {
		faults = append(faults, Fault{"expires_in", "out_of_range", "must be from 30 to 3600 seconds"})
	}
	return faults
}

// isPlainText reports whether s has neither control characters nor the character that
// decoders write in place of unreadable text. lines allows the ends of lines.
func isPlainText(s string, lines bool) bool {
	for _, r := range s {
		if unicode.IsControl(r) && !(lines && r == '\n') || r == utf8.RuneError {
			return false
		}
	}
	return true
}

func isHash(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == 64
}

// texts returns the texts of r, in the order in which Encode writes them.
func (r *Request) texts() [6]*string {
	return [6]*string{&r.Audience, &r.Nonce, &r.FirstFactor, &r.Action.Title, &r.Action.Details, &r.Action.SHA256}
}

// Encode returns r in a form that Decode reads: the lifetime, and each text after its length.
func (r *Request) Encode() []byte {
	b := binary.AppendUvarint(nil, uint64(r.ExpiresIn))
	for _, text := range r.texts() {
		b = binary.AppendUvarint(b, uint64(len(*text)))
		b = append(b, *text...)
	}
	return b
}

// Decode reads the result of an Encode.
func Decode(b []byte) (*Request, error) {
	r := new(Request)
	seconds, n := binary.Uvarint(b)
	if n <= 0 || seconds > uint64(MaxExpiry/time.Second) {
		return nil, errCut
	}
	r.ExpiresIn = int(seconds)
	b = b[n:]
	for _, text := range r.texts() {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, errCut
		}
		*text = string(b[n : n+int(size)])
		b = b[n+int(size):]
	}
	if len(b) > 0 {
		return nil, errCut
	}
	return r, nil
}

var errCut = errors.New("the request of a receipt is not well formed")
