package aws

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// A profile is a section of the shared files of AWS.
type profile map[string]string

// readProfiles reads ~/.aws/config and ~/.aws/credentials, or the files that the environment
// names. The second file replaces values of the first. Missing files have no profiles.
func readProfiles() (map[string]profile, error) {
	all := map[string]profile{}
	for _, file := range []struct {
		variable, name string
		prefixed       bool // sections are "profile x", except the default
	}{
		{"AWS_CONFIG_FILE", "config", true},
		{"AWS_SHARED_CREDENTIALS_FILE", "credentials", false},
	} {
		path := os.Getenv(file.variable)
		if path == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				continue
			}
			path = filepath.Join(home, ".aws", file.name)
		}
		data, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, fs.ErrPermission) && os.Getenv(file.variable) == "":
			continue // the home of another user
		case err != nil:
			return nil, err
		}
		addProfiles(all, data, file.prefixed)
	}
	return all, nil
}

// addProfiles reads a shared file. It ignores lines that are not a section or a value, and
// indented lines, which belong to settings of other services.
func addProfiles(all map[string]profile, data []byte, prefixed bool) {
	var current profile
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		line := lines.Text()
		text := strings.TrimSpace(line)
		switch {
		case text == "", text[0] == '#', text[0] == ';':
		case text[0] == '[':
			current = nil
			name, _, closed := strings.Cut(text[1:], "]")
			name = strings.TrimSpace(name)
			if prefixed && name != "default" {
				kind, rest, ok := strings.Cut(name, " ")
				if !ok || kind != "profile" {
					continue
				}
				name = strings.TrimSpace(rest)
			}
			if !closed || name == "" {
				continue
			}
			if all[name] == nil {
				all[name] = profile{}
			}
			current = all[name]
		case current != nil && line[0] != ' ' && line[0] != '\t':
			name, value, ok := strings.Cut(text, "=")
			if !ok {
				continue
			}
			for _, comment := range []string{" #", " ;", "\t#", "\t;"} {
				value, _, _ = strings.Cut(value, comment)
			}
			current[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
		}
	}
}

func (p profile) keys() keys {
	return keys{
		id: p["aws_access_key_id"], secret: secret.NewString(p["aws_secret_access_key"]),
		token: secret.NewString(p["aws_session_token"]),
	}
}

func (p profile) hasKeys() bool {
	return p["aws_access_key_id"] != "" && p["aws_secret_access_key"] != ""
}

// profile returns the source of a profile, or nil if the profile has no credentials. within
// has the profiles that refer to this one.
func (f *finder) profile(name string, within []string) (keySource, error) {
	p, ok := f.profiles[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("profile %q does not exist", name)
	case p["role_arn"] != "":
		return f.profileRole(name, p, within)
	case p.hasKeys():
		return static(p.keys()), nil
	case p["sso_session"] != "" || p["sso_start_url"] != "" || p["login_session"] != "":
		return nil, fmt.Errorf("profile %q signs a person in; a server needs keys, a role or credential_process", name)
	case p["credential_process"] != "":
		return process(p["credential_process"]), nil
	}
	return nil, nil
}

// profileRole returns the source of a profile that takes a role.
func (f *finder) profileRole(name string, p profile, within []string) (keySource, error) {
	r := role{arn: p["role_arn"], session: p["role_session_name"], externalID: p["external_id"], duration: p["duration_seconds"]}
	if p["mfa_serial"] != "" {
		return nil, fmt.Errorf("profile %q needs the code of a person, for mfa_serial", name)
	}
	if file := p["web_identity_token_file"]; file != "" {
		return f.webIdentity(r, file)
	}
	var base keySource
	var err error
	switch from := p["source_profile"]; {
	case from == name && p.hasKeys():
		base = static(p.keys())
	case from != "" && slices.Contains(append(within, name), from):
		return nil, fmt.Errorf("profile %q refers to itself by source_profile", name)
	case from != "":
		if base, err = f.profile(from, append(within, name)); err == nil && base == nil {
			err = fmt.Errorf("profile %q has no credentials", from)
		}
	case p["credential_source"] == "Environment":
		base = static(environmentKeys())
	case p["credential_source"] == "Ec2InstanceMetadata":
		base, err = instance()
	case p["credential_source"] == "EcsContainer":
		base, err = container()
	default:
		err = fmt.Errorf("profile %q has role_arn, and needs source_profile, credential_source or web_identity_token_file", name)
	}
	if err != nil {
		return nil, err
	}
	return f.assumeRole(r, base)
}

// process returns the source that runs the command of credential_process, as the tools of
// AWS do.
func process(command string) keySource {
	return func(ctx context.Context) (keys, error) {
		shell := []string{"sh", "-c"}
		if runtime.GOOS == "windows" {
			shell = []string{"cmd.exe", "/C"}
		}
		cmd := exec.CommandContext(ctx, shell[0], shell[1], command)
		cmd.WaitDelay = time.Second
		out, err := cmd.Output()
		if err != nil {
			return keys{}, errors.New("credential_process failed") // its output may contain secrets
		}
		var answer struct {
			Version                                    int
			AccessKeyID, SecretAccessKey, SessionToken string
			Expiration                                 *time.Time
		}
		if json.Unmarshal(out, &answer) != nil || answer.Version != 1 {
			return keys{}, errors.New("credential_process: unreadable answer")
		}
		k := keys{id: answer.AccessKeyID, secret: secret.NewString(answer.SecretAccessKey), token: secret.NewString(answer.SessionToken)}
		if answer.Expiration != nil {
			k.expires = *answer.Expiration
		}
		return k, nil
	}
}
