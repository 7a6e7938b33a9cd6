package load

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image/png"
	"net/http"
	"time"
)

// A Flow is one thing that a client does, in one exchange or two.
type Flow func(*Client) error

const (
	factorPrefix    = "auth_factor_"
	challengePrefix = "auth_challenge_"
)

// ChallengeVerify challenges a generic_otp factor and verifies the code that
// comes back.
func ChallengeVerify(factors *Factors) Flow {
	return func(c *Client) error {
		factor := factors.Next().ID
		if err := c.newChallenge(factor, true); err != nil {
			return err
		}
		return c.verify(factor, c.code, true)
	}
}

// ChallengeWrong challenges a generic_otp factor and tries a code that is wrong.
func ChallengeWrong(factors *Factors) Flow {
	return func(c *Client) error {
		factor := factors.Next().ID
		if err := c.newChallenge(factor, true); err != nil {
			return err
		}
		c.code[0] = '0' + (c.code[0]-'0'+1)%10
		return c.verify(factor, c.code, false)
	}
}

// ChallengeTOTP challenges a totp factor and verifies the code of its time step.
func ChallengeTOTP(factors *Factors) Flow {
	return func(c *Client) error {
		f, step, err := factors.NextTOTP(time.Now())
		if err != nil {
			return err
		}
		if err := c.newChallenge(f.ID, false); err != nil {
			return err
		}
		if c.step != step {
			c.step, c.totpCode = step, appendTOTP(c.totpCode[:0], step)
		}
		return c.verify(f.ID, c.totpCode, true)
	}
}

// Keyed carries out a flow with an idempotency key on every POST.
func Keyed(flow Flow) Flow {
	return func(c *Client) error {
		c.once = true
		defer func() { c.once = false }()
		return flow(c)
	}
}

// newChallenge leaves the id of the challenge in the client, and its code where
// the caller is to deliver it.
func (c *Client) newChallenge(factor string, coded bool) error {
	c.post("/auth/factors/", factor, "/challenge", "{}")
	a, err := c.do(http.StatusCreated)
	if err != nil {
		return err
	}
	id, code := text(a.Body, keyID), text(a.Body, keyCode)
	switch {
	case string(text(a.Body, keyObject)) != "authentication_challenge":
		return c.wrong(a, "the object is no authentication_challenge")
	case !isID(id, challengePrefix):
		return c.wrong(a, "the id is none of a challenge")
	case string(text(a.Body, keyFactor)) != factor:
		return c.wrong(a, "the challenge is of another factor")
	case text(a.Body, keyExpiresAt) == nil:
		return c.wrong(a, "the challenge never expires")
	case coded && !isCode(code):
		return c.wrong(a, "there is no code of six digits")
	case !coded && code != nil:
		return c.wrong(a, "there is a code")
	}
	c.challenge, c.code = append(c.challenge[:0], id...), append(c.code[:0], code...)
	return nil
}

func (c *Client) verify(factor string, code []byte, right bool) error {
	c.post("/auth/challenges/", string(c.challenge), "/verify", `{"code":"`+string(code)+`"}`)
	a, err := c.do(http.StatusCreated)
	if err != nil {
		return err
	}
	verdict := validFalse
	if right {
		verdict = validTrue
	}
	switch {
	case !bytes.Equal(text(a.Body, keyID), c.challenge):
		return c.wrong(a, "it is another challenge")
	case string(text(a.Body, keyFactor)) != factor:
		return c.wrong(a, "the challenge is of another factor")
	case !bytes.Contains(a.Body, verdict):
		return c.wrong(a, fmt.Sprintf("valid is not %t", right))
	}
	return nil
}

// wrongRecovery has the form of a recovery code. No set has it.
const wrongRecovery = "0000-0000-0000-0000"

// RecoverWrong tries a wrong recovery code of the users in turn, which costs the server a slow hash. Each
// set of codes allows fewer than 100 of them.
func RecoverWrong(users *Factors) Flow {
	return func(c *Client) error {
		c.post("/user_management/users/", users.Next().User, "/verify", `{"code":"`+wrongRecovery+`"}`)
		a, err := c.do(http.StatusOK)
		if err == nil && !bytes.Contains(a.Body, validFalse) {
			err = c.wrong(a, "valid is not false")
		}
		return err
	}
}

// NewRecovery creates the recovery codes of a user without other factors.
func (c *Client) NewRecovery(user string) error {
	c.post("/user_management/users/", user, "/recovery_codes", `{"allow_sole":true}`)
	a, err := c.do(http.StatusCreated)
	if err == nil && string(text(a.Body, keyUserID)) != user {
		err = c.wrong(a, "the codes are of another user")
	}
	return err
}

