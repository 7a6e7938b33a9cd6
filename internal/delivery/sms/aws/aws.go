package aws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/pinpointsmsvoicev2"
	eum "github.com/aws/aws-sdk-go-v2/service/pinpointsmsvoicev2/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/wire"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// The APIs of AWS that send text messages.
const (
	EndUserMessaging = "end_user_messaging" // SendTextMessage of pinpoint-sms-voice-v2
	SNS              = "sns"                // Publish to a number: without validity and receipts
)

// Options configure a Provider.
type Options struct {
	Region          string        `yaml:"region"`            // "eu-central-1"; required
	API             string        `yaml:"api"`               // EndUserMessaging, the default, or SNS
	AccessKeyID     string        `yaml:"access_key_id"`     // with SecretAccessKey; default the credentials that the AWS SDK finds: environment, files, web identity, instance role
	SecretAccessKey secret.String `yaml:"secret_access_key"` // see AccessKeyID
	SessionToken    secret.String `yaml:"session_token"`     // of temporary keys; default none

	OriginationIdentity  string `yaml:"origination_identity"`  // a number, a sender id, a pool, or its ARN; for SNS a number or a sender id; default AWS chooses
	ConfigurationSet     string `yaml:"configuration_set"`     // EndUserMessaging: its event destination reports the states of messages; default none
	ProtectConfiguration string `yaml:"protect_configuration"` // EndUserMessaging: the id of rules for countries; default the rules of the account
	MaxPrice             string `yaml:"max_price"`             // highest price of a message, or with SNS of each part, in US dollars: "0.05"; default no limit
	EntityID             string `yaml:"entity_id"`             // of the sender registered in India; with TemplateID; default none
	TemplateID           string `yaml:"template_id"`           // of the text registered in India; with EntityID

	TopicARN string `yaml:"topic_arn"` // EndUserMessaging: the SNS topic that posts receipts; default none: no receipts

	BaseURL     string           `yaml:"base_url"` // default the URL of AWS in the region
	TopicClient *http.Client     // fetches SNS's certificates and confirms the subscription; default a client that follows no redirects
	Now         func() time.Time // default time.Now
}

// A Provider sends through AWS End User Messaging SMS or SNS.
type Provider struct {
	opts   Options
	client *http.Client
	eum    *pinpointsmsvoicev2.Client
	sns    *sns.Client
	topic  *topic // nil without TopicARN
}

