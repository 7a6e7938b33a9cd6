// Package bare is the ceiling that a server of the HTTP API is measured against:
// net/http with as little behind it as could be. It hashes the caller's token,
// decodes the body and gives fixed answers of the size of real ones. It keeps
// nothing and checks nothing.
package bare

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/png"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// The one factor and the one user of the fixed answers.
const (
	FactorID = "auth_factor_01K9QZ5T7V3W8X2Y4Z6A8B0C1D"
	User     = "user_01BENCH0000000000000000000"
)

const (
	challengeID = "auth_challenge_01K9QZ5T7V3W8X2Y4Z6A8B0C1E"
	rightCode   = "424242"

	createdAt = `"created_at":"2026-01-01T00:00:00.000Z","updated_at":"2026-01-01T00:00:00.000Z",`
	factor    = `{"object":"authentication_factor","id":"` + FactorID + `",` + createdAt

	unused          = `"status":"unverified","last_used_at":null`
	enrolledGeneric = factor + `"type":"generic_otp",` + unused + `}`

	verified = `"status":"verified","last_used_at":"2026-01-01T00:00:00.000Z"`
	generic  = factor + `"type":"generic_otp",` + verified + `}`
	ofUser   = factor + `"type":"totp",` + unused + `,"user_id":"` + User + `","totp":{"issuer":"Example","user":"ada@example.com"}}`
	list     = `{"object":"list","data":[` + ofUser + `],"list_metadata":{"before":null,"after":null}}`

	challengeStart = `{"object":"authentication_challenge","id":"` + challengeID + `",` + createdAt +
		`"expires_at":"2026-01-01T00:10:00.000Z",`
	challenge = challengeStart + `"code":"` + rightCode + `","authentication_factor_id":"` + FactorID + `"}`
	right     = `{"challenge":` + challenge + `,"valid":true}`
	wrong     = `{"challenge":` + challenge + `,"valid":false}`
)

// totp returns the answer to an enrollment, whose image is as long as that of a
// QR code.
func totp() string {
	const side = 23 // pixels, stored as a byte each
	picture := image.NewGray(image.Rect(0, 0, side, side))
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.NoCompression}
	if err := encoder.Encode(&b, picture); err != nil {
		panic(err) // an encoder that fails in memory
	}
	return factor + `"type":"totp",` + unused + `,"totp":{"issuer":"Example","user":"ada@example.com",` +
		`"secret":"JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP","qr_code":"data:image/png;base64,` + base64.StdEncoding.EncodeToString(b.Bytes()) +
		`","uri":"otpauth://totp/Example:ada@example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Example"}}`
}

type request struct {
	Type string `json:"type"`
	Code string `json:"code"`
}

// Handler returns the ceiling.
func Handler() http.Handler {
	enrolled := totp()
	mux := http.NewServeMux()
	post := func(pattern string, answer func(request) string) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			var req request
			body, err := io.ReadAll(r.Body)
			if err != nil || !hashed(r) || json.Unmarshal(body, &req) != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			send(w, http.StatusCreated, answer(req))
		})
	}
	get := func(pattern, answer string) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if !hashed(r) {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			send(w, http.StatusOK, answer)
		})
	}
	post("POST /auth/factors/enroll", func(r request) string {
		if r.Type == "totp" {
			return enrolled
		}
		return enrolledGeneric
	})
	post("POST /auth/factors/{id}/challenge", func(request) string { return challenge })
	post("POST /auth/challenges/{id}/verify", func(r request) string {
		if r.Code == rightCode {
			return right
		}
		return wrong
	})
	get("GET /auth/factors/{id}", generic)
	get("GET /user_management/users/{user}/auth_factors", list)
	get("GET /readyz", "{}")
	return mux
}

// hashed hashes the token of a request, as a server does that keeps only hashes.
func hashed(r *http.Request) bool {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return sha256.Sum256([]byte(token)) != [sha256.Size]byte{}
}

func send(w http.ResponseWriter, status int, body string) {
	h := w.Header()
	h["Content-Type"] = []string{"application/json; charset=utf-8"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	w.Write([]byte(body))
}
