package aws

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// keys are credentials of AWS.
type keys struct {
	id      string
	secret  secret.String
	token   secret.String // of temporary keys
	expires time.Time     // zero if they do not expire
}

// The forms of times in a signature.
const (
	signedTime = "20060102T150405Z"
	signedDay  = "20060102"
)

// sign adds a signature of AWS, version 4, to a request without a query:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
// It covers the host, the content type and all headers of AWS.
func sign(req *http.Request, body string, k keys, service, region string, at time.Time) {
	at = at.UTC()
	req.Header.Set("X-Amz-Date", at.Format(signedTime))
	if token := k.token.Reveal(); token != "" {
		req.Header.Set("X-Amz-Security-Token", token)
	}
	headers := map[string]string{"host": req.URL.Host}
	for name := range req.Header {
		if lower := strings.ToLower(name); lower == "content-type" || strings.HasPrefix(lower, "x-amz-") {
			headers[lower] = strings.TrimSpace(req.Header.Get(name))
		}
	}
	names := make([]string, 0, len(headers))
	for name := range headers {
		names = append(names, name)
	}
	slices.Sort(names)
	signed := strings.Join(names, ";")

	var canonical strings.Builder
	fmt.Fprintf(&canonical, "%s\n%s\n\n", req.Method, canonicalPath(req.URL.EscapedPath()))
	for _, name := range names {
		fmt.Fprintf(&canonical, "%s:%s\n", name, headers[name])
	}
	fmt.Fprintf(&canonical, "\n%s\n%s", signed, digest(body))

	scope := strings.Join([]string{at.Format(signedDay), region, service, "aws4_request"}, "/")
	text := strings.Join([]string{"AWS4-HMAC-SHA256", at.Format(signedTime), scope, digest(canonical.String())}, "\n")
	key := []byte("AWS4" + k.secret.Reveal())
	for part := range strings.SplitSeq(scope, "/") {
		key = authenticate(key, part)
	}
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x",
		k.id, scope, signed, authenticate(key, text)))
}

// canonicalPath escapes a path that is escaped already, as AWS does for all services but S3.
func canonicalPath(path string) string {
	if path == "" {
		return "/"
	}
	var b strings.Builder
	for _, c := range []byte(path) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("/-._~", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func authenticate(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