var (
	regionPattern = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)
	pricePattern  = regexp.MustCompile(`^[0-9]{1,2}(\.[0-9]{1,5})?$`)
	numberPattern = regexp.MustCompile(`^\+?[0-9]+$`)
	senderPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,11}$`)
	codePattern   = regexp.MustCompile(`^[A-Za-z][A-Za-z_.]{0,99}$`)
)

// New returns a Provider. It reads the configuration files of the AWS SDK but makes no
// request.
func New(o Options) (*Provider, error) {
	if o.API == "" {
		o.API = EndUserMessaging
	}
	o.Now = wallclock.Or(o.Now)
	if err := o.check(); err != nil {
		return nil, err
	}
	loading := []func(*config.LoadOptions) error{
		config.WithRegion(o.Region),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
	}
	if o.AccessKeyID != "" {
		loading = append(loading, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(
			o.AccessKeyID, o.SecretAccessKey.Reveal(), o.SessionToken.Reveal())))
	}
	if o.BaseURL != "" {
		loading = append(loading, config.WithBaseEndpoint(o.BaseURL))
	}
	cfg, err := config.LoadDefaultConfig(context.Background(), loading...)
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	a := &Provider{opts: o, client: wire.NewClient(), eum: pinpointsmsvoicev2.NewFromConfig(cfg), sns: sns.NewFromConfig(cfg)}
	if o.TopicARN != "" {
		a.topic, err = newTopic(o.TopicARN, o.TopicClient, o.Now)
	}
	return a, err
}

func (o *Options) check() error {
	plainSNS := o.API == SNS
	switch from := o.OriginationIdentity; {
	case o.API != EndUserMessaging && !plainSNS:
		return fmt.Errorf("api is %q; it must be %q or %q", o.API, EndUserMessaging, SNS)
	case o.Region == "":
		return errors.New("region is missing")
	case !regionPattern.MatchString(o.Region):
		return fmt.Errorf("region %q is not an AWS region", o.Region)
	case (o.AccessKeyID == "") != (o.SecretAccessKey.Reveal() == ""):
		return errors.New("access_key_id and secret_access_key must be set together")
	case o.AccessKeyID == "" && o.SessionToken.Reveal() != "":
		return errors.New("session_token needs access_key_id and secret_access_key")
	case o.MaxPrice != "" && !pricePattern.MatchString(o.MaxPrice):
		return fmt.Errorf("max_price is %q; it must be US dollars, such as 0.05", o.MaxPrice)
	case (o.EntityID == "") != (o.TemplateID == ""):
		return errors.New("entity_id and template_id must be set together")
	case plainSNS && o.ConfigurationSet != "":
		return errors.New("configuration_set does not apply to api sns")
	case plainSNS && o.ProtectConfiguration != "":
		return errors.New("protect_configuration does not apply to api sns")
	case plainSNS && o.TopicARN != "":
		return errors.New("topic_arn does not apply to api sns, which reports only to CloudWatch")
	case plainSNS && from != "" && !numberPattern.MatchString(from) && !senderPattern.MatchString(from):
		return errors.New("origination_identity must be a number or a sender id of up to 11 letters and digits with api sns")
	}
	if o.BaseURL != "" {
		if u, err := url.Parse(o.BaseURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return errors.New("base_url is not the URL of a server")
		}
	}
	return nil
}

// Send implements sms.Provider.
func (a *Provider) Send(ctx context.Context, m sms.Message) (string, error) {
	trip := &roundTrip{client: a.client}
	send := a.sendTextMessage
	if a.opts.API == SNS {
		send = a.publish
	}
	id, err := send(ctx, m, trip)
	switch {
	case err != nil:
		return "", trip.explain(err)
	case id == "":
		return "", &sms.Error{Kind: sms.Uncertain, Reason: "accepted without an id"}
	}
	return id, nil
}

// The least and the largest validity that AWS accepts, in seconds.
const minTTL, maxTTL = 5, 259_200

func (a *Provider) sendTextMessage(ctx context.Context, m sms.Message, trip *roundTrip) (string, error) {
	in := &pinpointsmsvoicev2.SendTextMessageInput{
		DestinationPhoneNumber: aws.String(m.To.Reveal()),
		MessageBody:            aws.String(m.Text.Reveal()),
		MessageType:            eum.MessageTypeTransactional,
		OriginationIdentity:    optional(a.opts.OriginationIdentity),
		ConfigurationSetName:   optional(a.opts.ConfigurationSet),
		ProtectConfigurationId: optional(a.opts.ProtectConfiguration),
		MaxPrice:               optional(a.opts.MaxPrice),
	}
	if m.Reference != "" {
		in.Context = map[string]string{"reference": m.Reference}
	}
	if a.opts.EntityID != "" {
		in.DestinationCountryParameters = map[string]string{
			string(eum.DestinationCountryParameterKeyInEntityId):   a.opts.EntityID,
			string(eum.DestinationCountryParameterKeyInTemplateId): a.opts.TemplateID,
		}
	}
	if m.ValidFor > 0 {
		in.TimeToLive = aws.Int32(int32(min(max(int64(m.ValidFor/time.Second), minTTL), maxTTL)))
	}
	out, err := a.eum.SendTextMessage(ctx, in, func(o *pinpointsmsvoicev2.Options) { o.HTTPClient = trip })
	if err != nil {
		return "", err
	}
	return aws.ToString(out.MessageId), nil
}

func (a *Provider) publish(ctx context.Context, m sms.Message, trip *roundTrip) (string, error) {
	attributes := map[string]snstypes.MessageAttributeValue{}
	set := func(name, kind, value string) {
		if value != "" {
			attributes[name] = snstypes.MessageAttributeValue{DataType: aws.String(kind), StringValue: aws.String(value)}
		}
	}
	set("AWS.SNS.SMS.SMSType", "String", "Transactional")
	set("AWS.SNS.SMS.MaxPrice", "Number", a.opts.MaxPrice)
	set("AWS.MM.SMS.EntityId", "String", a.opts.EntityID)
	set("AWS.MM.SMS.TemplateId", "String", a.opts.TemplateID)
	if from := a.opts.OriginationIdentity; numberPattern.MatchString(from) {
		set("AWS.MM.SMS.OriginationNumber", "String", from)
	} else {
		set("AWS.SNS.SMS.SenderID", "String", from)
	}
	out, err := a.sns.Publish(ctx, &sns.PublishInput{
		PhoneNumber:       aws.String(m.To.Reveal()),
		Message:           aws.String(m.Text.Reveal()),
		MessageAttributes: attributes,
	}, func(o *sns.Options) { o.HTTPClient = trip })
	if err != nil {
		return "", err
	}
	return aws.ToString(out.MessageId), nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// A roundTrip is one call of the SDK to AWS. It keeps the outcome of the HTTP request,
// which the errors of the SDK do not contain.
type roundTrip struct {
	client *http.Client
	failed *sms.Error // set if no answer arrived
	status int        // 0 until an answer arrived
	header http.Header
}

// Do implements the HTTP client of the SDK.
func (t *roundTrip) Do(req *http.Request) (*http.Response, error) {
	status, header, body, err := wire.Exchange(req.Context(), t.client, req)
	if err != nil {
		t.failed, _ = errors.AsType[*sms.Error](err)
		return nil, err
	}
	t.status, t.header = status, header
	return &http.Response{
		StatusCode: status, Status: strconv.Itoa(status) + " " + http.StatusText(status),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}, nil
}

// explain turns an error of the SDK into an sms.Error. It drops the text of the SDK, which
// may quote the request.
func (t *roundTrip) explain(err error) *sms.Error {
	switch {
	case t.failed != nil:
		return t.failed
	case t.status == 0: // the SDK made no request
		e := &sms.Error{Kind: sms.Unavailable, Reason: "no credentials found"}
		if errors.Is(err, context.DeadlineExceeded) {
			e.Reason = "timed out during the search for credentials"
		}
		return e
	case t.status < 300:
		return &sms.Error{Kind: sms.Uncertain, Reason: "accepted with an unreadable answer"}
	}
	e := wire.StatusError(t.status, t.header)
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || !codePattern.MatchString(api.ErrorCode()) || api.ErrorCode() == "UnknownError" {
		return e
	}
	e.Kind, e.Code = sms.Unavailable, api.ErrorCode()
	if known, ok := errorReasons[e.Code]; ok {
		e.Reason = known
	}
	switch {
	case e.Code == "OptedOut":
		wire.Meaning{Kind: sms.Refused, Reason: "the number opted out"}.Apply(e)
	case refusesNumber(err, api):
		wire.Meaning{Kind: wire.Unserved, Reason: "refused the number"}.Apply(e)
	}
	if reason := reasonOf(err); codePattern.MatchString(reason) {
		e.Code += "." + reason
		if known, ok := codes[reason]; ok {
			known.Apply(e)
		}
	}
	return e
}

// refusesNumber reports whether AWS refused the number. Another provider may accept it:
// AWS also refuses valid numbers that the region, the account or its tables do not serve.
func refusesNumber(err error, api smithy.APIError) bool {
	if e, ok := errors.AsType[*eum.ValidationException](err); ok {
		return slices.ContainsFunc(e.Fields, func(f eum.ValidationExceptionField) bool {
			return strings.EqualFold(aws.ToString(f.Name), "DestinationPhoneNumber")
		})
	}
	return api.ErrorCode() == "InvalidParameter" && strings.HasPrefix(api.ErrorMessage(), "Invalid parameter: PhoneNumber ") // of SNS
}

// errorReasons has the error codes of both APIs. After each of them the next provider may
// try the message.
var errorReasons = map[string]string{
	"ThrottlingException": "throttled",
	"Throttling":          "throttled",
	"Throttled":           "throttled",
	"KMSThrottling":       "throttled",

	"ServiceQuotaExceededException": "over a quota",
	"InternalServerException":       "an error at AWS",
	"InternalError":                 "an error at AWS",
	"InternalFailure":               "an error at AWS",
	"ServiceUnavailable":            "AWS is unavailable",

	"AccessDeniedException":       "not permitted",
	"AuthorizationError":          "not permitted",
	"OptInRequired":               "the region is not enabled",
	"UnrecognizedClientException": "refused the credentials",
	"InvalidClientTokenId":        "refused the credentials",
	"InvalidSecurity":             "refused the credentials",
	"IncompleteSignature":         "refused the credentials",
	"InvalidSignatureException":   "refused the signature: check the keys and the clock",
	"SignatureDoesNotMatch":       "refused the signature: check the keys and the clock",
	"RequestExpired":              "refused the signature: check the keys and the clock",
	"ExpiredTokenException":       "the credentials expired",
	"ExpiredToken":                "the credentials expired",

	"ResourceNotFoundException": "origination identity or configuration set not found",
	"NotFound":                  "not found",
	"ConflictException":         "cannot send in the state of the account",
	"ValidationException":       "refused a parameter",
	"InvalidParameter":          "refused a parameter",
	"ParameterValueInvalid":     "refused a parameter",
	"InvalidParameterValue":     "refused a parameter",
}

// codes has the reasons in exceptions of End User Messaging.
var codes = wire.Codes{
	"DESTINATION_PHONE_NUMBER_OPTED_OUT":                          {Kind: sms.Refused, Reason: "the number opted out"},
	"DESTINATION_PHONE_NUMBER_NOT_VERIFIED":                       {Kind: wire.Unserved, Reason: "the account is in the sandbox, and the number not verified"},
	"NO_ORIGINATION_IDENTITIES_FOUND":                             {Kind: wire.Unserved, Reason: "no origination identity for the country"},
	"MESSAGE_TYPE_MISMATCH":                                       {Kind: sms.Unavailable, Reason: "the origination identity is not for transactional messages"},
	"NUMBER_CAPABILITIES_MISMATCH":                                {Kind: sms.Unavailable, Reason: "the origination identity cannot send text"},
	"RESOURCE_NOT_ACTIVE":                                         {Kind: sms.Unavailable, Reason: "the origination identity is not active"},
	"REGISTRATION_NOT_COMPLETE":                                   {Kind: sms.Unavailable, Reason: "the origination identity is not registered"},
	"DESTINATION_COUNTRY_BLOCKED":                                 {Kind: wire.Unserved, Reason: "the country is not enabled"},
	"COUNTRY_NOT_ENABLED":                                         {Kind: wire.Unserved, Reason: "the country is not enabled"},
	"DESTINATION_COUNTRY_BLOCKED_BY_PROTECT_CONFIGURATION":        {Kind: wire.Unserved, Reason: "the country is blocked by protect_configuration"},
	"DESTINATION_PHONE_NUMBER_BLOCKED_BY_PROTECT_NUMBER_OVERRIDE": {Kind: sms.Refused, Reason: "the number is blocked by protect_configuration"},
	"INTERNATIONAL_SENDING_NOT_SUPPORTED":                         {Kind: wire.Unserved, Reason: "the origination identity is only for its own country"},
	"INVALID_IDENTITY_FOR_DESTINATION_COUNTRY":                    {Kind: wire.Unserved, Reason: "the origination identity is not for the country"},
	"SENDER_ID_NOT_REGISTERED":                                    {Kind: wire.Unserved, Reason: "the sender id is not registered"},
	"SENDER_ID_NOT_SUPPORTED":                                     {Kind: wire.Unserved, Reason: "the country accepts no sender id"},
	"SENDER_ID_REQUIRES_REGISTRATION":                             {Kind: wire.Unserved, Reason: "the sender id is not registered"},
	"PRICE_OVER_THRESHOLD":                                        {Kind: wire.Unserved, Reason: "more expensive than max_price"},
	"MONTHLY_SPEND_LIMIT_REACHED_FOR_TEXT":                        {Kind: sms.Unavailable, Reason: "the monthly spending limit is reached"},
	"INSUFFICIENT_ACCOUNT_REPUTATION":                             {Kind: sms.Unavailable, Reason: "the reputation of the account is too low"},
	"ACCOUNT_DISABLED":                                            {Kind: sms.Unavailable, Reason: "the account is disabled"},
}

func reasonOf(err error) string {
	if e, ok := errors.AsType[*eum.ConflictException](err); ok {
		return string(e.Reason)
	}
	if e, ok := errors.AsType[*eum.ValidationException](err); ok {
		return string(e.Reason)
	}
	if e, ok := errors.AsType[*eum.ServiceQuotaExceededException](err); ok {
		return string(e.Reason)
	}
	if e, ok := errors.AsType[*eum.AccessDeniedException](err); ok {
		return string(e.Reason)
	}
	return ""
}
