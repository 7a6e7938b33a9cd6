package aws

import (
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

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
	AccessKeyID     string        `yaml:"access_key_id"`     // with SecretAccessKey; default the credentials of the machine: environment, shared files, web identity, the role of the container or instance
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
	keys   *credentials
	url    string // of the API
	topic  *topic // nil without TopicARN
}

var (
	regionPattern = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)
	pricePattern  = regexp.MustCompile(`^[0-9]{1,2}(\.[0-9]{1,5})?$`)
	numberPattern = regexp.MustCompile(`^\+?[0-9]+$`)
	senderPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,11}$`)
	codePattern   = regexp.MustCompile(`^[A-Za-z][A-Za-z_.]{0,99}$`)
)

// New returns a Provider. It reads the configuration files of AWS but makes no request.
func New(o Options) (*Provider, error) {
	if o.API == "" {
		o.API = EndUserMessaging
	}
	o.Now = wallclock.Or(o.Now)
	if err := o.check(); err != nil {
		return nil, err
	}
	source := static(keys{id: o.AccessKeyID, secret: o.SecretAccessKey, token: o.SessionToken})
	var err error
	if o.AccessKeyID == "" {
		if source, err = findCredentials(&o); err != nil {
			return nil, fmt.Errorf("read the AWS configuration: %w", err)
		}
	}
	a := &Provider{opts: o, client: wire.NewClient(), keys: &credentials{source: source, now: o.Now}, url: o.BaseURL}
	if a.url == "" {
		host, variable := "sms-voice", "PINPOINT_SMS_VOICE_V2"
		if o.API == SNS {
			host, variable = "sns", "SNS"
		}
		if a.url, err = endpoint(host, variable, o.Region); err != nil {
			return nil, err
		}
	}
	if o.TopicARN != "" {
		a.topic, err = newTopic(o.TopicARN, o.TopicClient, o.Now)
	}
	return a, err
}

// endpoint returns the URL of a service in a region, or the URL that the environment gives
// instead.
func endpoint(host, variable, region string) (string, error) {
	if target := firstVariable("AWS_ENDPOINT_URL_"+variable, "AWS_ENDPOINT_URL"); target != "" && !isTrue("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") {
		if !isServer(target) {
			return "", errors.New("the URL in AWS_ENDPOINT_URL is not the URL of a server")
		}
		return target, nil
	}
	for _, name := range []string{"AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"} {
		if isTrue(name) {
			return "", fmt.Errorf("%s is not supported; set base_url, and AWS_ENDPOINT_URL_STS for roles", name)
		}
	}
	return "https://" + host + "." + region + "." + domain(region) + "/", nil
}

// domain returns the domain of AWS in a region.
func domain(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

// isServer reports whether target is the URL of a server, without a query.
func isServer(target string) bool {
	u, err := url.Parse(target)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && u.RawQuery == "" && u.Fragment == "" && u.User == nil
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
	if o.BaseURL != "" && !isServer(o.BaseURL) {
		return errors.New("base_url is not the URL of a server")
	}
	return nil
}

// Send implements sms.Provider.
func (a *Provider) Send(ctx context.Context, m sms.Message) (string, error) {
	k, err := a.keys.get(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "", &sms.Error{Kind: sms.Unavailable, Reason: "timed out during the search for credentials"}
	case errors.Is(err, errNoCredentials):
		return "", &sms.Error{Kind: sms.Unavailable, Reason: "no credentials found"}
	case err != nil:
		return "", &sms.Error{Kind: sms.Unavailable, Reason: "no credentials found: " + err.Error()}
	}
	call := a.sendTextMessage
	if a.opts.API == SNS {
		call = a.publish
	}
	req, read, err := call(m, k)
	if err != nil {
		return "", err
	}
	status, header, answer, err := wire.Exchange(ctx, a.client, req)
	switch {
	case err != nil:
		return "", err
	case status >= 300:
		return "", explain(status, header, answer)
	}
	id, ok := read(answer)
	switch {
	case !ok:
		return "", &sms.Error{Kind: sms.Uncertain, Reason: "accepted with an unreadable answer"}
	case id == "":
		return "", &sms.Error{Kind: sms.Uncertain, Reason: "accepted without an id"}
	}
	return id, nil
}

// A readID reads the id of a message in an answer that accepts it.
type readID func(answer []byte) (id string, ok bool)

// The least and the largest validity that AWS accepts, in seconds.
const minTTL, maxTTL = 5, 259_200

// A textMessage is the body of SendTextMessage.
type textMessage struct {
	DestinationPhoneNumber       string
	MessageBody                  string
	MessageType                  string
	OriginationIdentity          string            `json:",omitempty"`
	ConfigurationSetName         string            `json:",omitempty"`
	ProtectConfigurationID       string            `json:"ProtectConfigurationId,omitempty"`
	MaxPrice                     string            `json:",omitempty"`
	TimeToLive                   int64             `json:",omitempty"`
	Context                      map[string]string `json:",omitempty"`
	DestinationCountryParameters map[string]string `json:",omitempty"`
}

func (a *Provider) sendTextMessage(m sms.Message, k keys) (*http.Request, readID, error) {
	in := textMessage{
		DestinationPhoneNumber: m.To.Reveal(),
		MessageBody:            m.Text.Reveal(),
		MessageType:            "TRANSACTIONAL",
		OriginationIdentity:    a.opts.OriginationIdentity,
		ConfigurationSetName:   a.opts.ConfigurationSet,
		ProtectConfigurationID: a.opts.ProtectConfiguration,
		MaxPrice:               a.opts.MaxPrice,
	}
	if m.Reference != "" {
		in.Context = map[string]string{"reference": m.Reference}
	}
	if a.opts.EntityID != "" {
		in.DestinationCountryParameters = map[string]string{"IN_ENTITY_ID": a.opts.EntityID, "IN_TEMPLATE_ID": a.opts.TemplateID}
	}
	if m.ValidFor > 0 {
		in.TimeToLive = wire.Validity(m.ValidFor, time.Second, minTTL*time.Second, maxTTL*time.Second)
	}
	body, err := json.Marshal(in)
	if err != nil {
		return nil, nil, &sms.Error{Kind: sms.Unavailable, Reason: "cannot make a request"}
	}
	req, err := wire.NewPost(a.url, "application/x-amz-json-1.0", string(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("X-Amz-Target", "PinpointSMSVoiceV2.SendTextMessage")
	sign(req, string(body), k, "sms-voice", a.opts.Region, a.opts.Now())
	return req, func(answer []byte) (string, bool) {
		var out struct {
			MessageID string `json:"MessageId"`
		}
		err := json.Unmarshal(answer, &out)
		return out.MessageID, err == nil
	}, nil
}

func (a *Provider) publish(m sms.Message, k keys) (*http.Request, readID, error) {
	form := url.Values{"Action": {"Publish"}, "Version": {"2010-03-31"}, "PhoneNumber": {m.To.Reveal()}, "Message": {m.Text.Reveal()}}
	entries := 0
	set := func(name, kind, value string) {
		if value == "" {
			return
		}
		entries++
		entry := "MessageAttributes.entry." + strconv.Itoa(entries) + "."
		form.Set(entry+"Name", name)
		form.Set(entry+"Value.DataType", kind)
		form.Set(entry+"Value.StringValue", value)
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
	body := form.Encode()
	req, err := wire.NewPost(a.url, "application/x-www-form-urlencoded", body)
	if err != nil {
		return nil, nil, err
	}
	sign(req, body, k, "sns", a.opts.Region, a.opts.Now())
	return req, func(answer []byte) (string, bool) {
		var out struct {
			PublishResult struct {
				MessageID string `xml:"MessageId"`
			}
		}
		err := xml.Unmarshal(answer, &out)
		return out.PublishResult.MessageID, err == nil
	}, nil
}

// A failure is an error in an answer of AWS. Its message may quote the request, so no error
// of Countersign contains it.
type failure struct {
	code, message string
	reason        string   // of an exception of End User Messaging
	fields        []string // that a ValidationException names
}

// readError reads an error in JSON or XML. The code is empty if it cannot be read.
func readError(header http.Header, answer []byte) failure {
	f := failure{code: header.Get("X-Amzn-Errortype")}
	var asJSON struct {
		Type    string `json:"__type"`
		Code    string
		Message string
		Reason  string
		Fields  []struct{ Name string }
	}
	var asXML struct {
		Error struct{ Code, Message string }
	}
	switch {
	case json.Unmarshal(answer, &asJSON) == nil:
		f.message, f.reason = asJSON.Message, asJSON.Reason
		if f.code == "" {
			f.code = cmp.Or(asJSON.Type, asJSON.Code)
		}
		for _, field := range asJSON.Fields {
			f.fields = append(f.fields, field.Name)
		}
	case xml.Unmarshal(answer, &asXML) == nil:
		f.code, f.message = asXML.Error.Code, asXML.Error.Message
	}
	f.code, _, _ = strings.Cut(f.code, ":")
	f.code = f.code[strings.LastIndexByte(f.code, '#')+1:]
	if !codePattern.MatchString(f.code) || f.code == "UnknownError" {
		f.code = ""
	}
	return f
}

// explain turns an answer that is not a success into an sms.Error.
func explain(status int, header http.Header, answer []byte) *sms.Error {
	e := wire.StatusError(status, header)
	f := readError(header, answer)
	if f.code == "" {
		return e
	}
	e.Kind, e.Code = sms.Unavailable, f.code
	if known, ok := errorReasons[e.Code]; ok {
		e.Reason = known
	}
	switch {
	case e.Code == "OptedOut":
		wire.Meaning{Kind: sms.Refused, Reason: "the number opted out"}.Apply(e)
	case f.refusesNumber():
		wire.Meaning{Kind: wire.Unserved, Reason: "refused the number"}.Apply(e)
	}
	if slices.Contains(withReason, f.code) && codePattern.MatchString(f.reason) {
		e.Code += "." + f.reason
		if known, ok := codes[f.reason]; ok {
			known.Apply(e)
		}
	}
	return e
}

// withReason has the exceptions of End User Messaging that have a reason.
var withReason = []string{"ConflictException", "ValidationException", "ServiceQuotaExceededException", "AccessDeniedException"}

// refusesNumber reports whether AWS refused the number. Another provider may accept it:
// AWS also refuses valid numbers that the region, the account or its tables do not serve.
func (f failure) refusesNumber() bool {
	if f.code == "ValidationException" {
		return slices.ContainsFunc(f.fields, func(name string) bool { return strings.EqualFold(name, "DestinationPhoneNumber") })
	}
	return f.code == "InvalidParameter" && strings.HasPrefix(f.message, "Invalid parameter: PhoneNumber ") // of SNS
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
