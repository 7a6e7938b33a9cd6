package aws

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/wire"
)

// Receipts implements sms.Receiver for the posts of the SNS topic of a configuration set.
// It also confirms the subscription of the callback URL to that topic when SNS asks for
// it. An error other than sms.ErrSignature is a failure of this process or of the network:
// SNS should try again.
func (a *Provider) Receipts(r *http.Request, body []byte) ([]sms.Receipt, error) {
	if a.topic == nil {
		return nil, sms.ErrSignature
	}
	var note notification
	if err := json.Unmarshal(body, &note); err != nil {
		return nil, sms.ErrSignature
	}
	if err := a.topic.verify(r.Context(), &note); err != nil {
		return nil, err
	}
	switch note.Type {
	case "SubscriptionConfirmation":
		return nil, a.topic.confirm(r.Context(), note.Token)
	case "Notification":
		return readEvent(note.Message), nil
	}
	return nil, nil
}

// readEvent reads an event of End User Messaging. It returns nil if the event is not about
// a text message.
func readEvent(event string) []sms.Receipt {
	var e struct {
		EventType string `json:"eventType"`
		MessageID string `json:"messageId"`
	}
	if json.Unmarshal([]byte(event), &e) != nil || e.MessageID == "" {
		return nil
	}
	state, ok := states[e.EventType]
	if !ok {
		return nil
	}
	receipt := sms.Receipt{ID: e.MessageID, State: state}
	if state == sms.Undelivered || state == sms.Failed {
		receipt.Reason = strings.TrimPrefix(e.EventType, "TEXT_")
	}
	return []sms.Receipt{receipt}
}

var states = map[string]sms.State{
	"TEXT_QUEUED":              sms.Queued,
	"TEXT_PENDING":             sms.Queued,
	"TEXT_SENT":                sms.Sent,
	"TEXT_SUCCESSFUL":          sms.Sent, // the carrier accepted it; in some countries this is the last event
	"TEXT_DELIVERED":           sms.Delivered,
	"TEXT_UNREACHABLE":         sms.Undelivered, // the phone is off or out of reach
	"TEXT_CARRIER_UNREACHABLE": sms.Undelivered,
	"TEXT_BLOCKED":             sms.Undelivered,
	"TEXT_CARRIER_BLOCKED":     sms.Undelivered,
	"TEXT_SPAM":                sms.Undelivered, // classified by the carrier
	"TEXT_UNKNOWN":             sms.Undelivered, // no state arrived for 72 hours
	"TEXT_TTL_EXPIRED":         sms.Failed,
	"TEXT_INVALID":             sms.Failed, // the number is not valid
	"TEXT_INVALID_MESSAGE":     sms.Failed,
	"TEXT_PROTECT_BLOCKED":     sms.Failed, // by the rules of the account
}

// A notification is the body of a post of SNS to a subscriber.
type notification struct {
	Type, MessageID, Token, TopicArn, Message, Timestamp, SubscribeURL string
	Subject                                                            *string
	SignatureVersion, Signature, SigningCertURL                        string
}

// signed returns the text that the signature covers: names and values in lines, sorted by
// name. ok is false if the type is unknown.
func (n *notification) signed() (text string, ok bool) {
	var b strings.Builder
	line := func(name, value string) { b.WriteString(name + "\n" + value + "\n") }
	line("Message", n.Message)
	line("MessageId", n.MessageID)
	switch n.Type {
	case "Notification":
		if n.Subject != nil {
			line("Subject", *n.Subject)
		}
		line("Timestamp", n.Timestamp)
	case "SubscriptionConfirmation", "UnsubscribeConfirmation":
		line("SubscribeURL", n.SubscribeURL)
		line("Timestamp", n.Timestamp)
		line("Token", n.Token)
	default:
		return "", false
	}
	line("TopicArn", n.TopicArn)
	line("Type", n.Type)
	return b.String(), true
}

// A topic is an SNS topic that posts receipts.
type topic struct {
	arn    string
	host   string // of SNS in the topic's region
	client *http.Client
	now    func() time.Time

	certs *certificates
}

var (
	topicPattern           = regexp.MustCompile(`^arn:(aws|aws-cn|aws-us-gov):sns:([a-z]{2,}(?:-[a-z]+)+-[0-9]+):[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$`)
	certificatePathPattern = regexp.MustCompile(`^/SimpleNotificationService-[0-9a-f]{1,64}\.pem$`)
	// sns.amazonaws.com; newer certificates, and all in separate partitions, name the region
	certificateNamePattern = regexp.MustCompile(`^sns(-[a-z0-9-]+)?(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?$`)
)

