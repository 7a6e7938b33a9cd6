package load

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

// A Factor is one that was enrolled.
type Factor struct {
	ID   string `json:"id"`
	User string `json:"user,omitempty"` // of totp factors
}

// Factors are the factors that a flow uses in turn. It is safe for concurrent use.
type Factors struct {
	all    []Factor
	stride uint64
	next   atomic.Uint64
	spent  []atomic.Int64 // the last time step whose code was used; totp
}

// NewFactors returns a pool of the given factors; at least one is needed. The pool
// returns them in a scattered order, because neighbors in the order of enrollment
// lie next to each other in the store.
func NewFactors(all []Factor) *Factors {
	n := uint64(len(all))
	stride := max(1, uint64(float64(n)/math.Phi))
	for gcd(stride, n) != 1 {
		stride++
	}
	return &Factors{all: all, stride: stride, spent: make([]atomic.Int64, n)}
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Next returns the next factor. After the last it starts again with the first.
func (p *Factors) Next() Factor { return p.all[p.turn()] }

func (p *Factors) turn() uint64 {
	n := uint64(len(p.all))
	return (p.next.Add(1) - 1) % n * p.stride % n
}

var errSpent = errors.New("no totp factor has an unused code now: enroll more of them (-totp)")

// NextTOTP returns the next factor that has a time step with an unused code, and
// that step. The server also accepts the codes of the previous and the next step,
// each once and in order.
func (p *Factors) NextTOTP(now time.Time) (Factor, int64, error) {
	const margin = 2 // seconds before its end in which a step counts as over
	newest := now.Unix()/30 + 1
	oldest := (now.Unix()+margin)/30 - 1
	for range p.all {
		i := p.turn()
		last := p.spent[i].Load()
		step := max(last+1, oldest)
		if step <= newest && p.spent[i].CompareAndSwap(last, step) {
			return p.all[i], step, nil
		}
	}
	return Factor{}, 0, errSpent
}

// totpSecret is that of all totp factors of a pool, in base32: a code is made once
// for many factors, and what that costs is not the server's.
const totpSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

var totpKey = []byte("Hello!\xde\xad\xbe\xefHello!\xde\xad\xbe\xef")

// appendTOTP appends the code of a time step (RFC 6238, section 4; RFC 4226,
// section 5.3).
func appendTOTP(b []byte, step int64) []byte {
	mac := hmac.New(sha1.New, totpKey)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(step)))
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	return fmt.Appendf(b, "%06d", binary.BigEndian.Uint32(sum[at:])&0x7fffffff%1_000_000)
}

// Enroll enrolls factors over all clients at once: generic_otp ones, and among
// them totp ones of a user each, all with one secret, which this package knows.
func Enroll(clients []*Client, generic, totp int) (ofGeneric, ofTOTP []Factor, err error) {
	n := generic + totp
	ofGeneric, ofTOTP = make([]Factor, generic), make([]Factor, totp)
	var next atomic.Int64
	err = each(clients, func(_ int, c *Client) (err error) {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return nil
			}
			users := i * totp / n // among the earlier ones
			if (i+1)*totp/n == users {
				ofGeneric[i-users].ID, err = c.enrollUsed()
			} else {
				user := fmt.Sprintf("user_01BENCH%019d", users)
				ofTOTP[users].User = user
				ofTOTP[users].ID, err = c.enrollKnown(user)
			}
			if err != nil {
				return err
			}
		}
	})
	return ofGeneric, ofTOTP, err
}
