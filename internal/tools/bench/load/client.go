package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// ErrRefused means that the server had too much to do and said so as it should:
// 503 with Retry-After.
var ErrRefused = errors.New("refused: too much to do")

// A WrongError means that an answer was not the right one. It never holds the body
// of an answer that may have a code or a secret in it.
type WrongError struct {
	Request string // "POST /auth/factors/"
	Status  int
	What    string
}

func (e *WrongError) Error() string {
	return fmt.Sprintf("%s…: status %d: %s", e.Request, e.Status, e.What)
}

// A Client is one caller of the API, with its own connection. One goroutine uses it
// at a time.
type Client struct {
	conn    *Conn
	head    string // of every request, after its path
	name    string // makes its idempotency keys unique
	keys    int    // idempotency keys used so far
	once    bool   // whether its requests carry them
	answers int

	out       []byte
	request   string // the method and the beginning of the path, for errors
	challenge []byte // the id of the last challenge
	code      []byte // and its code
	step      int64  // of the last totp code made
	totpCode  []byte
}

// NewClient connects to addr, host:port. Of all clients of a store's life no two
// may have the same name.
func NewClient(addr, key, name string) (*Client, error) {
	conn, err := Dial(addr)
	if err != nil {
		return nil, err
	}
	return &Client{
		conn: conn,
		head: " HTTP/1.1\r\nHost: " + addr + "\r\nAuthorization: Bearer " + key + "\r\n",
		name: name,
	}, nil
}

// Close closes the connection.
func (c *Client) Close() error { return c.conn.Close() }

// get and post begin a request to a path of three parts, of which an error names
// the first.
func (c *Client) get(before, id, after string) {
	c.request = "GET " + before
	c.out = append(append(append(append(c.out[:0], "GET "...), before...), id...), after...)
	c.out = append(append(c.out, c.head...), "\r\n"...)
}

func (c *Client) post(before, id, after, body string) {
	c.request = before
	c.out = append(append(append(append(c.out[:0], "POST "...), before...), id...), after...)
	c.out = append(c.out, c.head...)
	if c.once {
		c.keys++
		c.out = append(append(append(c.out, "Idempotency-Key: "...), c.name...), '-')
		c.out = append(strconv.AppendInt(c.out, int64(c.keys), 10), "\r\n"...)
	}
	c.out = append(c.out, "Content-Type: application/json\r\nContent-Length: "...)
	c.out = append(strconv.AppendInt(c.out, int64(len(body)), 10), "\r\n\r\n"...)
	c.out = append(c.out, body...)
}

const (
	// validEvery is of how many answers one is read as JSON from end to end.
	validEvery = 64
	// imageEvery is of how many enrollments one has its QR code decoded.
	imageEvery = 1024
)

// do carries out the request, whose answer must have that status.
func (c *Client) do(status int) (Answer, error) {
	a, err := c.conn.Exchange(c.out)
	if err != nil {
		return a, fmt.Errorf("%s…: %w", c.request, err)
	}
	switch {
	case a.Status == status:
	case a.Status == http.StatusServiceUnavailable && a.RetryAfter:
		return a, ErrRefused
	case a.Status == http.StatusServiceUnavailable:
		return a, c.wrong(a, "no Retry-After")
	case a.Status < 300:
		return a, c.wrong(a, fmt.Sprintf("want %d", status))
	default:
		return a, c.wrong(a, fmt.Sprintf("want %d; %.300s", status, a.Body)) // a problem, which holds no secret
	}
	if c.answers++; c.answers%validEvery == 1 && !json.Valid(a.Body) {
		return a, c.wrong(a, "the body is no JSON")
	}
	return a, nil
}

func (c *Client) wrong(a Answer, what string) error {
	return &WrongError{Request: c.request, Status: a.Status, What: what}
}

// Keys of answers, each with the text between the key and its value. No value that
// this package makes the server repeat contains one of them.
var (
	keyObject    = []byte(`"object":"`)
	keyID        = []byte(`"id":"`)
	keyType      = []byte(`"type":"`)
	keyCode      = []byte(`"code":"`)
	keyFactor    = []byte(`"authentication_factor_id":"`)
	keyExpiresAt = []byte(`"expires_at":"`)
	keySecret    = []byte(`"secret":"`)
	keyURI       = []byte(`"uri":"`)
	keyQRCode    = []byte(`"qr_code":"`)
	keyUserID    = []byte(`"user_id":"`)
	validTrue    = []byte(`"valid":true`)
	validFalse   = []byte(`"valid":false`)
)

// text returns the first string after a key, or nil.
func text(body, key []byte) []byte {
	i := bytes.Index(body, key)
	if i < 0 {
		return nil
	}
	body = body[i+len(key):]
	if i = bytes.IndexByte(body, '"'); i < 0 {
		return nil
	}
	return body[:i]
}

// isID reports whether an id has that prefix and then 26 characters.
func isID(id []byte, prefix string) bool {
	return len(id) == len(prefix)+26 && string(id[:len(prefix)]) == prefix
}

func isCode(code []byte) bool {
	if len(code) != 6 {
		return false
	}
	for _, c := range code {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