func newTopic(arn string, client *http.Client, now func() time.Time) (*topic, error) {
	parts := topicPattern.FindStringSubmatch(arn)
	if parts == nil {
		return nil, errors.New("topic_arn is not the ARN of an SNS topic")
	}
	if client == nil {
		client = wire.NewClient()
		client.Timeout = callTimeout
	}
	host := "sns." + parts[2] + ".amazonaws.com"
	if parts[1] == "aws-cn" {
		host += ".cn"
	}
	t := &topic{arn: arn, host: host, client: client, now: now}
	t.certs = &certificates{fetch: t.fetchCertificate, now: now, all: map[string]*certificateFetch{}}
	return t, nil
}

const (
	callTimeout  = 10 * time.Second // of a call to SNS; SNS waits 15 s for the answer to its post
	maxAge       = 75 * time.Minute // SNS repeats a post for at most an hour
	maxAhead     = 5 * time.Minute  // of the local clock
	minSignature = 128              // bytes of a signature: an RSA key of 1,024 bits
)

// verify returns sms.ErrSignature unless SNS signed n for this topic and recently. It makes
// all checks that need no certificate before it fetches the certificate.
func (t *topic) verify(ctx context.Context, n *notification) error {
	at, err := time.Parse(time.RFC3339, n.Timestamp)
	if err != nil || n.TopicArn != t.arn {
		return sms.ErrSignature
	}
	if age := t.now().Sub(at); age > maxAge || age < -maxAhead {
		return sms.ErrSignature
	}
	signature, err := base64.StdEncoding.DecodeString(n.Signature)
	text, known := n.signed()
	if err != nil || !known || len(signature) < minSignature {
		return sms.ErrSignature
	}
	path, err := t.certificatePath(n.SigningCertURL)
	if err != nil {
		return err
	}
	var hash crypto.Hash
	var digest []byte
	switch n.SignatureVersion {
	case "1":
		sum := sha1.Sum([]byte(text))
		hash, digest = crypto.SHA1, sum[:]
	case "2":
		sum := sha256.Sum256([]byte(text))
		hash, digest = crypto.SHA256, sum[:]
	default:
		return sms.ErrSignature
	}
	cert, err := t.certs.get(ctx, path)
	if err != nil {
		return err
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if now := t.now(); !ok || now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return sms.ErrSignature
	}
	if rsa.VerifyPKCS1v15(key, hash, digest, signature) != nil {
		return sms.ErrSignature
	}
	return nil
}

// certificatePath returns the path of a certificate's URL, or sms.ErrSignature if the URL is
// not one of SNS in the topic's region.
func (t *topic) certificatePath(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host != t.host || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" || !certificatePathPattern.MatchString(u.EscapedPath()) {
		return "", sms.ErrSignature
	}
	return u.Path, nil
}

// fetchCertificate returns the certificate of SNS at a path. It is trusted because it was
// fetched by HTTPS from SNS in the topic's region: SNS does not serve the certificates of
// its issuers.
func (t *topic) fetchCertificate(ctx context.Context, path string) (*x509.Certificate, error) {
	status, body, err := t.get(ctx, "https://"+t.host+path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("fetch a certificate of SNS: %w", err)
	case status == http.StatusNotFound || status == http.StatusForbidden:
		return nil, sms.ErrSignature // SNS has no certificate at this path
	case status != http.StatusOK:
		return nil, fmt.Errorf("fetch a certificate of SNS: status %d", status)
	}
	block, _ := pem.Decode(body)
	if block == nil {
		return nil, errors.New("the answer of SNS is not a certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the certificate of SNS: %w", err)
	}
	if !slices.ContainsFunc(append(cert.DNSNames, cert.Subject.CommonName), certificateNamePattern.MatchString) {
		return nil, sms.ErrSignature
	}
	return cert, nil
}

// confirm subscribes the callback URL to the topic. It does not use the URL in the post,
// which could contain more than the token.
func (t *topic) confirm(ctx context.Context, token string) error {
	query := url.Values{"Action": {"ConfirmSubscription"}, "TopicArn": {t.arn}, "Token": {token}}
	status, _, err := t.get(ctx, "https://"+t.host+"/?"+query.Encode())
	switch {
	case err != nil:
		return fmt.Errorf("confirm the subscription to SNS: %w", err)
	case status != http.StatusOK:
		return fmt.Errorf("confirm the subscription to SNS: status %d", status)
	}
	return nil
}

// get fetches a URL of SNS. Its errors do not quote the URL, which may contain a token.
func (t *topic) get(ctx context.Context, address string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, nil, errors.New("cannot make a request")
	}
	reply, err := t.client.Do(req)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err
		}
		return 0, nil, err
	}
	defer reply.Body.Close()
	body, err = io.ReadAll(io.LimitReader(reply.Body, wire.MaxReply))
	return reply.StatusCode, body, err
}