// EnrollGeneric enrolls a generic_otp factor.
func EnrollGeneric(c *Client) error {
	_, err := c.enrollGeneric()
	return err
}

func (c *Client) enrollGeneric() (id string, err error) {
	a, err := c.enroll("generic_otp", `{"type":"generic_otp"}`)
	return string(text(a.Body, keyID)), err
}

// enrollUsed enrolls a generic_otp factor and verifies its first challenge. The first right
// code of a factor costs a write more than later ones, which flows measure.
func (c *Client) enrollUsed() (id string, err error) {
	if id, err = c.enrollGeneric(); err != nil {
		return "", err
	}
	if err = c.newChallenge(id, true); err != nil {
		return "", err
	}
	return id, c.verify(id, c.code, true)
}

// EnrollTOTP enrolls a totp factor, and checks that its secret and its QR code
// came with it.
func EnrollTOTP(c *Client) error {
	a, err := c.enroll("totp", `{"type":"totp","totp_issuer":"Example","totp_user":"ada@example.com"}`)
	if err != nil {
		return err
	}
	return c.checkTOTP(a)
}

// enrollKnown enrolls a totp factor of a user, with the secret whose codes
// appendTOTP makes.
func (c *Client) enrollKnown(user string) (id string, err error) {
	a, err := c.enroll("totp", `{"type":"totp","totp_issuer":"Example","totp_user":"ada@example.com","user_id":"`+user+`","totp_secret":"`+totpSecret+`"}`)
	if err != nil {
		return "", err
	}
	if string(text(a.Body, keySecret)) != totpSecret || string(text(a.Body, keyUserID)) != user {
		return "", c.wrong(a, "another secret or user")
	}
	return string(text(a.Body, keyID)), c.checkTOTP(a)
}

func (c *Client) enroll(kind, body string) (Answer, error) {
	c.post("/auth/factors/enroll", "", "", body)
	a, err := c.do(http.StatusCreated)
	if err != nil {
		return a, err
	}
	return a, c.checkFactor(a, kind)
}

func (c *Client) checkFactor(a Answer, kind string) error {
	switch {
	case string(text(a.Body, keyObject)) != "authentication_factor":
		return c.wrong(a, "the object is no authentication_factor")
	case !isID(text(a.Body, keyID), factorPrefix):
		return c.wrong(a, "the id is none of a factor")
	case string(text(a.Body, keyType)) != kind:
		return c.wrong(a, "the type is not "+kind)
	}
	return nil
}

const pngURI = "data:image/png;base64,"

func (c *Client) checkTOTP(a Answer) error {
	image := text(a.Body, keyQRCode)
	switch {
	case len(text(a.Body, keySecret)) < 16:
		return c.wrong(a, "there is no secret of 80 bits")
	case !bytes.HasPrefix(text(a.Body, keyURI), []byte("otpauth://totp/")):
		return c.wrong(a, "the uri is no otpauth URI")
	case !bytes.HasPrefix(image, []byte(pngURI)) || len(image) < 500:
		return c.wrong(a, "there is no PNG image")
	}
	if c.answers%imageEvery != 1 {
		return nil
	}
	image = image[len(pngURI):]
	if _, err := png.Decode(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(image))); err != nil {
		return c.wrong(a, "the QR code is no image")
	}
	return nil
}

// Get gets a generic_otp factor.
func Get(factors *Factors) Flow {
	return func(c *Client) error {
		factor := factors.Next().ID
		c.get("/auth/factors/", factor, "")
		a, err := c.do(http.StatusOK)
		if err != nil {
			return err
		}
		if string(text(a.Body, keyID)) != factor {
			return c.wrong(a, "it is another factor")
		}
		return c.checkFactor(a, "generic_otp")
	}
}

// List lists the factors of a user with one factor.
func List(factors *Factors) Flow {
	return func(c *Client) error {
		f := factors.Next()
		c.get("/user_management/users/", f.User, "/auth_factors")
		a, err := c.do(http.StatusOK)
		if err != nil {
			return err
		}
		page, found := bytes.CutPrefix(a.Body, []byte(`{"object":"list","data":[`))
		switch {
		case !found:
			return c.wrong(a, "it is no list")
		case string(text(page, keyID)) != f.ID:
			return c.wrong(a, "it is not the user's factor")
		case string(text(page, keyUserID)) != f.User:
			return c.wrong(a, "it is another user's")
		case bytes.Count(page, keyID) != 1:
			return c.wrong(a, "it is more than one factor")
		}
		return c.checkFactor(Answer{Status: a.Status, Body: page}, "totp")
	}
}
