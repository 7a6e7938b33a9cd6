package aws

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/wire"
	"github.com/countersign-mfa/countersign/internal/secret"
)

// A role is taken at the Security Token Service (STS).
type role struct{ arn, session, externalID, duration string }

func (r role) form(action string) url.Values {
	form := url.Values{"Action": {action}, "Version": {"2011-06-15"}, "RoleArn": {r.arn}, "RoleSessionName": {"countersign"}}
	for name, value := range map[string]string{"RoleSessionName": r.session, "ExternalId": r.externalID, "DurationSeconds": r.duration} {
		if value != "" {
			form.Set(name, value)
		}
	}
	return form
}

// webIdentity returns the source that exchanges the token in a file, which Kubernetes
// replaces from time to time, for the keys of a role.
func (f *finder) webIdentity(r role, file string) (keySource, error) {
	sts, err := f.sts()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (keys, error) {
		token, err := os.ReadFile(file)
		if err != nil {
			return keys{}, fmt.Errorf("web identity: %w", err)
		}
		form := r.form("AssumeRoleWithWebIdentity")
		form.Set("WebIdentityToken", strings.TrimSpace(string(token)))
		return sts.take(ctx, form, nil)
	}, nil
}

// assumeRole returns the source that exchanges the keys of base for the keys of a role.
func (f *finder) assumeRole(r role, base keySource) (keySource, error) {
	sts, err := f.sts()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (keys, error) {
		k, err := base(ctx)
		if err != nil {
			return keys{}, err
		}
		return sts.take(ctx, r.form("AssumeRole"), &k)
	}, nil
}

// tokenService is STS in the region of the options.
type tokenService struct {
	client      *http.Client
	url, region string
	now         func() time.Time
}

func (f *finder) sts() (*tokenService, error) {
	target, err := endpoint("sts", "STS", f.options.Region)
	if err != nil {
		return nil, err
	}
	return &tokenService{client: wire.NewClient(), url: target, region: f.options.Region, now: f.options.Now}, nil
}

// take sends a form, signed with k unless it is nil, and reads the keys in the answer.
func (s *tokenService) take(ctx context.Context, form url.Values, k *keys) (keys, error) {
	body := form.Encode()
	req, err := wire.NewPost(s.url, "application/x-www-form-urlencoded; charset=utf-8", body)
	if err != nil {
		return keys{}, err
	}
	if k != nil {
		sign(req, body, *k, "sts", s.region, s.now())
	}
	status, header, answer, err := wire.Exchange(ctx, s.client, req)
	switch {
	case err != nil:
		return keys{}, fmt.Errorf("STS: %s", reasonOf(err))
	case status >= 300:
		failure := readError(header, answer)
		if failure.code == "" {
			return keys{}, fmt.Errorf("STS answered with status %d", status)
		}
		return keys{}, fmt.Errorf("STS answered %s", failure.code)
	}
	var out struct {
		Result []struct {
			Credentials struct {
				AccessKeyID     string `xml:"AccessKeyId"`
				SecretAccessKey string
				SessionToken    string
				Expiration      time.Time
			}
		} `xml:",any"`
	}
	if xml.Unmarshal(answer, &out) != nil || len(out.Result) == 0 {
		return keys{}, errors.New("STS: unreadable answer")
	}
	c := out.Result[0].Credentials // the rest is metadata
	return keys{id: c.AccessKeyID, secret: secret.NewString(c.SecretAccessKey), token: secret.NewString(c.SessionToken), expires: c.Expiration}, nil
}

// reasonOf returns the words of an error of wire.Exchange.
func reasonOf(err error) string {
	if e, ok := errors.AsType[*sms.Error](err); ok {
		return e.Reason
	}
	return "no answer"
}

// localClient calls services on the machine or on its link: without a proxy.
func localClient() *http.Client {
	client := wire.NewClient()
	transport := client.Transport.(*http.Transport)
	transport.Proxy = nil
	transport.DialContext = (&net.Dialer{Timeout: 2 * time.Second}).DialContext
	return client
}

