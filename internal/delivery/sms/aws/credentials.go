package aws

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// A keySource fetches keys. Its errors contain no secret.
type keySource func(context.Context) (keys, error)

const (
	fetchKeysTimeout = 10 * time.Second // of a fetch, which continues after its messages gave up
	refreshAhead     = 5 * time.Minute  // of the expiry
	refreshPause     = 10 * time.Second // after a failed refresh while the keys are valid
	leastValidity    = time.Minute      // of keys that were fetched just now, also if they have expired: AWS decides
)

// credentials keeps the keys of a source and fetches new ones before they expire. Messages
// share one fetch. While the old keys are valid, no message waits.
type credentials struct {
	source keySource
	now    func() time.Time

	mu        sync.Mutex
	current   keys // id is empty before the first fetch
	refreshAt time.Time
	fetching  *keyFetch // nil if none is running
}

// A keyFetch is a fetch and its result, which may be read after done is closed.
type keyFetch struct {
	done chan struct{}
	keys keys
	err  error
}

func (c *credentials) get(ctx context.Context) (keys, error) {
	c.mu.Lock()
	now := c.now()
	valid := c.current.id != "" && (c.current.expires.IsZero() || now.Before(c.current.expires))
	if valid && (c.current.expires.IsZero() || now.Before(c.refreshAt)) {
		defer c.mu.Unlock()
		return c.current, nil
	}
	if c.fetching == nil {
		c.fetching = &keyFetch{done: make(chan struct{})}
		go c.fetch(context.WithoutCancel(ctx), c.fetching)
	}
	f, old := c.fetching, c.current
	c.mu.Unlock()
	if valid {
		return old, nil
	}
	select {
	case <-f.done:
		return f.keys, f.err
	case <-ctx.Done():
		return keys{}, ctx.Err()
	}
}

func (c *credentials) fetch(ctx context.Context, f *keyFetch) {
	ctx, cancel := context.WithTimeout(ctx, fetchKeysTimeout)
	defer cancel()
	f.keys, f.err = c.source(ctx)
	if f.err == nil && (f.keys.id == "" || f.keys.secret.Reveal() == "") {
		f.err = errors.New("the answer has no keys")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetching = nil
	now := c.now()
	if f.err != nil {
		c.refreshAt = now.Add(refreshPause)
	} else {
		if least := now.Add(leastValidity); !f.keys.expires.IsZero() && f.keys.expires.Before(least) {
			f.keys.expires = least
		}
		c.current = f.keys
		c.refreshAt = now.Add(max(f.keys.expires.Sub(now)-refreshAhead, f.keys.expires.Sub(now)/2))
	}
	close(f.done)
}

// static returns a source of keys that do not change.
func static(k keys) keySource {
	return func(context.Context) (keys, error) { return k, nil }
}

var errNoCredentials = errors.New("none is configured")

// findCredentials returns the source of the keys that the machine offers, in the order of
// the tools of AWS: a profile that AWS_PROFILE names, the environment, web identity, the
// default profile, the role of the container, the role of the instance. It reads the
// configuration files but makes no request.
func findCredentials(o *Options) (keySource, error) {
	profiles, err := readProfiles()
	if err != nil {
		return nil, err
	}
	find := &finder{options: o, profiles: profiles}
	named := firstVariable("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
	if named != "" {
		source, err := find.profile(named, nil)
		if source != nil || err != nil {
			return source, err
		}
		return find.machine()
	}
	if k := environmentKeys(); k.id != "" && k.secret.Reveal() != "" {
		return static(k), nil
	}
	if file := os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"); file != "" {
		role := role{arn: os.Getenv("AWS_ROLE_ARN"), session: os.Getenv("AWS_ROLE_SESSION_NAME")}
		if role.arn == "" {
			return nil, errors.New("AWS_WEB_IDENTITY_TOKEN_FILE needs AWS_ROLE_ARN")
		}
		return find.webIdentity(role, file)
	}
	if _, ok := profiles["default"]; ok {
		source, err := find.profile("default", nil)
		if source != nil || err != nil {
			return source, err
		}
	}
	return find.machine()
}

func environmentKeys() keys {
	return keys{
		id:     firstVariable("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"),
		secret: secret.NewString(firstVariable("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY")),
		token:  secret.NewString(os.Getenv("AWS_SESSION_TOKEN")),
	}
}

// A finder makes sources.
type finder struct {
	options  *Options
	profiles map[string]profile
}

// machine returns the role of the container or of the instance.
func (f *finder) machine() (keySource, error) {
	if os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "" || os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "" {
		return container()
	}
	return instance()
}

func firstVariable(names ...string) string {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	return ""
}

func isTrue(name string) bool { return strings.EqualFold(os.Getenv(name), "true") }
