package aws_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/aws"
	"github.com/countersign-mfa/countersign/internal/secret"
)

const (
	identityToken = "identityTokenOfAPod.EXAMPLE"
	testRole      = "arn:aws:iam::123456789012:role/sms"
)

// A machine answers as the services of AWS that give keys: the metadata of an instance, the
// endpoint of a container, and STS.
type machine struct {
	*httptest.Server
	d *double // checks signatures of STS requests

	mu      sync.Mutex
	keyID   string
	expires time.Time
	status  int // of every answer, unless 0
	asked   int
	form    url.Values // last form for STS
	signed  bool       // whether it was signed
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{d: &double{now: time.Now}, keyID: "ASIATEMPORARYEXAMPLE", expires: time.Now().Add(time.Hour).UTC()}
	m.Server = httptest.NewServer(http.HandlerFunc(m.serve))
	t.Cleanup(m.Close)
	return m
}

func (m *machine) serve(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.status != 0 {
		w.WriteHeader(m.status)
		io.WriteString(w, temporarySecret+identityToken) // a service that repeats secrets
		return
	}
	answer := fmt.Sprintf(`{"Code":"Success","AccessKeyId":%q,"SecretAccessKey":%q,"Token":%q,"Expiration":%q}`,
		m.keyID, temporarySecret, temporaryToken, m.expires.Format(time.RFC3339))
	switch {
	case r.URL.Path == "/latest/api/token" && r.Method == http.MethodPut && r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") != "":
		io.WriteString(w, "metadata-token")
		return
	case strings.HasPrefix(r.URL.Path, "/latest/meta-data/") && r.Header.Get("X-Aws-Ec2-Metadata-Token") != "metadata-token":
		w.WriteHeader(http.StatusUnauthorized)
		return
	case r.URL.Path == "/latest/meta-data/iam/security-credentials/":
		io.WriteString(w, "sms-role\n")
		return
	case r.URL.Path == "/latest/meta-data/iam/security-credentials/sms-role":
		io.WriteString(w, answer)
	case r.URL.Path == "/container" && r.Header.Get("Authorization") == identityToken:
		io.WriteString(w, answer)
	case r.URL.Path == "/" && r.Method == http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		m.form, _ = url.ParseQuery(string(body))
		m.signed = r.Header.Get("Authorization") != ""
		if m.signed {
			if code := m.d.checkSignature(r, body, "sts"); code != "" {
				refuseXML(w, 403, code, "for "+temporarySecret, "")
				return
			}
		} else if m.form.Get("WebIdentityToken") != identityToken {
			refuseXML(w, 400, "InvalidIdentityToken", "not "+m.form.Get("WebIdentityToken"), "")
			return
		}
		action := m.form.Get("Action")
		fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><AssumedRoleUser><Arn>x</Arn></AssumedRoleUser><Credentials><AccessKeyId>%[2]s</AccessKeyId><SecretAccessKey>%[3]s</SecretAccessKey><SessionToken>%[4]s</SessionToken><Expiration>%[5]s</Expiration></Credentials></%[1]sResult><ResponseMetadata><RequestId>x</RequestId></ResponseMetadata></%[1]sResponse>`,
			action, m.keyID, temporarySecret, temporaryToken, m.expires.Format(time.RFC3339))
	default:
		w.WriteHeader(http.StatusNotFound)
		return
	}
	m.asked++
}

func (m *machine) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func (m *machine) fetches() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// useProfiles makes two shared files the configuration of the machine.
func useProfiles(t *testing.T, config, credentials string) {
	t.Setenv("AWS_CONFIG_FILE", writeFile(t, "config", config))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", writeFile(t, "credentials", credentials))
}

func machineOptions(base string) aws.Options {
	o := testOptions(base)
	o.AccessKeyID, o.SecretAccessKey = "", secret.String{}
	return o
}

const (
	staticKeys  = "aws_access_key_id = " + testKeyID + "\naws_secret_access_key = " + testSecret + "\n"
	processKeys = `{"Version":1,"AccessKeyId":"ASIATEMPORARYEXAMPLE","SecretAccessKey":"` + temporarySecret + `","SessionToken":"` + temporaryToken + `"}`
)

// TestFindsEachSource configures each source of keys that the documents name, and sends with
// its keys. The double refuses other signatures.
func TestFindsEachSource(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(*testing.T, *machine)
		form string // what STS was asked, if it was
	}{
		{"the environment", func(t *testing.T, _ *machine) {
			t.Setenv("AWS_ACCESS_KEY_ID", testKeyID)
			t.Setenv("AWS_SECRET_ACCESS_KEY", testSecret)
		}, ""},
		{"temporary keys of the environment", func(t *testing.T, _ *machine) {
			t.Setenv("AWS_ACCESS_KEY_ID", "ASIATEMPORARYEXAMPLE")
			t.Setenv("AWS_SECRET_ACCESS_KEY", temporarySecret)
			t.Setenv("AWS_SESSION_TOKEN", temporaryToken)
		}, ""},
		{"the shared credentials", func(t *testing.T, _ *machine) {
			useProfiles(t, "[default]\nregion = us-east-1\n", "# of CI\n[other]\naws_access_key_id = x\n[default]\n"+staticKeys)
		}, ""},
		{"a profile of the configuration", func(t *testing.T, _ *machine) {
			t.Setenv("AWS_PROFILE", "sms")
			t.Setenv("AWS_ACCESS_KEY_ID", "AKIAOFANOTHERACCOUNT") // the profile is more specific
			t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
			useProfiles(t, "[profile sms]\ns3 =\n  aws_access_key_id = y\n"+staticKeys+"[profile z]\naws_access_key_id = z\n", "")
		}, ""},
		{"a role of a profile", func(t *testing.T, _ *machine) {
			t.Setenv("AWS_PROFILE", "sms")
			useProfiles(t, "[profile sms]\nrole_arn = "+testRole+"\nsource_profile = base\nexternal_id = 42 ; ours\nduration_seconds=900\n", "[base]\n"+staticKeys)
		}, "Action=AssumeRole&DurationSeconds=900&ExternalId=42&RoleArn=" + url.QueryEscape(testRole) + "&RoleSessionName=countersign&Version=2011-06-15"},
		{"a role with keys of its own profile", func(t *testing.T, _ *machine) {
			useProfiles(t, "[default]\nrole_arn = "+testRole+"\nsource_profile = default\nrole_session_name = otp\n", "[default]\n"+staticKeys)
		}, "Action=AssumeRole&RoleArn=" + url.QueryEscape(testRole) + "&RoleSessionName=otp&Version=2011-06-15"},
		{"a role with the keys of the environment", func(t *testing.T, _ *machine) {
			t.Setenv("AWS_PROFILE", "sms")
			t.Setenv("AWS_ACCESS_KEY_ID", testKeyID)
			t.Setenv("AWS_SECRET_ACCESS_KEY", testSecret)
			useProfiles(t, "[profile sms]\nrole_arn = "+testRole+"\ncredential_source = Environment\n", "")
		}, "Action=AssumeRole&RoleArn=" + url.QueryEscape(testRole) + "&RoleSessionName=countersign&Version=2011-06-15"},
		{"a role with the role of the instance", func(t *testing.T, m *machine) {
			t.Setenv("AWS_EC2_METADATA_DISABLED", "")
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", m.URL)
			useProfiles(t, "[default]\nrole_arn = "+testRole+"\ncredential_source = Ec2InstanceMetadata\n", "")
		}, "Action=AssumeRole&RoleArn=" + url.QueryEscape(testRole) + "&RoleSessionName=countersign&Version=2011-06-15"},
		{"a process", func(t *testing.T, _ *machine) {
			useProfiles(t, "[default]\ncredential_process = cat '"+writeFile(t, "keys", processKeys)+"'\n", "")
		}, ""},
		{"web identity", func(t *testing.T, _ *machine) {
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", writeFile(t, "token", identityToken+"\n"))
			t.Setenv("AWS_ROLE_ARN", testRole)
			t.Setenv("AWS_ROLE_SESSION_NAME", "pod")
		}, "Action=AssumeRoleWithWebIdentity&RoleArn=" + url.QueryEscape(testRole) + "&RoleSessionName=pod&Version=2011-06-15&WebIdentityToken=" + identityToken},
		{"web identity of a profile", func(t *testing.T, _ *machine) {
			useProfiles(t, "[default]\nrole_arn = "+testRole+"\nweb_identity_token_file = "+writeFile(t, "token", identityToken)+"\n", "")
		}, "Action=AssumeRoleWithWebIdentity&RoleArn=" + url.QueryEscape(testRole) + "&RoleSessionName=countersign&Version=2011-06-15&WebIdentityToken=" + identityToken},
		{"the role of a container", func(t *testing.T, m *machine) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", m.URL+"/container")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", identityToken)
		}, ""},
		{"the role of a pod", func(t *testing.T, m *machine) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", m.URL+"/container")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", writeFile(t, "token", identityToken+"\n"))
		}, ""},
		{"the role of the instance", func(t *testing.T, m *machine) {
			t.Setenv("AWS_EC2_METADATA_DISABLED", "")
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", m.URL+"/")
		}, ""},
		{"keys that the service of the instance did not renew", func(t *testing.T, m *machine) {
			m.expires = m.expires.Add(-2 * time.Hour)
			t.Setenv("AWS_EC2_METADATA_DISABLED", "")
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", m.URL)
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hideAWSConfig(t)
			d, m := newDouble(t), newMachine(t)
			t.Setenv("AWS_ENDPOINT_URL_STS", m.URL)
			tc.set(t, m)
			a, err := aws.New(machineOptions(d.URL))
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := a.Send(t.Context(), newMessage()); err != nil {
					t.Fatalf("Send = %v", err)
				}
			}
			if got := m.form.Encode(); got != tc.form {
				t.Errorf("asked STS for %s; want %s", got, tc.form)
			}
			if n := m.fetches(); n > 2 {
				t.Errorf("fetched %d times; want the keys to be kept", n)
			}
		})
	}
}

func TestRefusesConfigurationsWithoutKeys(t *testing.T) {
	for _, tc := range []struct{ name, config, want string }{
		{"a missing profile", "", `profile "sms" does not exist`},
		{"a person's sign-in", "[profile sms]\nsso_session = x\n", `profile "sms" signs a person in`},
		{"a person's code", "[profile sms]\nrole_arn = r\nmfa_serial = x\nsource_profile = sms\n", "mfa_serial"},
		{"a circle", "[profile sms]\nrole_arn = r\nsource_profile = b\n[profile b]\nrole_arn = r\nsource_profile = sms\n", "refers to itself"},
		{"a role without a source", "[profile sms]\nrole_arn = r\n", "needs source_profile"},
		{"a source without keys", "[profile sms]\nrole_arn = r\nsource_profile = b\n[profile b]\nregion = x\n", `profile "b" has no credentials`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hideAWSConfig(t)
			t.Setenv("AWS_PROFILE", "sms")
			useProfiles(t, tc.config, "")
			if _, err := aws.New(machineOptions("")); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("New = %v; want %s", err, tc.want)
			}
		})
	}
	for _, tc := range []struct{ name, variable, value, want string }{
		{"a token without a role", "AWS_WEB_IDENTITY_TOKEN_FILE", "/token", "AWS_ROLE_ARN"},
		{"a container elsewhere in the clear", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://keys.example.com/", "must be an https URL"},
		{"an endpoint that is not a URL", "AWS_ENDPOINT_URL", "localhost", "AWS_ENDPOINT_URL"},
		{"FIPS endpoints", "AWS_USE_FIPS_ENDPOINT", "true", "base_url"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hideAWSConfig(t)
			t.Setenv(tc.variable, tc.value)
			if _, err := aws.New(machineOptions("")); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("New = %v; want %s", err, tc.want)
			}
		})
	}
}

// TestErrorsOfSourcesHideSecrets lets each remote source fail and repeat secrets in its answer.
func TestErrorsOfSourcesHideSecrets(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		set        func(*testing.T, *machine)
	}{
		{"the instance", "no credentials found: the metadata service of the instance answered with status 403", func(t *testing.T, m *machine) {
			m.status = 403
			t.Setenv("AWS_EC2_METADATA_DISABLED", "")
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", m.URL)
		}},
		{"the container", "no credentials found: the credentials service of the container answered with status 400", func(t *testing.T, m *machine) {
			m.status = 400
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", m.URL+"/container")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", identityToken)
		}},
		{"STS", "no credentials found: STS answered InvalidIdentityToken", func(t *testing.T, _ *machine) {
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", writeFile(t, "token", identityToken+"-old"))
			t.Setenv("AWS_ROLE_ARN", testRole)
		}},
		{"STS out of order", "no credentials found: STS answered with status 500", func(t *testing.T, m *machine) {
			m.status = 500
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", writeFile(t, "token", identityToken))
			t.Setenv("AWS_ROLE_ARN", testRole)
		}},
		{"a process", "no credentials found: credential_process failed", func(t *testing.T, _ *machine) {
			useProfiles(t, "[default]\ncredential_process = echo "+temporarySecret+" >&2; exit 1\n", "")
		}},
		{"a process that prints something else", "no credentials found: credential_process: unreadable answer", func(t *testing.T, _ *machine) {
			useProfiles(t, "[default]\ncredential_process = echo "+temporarySecret+"\n", "")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hideAWSConfig(t)
			d, m := newDouble(t), newMachine(t)
			t.Setenv("AWS_ENDPOINT_URL_STS", m.URL)
			tc.set(t, m)
			a, err := aws.New(machineOptions(d.URL))
			if err != nil {
				t.Fatal(err)
			}
			_, err = a.Send(t.Context(), newMessage())
			if e := sendError(t, err); e.Kind != sms.Unavailable || e.Reason != tc.want {
				t.Errorf("Send = %+v; want %q", *e, tc.want)
			}
			if d.tried() != 0 {
				t.Error("sent without keys")
			}
		})
	}
}

// TestRefreshesKeys lets keys come near their expiry: messages do not wait for new ones, which
// replace the old ones, and a message after the expiry waits for them or fails.
func TestRefreshesKeys(t *testing.T) {
	hideAWSConfig(t)
	d, m := newDouble(t), newMachine(t)
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	d.now = now
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", m.URL+"/container")
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", identityToken)
	o := machineOptions(d.URL)
	o.Now = now
	a, err := aws.New(o)
	if err != nil {
		t.Fatal(err)
	}
	send := func() error {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := a.Send(ctx, newMessage())
		return err
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}

	ahead.Store(int64(56 * time.Minute))
	m.set(func() { m.status = 503 })
	if err := send(); err != nil {
		t.Errorf("Send while the keys are valid and no new ones arrive = %v", err)
	}
	m.set(func() {
		m.status, m.keyID, m.expires = 0, "ASIASECONDKEYEXAMPLE", time.Now().Add(4*time.Hour).UTC()
	})
	ahead.Store(int64(57 * time.Minute))
	for d.lastKeyID() != "ASIASECONDKEYEXAMPLE" {
		if err := send(); err != nil {
			t.Fatal(err)
		}
	}

	ahead.Store(int64(5 * time.Hour))
	m.set(func() { m.status = 503 })
	e := sendError(t, send())
	if e.Kind != sms.Unavailable || !strings.Contains(e.Reason, "status 503") {
		t.Errorf("Send after the expiry = %+v", *e)
	}
	m.set(func() { m.status, m.expires = 0, time.Now().Add(9*time.Hour).UTC() })
	if err := send(); err != nil {
		t.Errorf("Send after new keys = %v", err)
	}
}

func TestWaitsForKeysNoLongerThanTheMessage(t *testing.T) {
	hideAWSConfig(t)
	stop := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	defer silent.Close()
	defer close(stop)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", silent.URL)
	a, err := aws.New(machineOptions(""))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = a.Send(ctx, newMessage())
	if e := sendError(t, err); e.Kind != sms.Unavailable || e.Reason != "timed out during the search for credentials" {
		t.Errorf("Send = %+v", *e)
	}
}