// get fetches a text from a service on the machine or on its link.
func get(ctx context.Context, client *http.Client, service, method, target string, header http.Header) ([]byte, error) {
	req, err := http.NewRequest(method, target, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: the URL is not valid", service)
	}
	req.Header = header
	status, _, body, err := wire.Exchange(ctx, client, req)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %s", service, reasonOf(err))
	case status != http.StatusOK:
		return nil, fmt.Errorf("%s answered with status %d", service, status)
	}
	return body, nil
}

// readKeys reads the keys in an answer of a container's or an instance's service.
func readKeys(service string, answer []byte) (keys, error) {
	var in struct {
		Code                                *string
		AccessKeyID, SecretAccessKey, Token string
		Expiration                          *time.Time
	}
	if json.Unmarshal(answer, &in) != nil {
		return keys{}, fmt.Errorf("%s: unreadable answer", service)
	}
	if in.Code != nil && *in.Code != "Success" {
		return keys{}, fmt.Errorf("%s has no keys for the role", service)
	}
	k := keys{id: in.AccessKeyID, secret: secret.NewString(in.SecretAccessKey), token: secret.NewString(in.Token)}
	if in.Expiration != nil {
		k.expires = *in.Expiration
	}
	return k, nil
}

// The hosts to which a container's token may be sent without TLS: ECS and EKS.
var containerHosts = []string{"169.254.170.2", "169.254.170.23", "fd00:ec2::23"}

// container returns the role of a container in ECS, or of a pod in EKS.
func container() (keySource, error) {
	const service = "the credentials service of the container"
	target := os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	if relative := os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); relative != "" {
		target = "http://169.254.170.2" + relative
	}
	u, err := url.Parse(target)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("AWS_CONTAINER_CREDENTIALS_FULL_URI is not a URL")
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() || slices.Contains(containerHosts, u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return nil, errors.New("AWS_CONTAINER_CREDENTIALS_FULL_URI must be an https URL, or an http one of the container's own host")
	}
	client := localClient()
	return func(ctx context.Context) (keys, error) {
		token := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
		if file := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
			data, err := os.ReadFile(file) // EKS replaces it
			if err != nil {
				return keys{}, fmt.Errorf("token of the container: %w", err)
			}
			token = strings.TrimSpace(string(data))
		}
		header := http.Header{"Accept": {"application/json"}}
		if token != "" {
			header.Set("Authorization", token)
		}
		answer, err := get(ctx, client, service, http.MethodGet, target, header)
		if err != nil {
			return keys{}, err
		}
		return readKeys(service, answer)
	}, nil
}

// instance returns the role of an EC2 instance. It uses only version 2 of the metadata
// service, which every instance has.
func instance() (keySource, error) {
	const service = "the metadata service of the instance"
	if isTrue("AWS_EC2_METADATA_DISABLED") {
		return func(context.Context) (keys, error) { return keys{}, errNoCredentials }, nil
	}
	base := os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT")
	switch {
	case base != "":
	case strings.EqualFold(os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"), "IPv6"):
		base = "http://[fd00:ec2::254]"
	default:
		base = "http://169.254.169.254"
	}
	base = strings.TrimSuffix(base, "/")
	if u, err := url.Parse(base); err != nil || u.Hostname() == "" {
		return nil, errors.New("AWS_EC2_METADATA_SERVICE_ENDPOINT is not a URL")
	}
	client := localClient()
	return func(ctx context.Context) (keys, error) {
		token, err := get(ctx, client, service, http.MethodPut, base+"/latest/api/token",
			http.Header{"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": {"300"}})
		if err != nil {
			return keys{}, err
		}
		header := http.Header{"X-Aws-Ec2-Metadata-Token": {string(token)}}
		const roles = "/latest/meta-data/iam/security-credentials/"
		names, err := get(ctx, client, service, http.MethodGet, base+roles, header)
		if err != nil {
			return keys{}, err
		}
		name, _, _ := strings.Cut(strings.TrimSpace(string(names)), "\n")
		if name == "" {
			return keys{}, errors.New("the instance has no role")
		}
		answer, err := get(ctx, client, service, http.MethodGet, base+roles+url.PathEscape(name), header)
		if err != nil {
			return keys{}, err
		}
		return readKeys(service, answer)
	}, nil
}
