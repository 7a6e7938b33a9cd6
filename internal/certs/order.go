package certs

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/crypto/acme"
)

// obtain orders a certificate for a domain and stores it.
func (m *Manager) obtain(ctx context.Context, domain string, mine *claim) (sealed []byte, _ *tls.Certificate, err error) {
	client, err := m.client(ctx)
	if err != nil {
		return nil, nil, err
	}
	o, err := client.AuthorizeOrder(ctx, acme.DomainIDs(domain))
	if err != nil {
		return nil, nil, fmt.Errorf("create the order: %w", err)
	}
	for _, url := range o.AuthzURLs {
		if err := m.prove(ctx, client, domain, url, mine); err != nil {
			return nil, nil, err
		}
	}
	if o, err = client.WaitOrder(ctx, o.URI); err != nil {
		return nil, nil, fmt.Errorf("wait for the order: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{domain}}, key)
	if err != nil {
		return nil, nil, err
	}
	chain, _, err := client.CreateCertFromOrder(ctx, o, request, true)
	if err != nil {
		return nil, nil, fmt.Errorf("fetch the certificate: %w", err)
	}
	return m.keep(context.WithoutCancel(ctx), domain, chain, key) // it is issued, and counts at the authority
}

// keep checks a chain and stores it with its key.
func (m *Manager) keep(ctx context.Context, domain string, chain [][]byte, key *ecdsa.PrivateKey) (sealed []byte, _ *tls.Certificate, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	text := encode(chain, der)
	c, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, nil, fmt.Errorf("read the certificate of the authority: %w", err)
	}
	if err := c.Leaf.VerifyHostname(domain); err != nil {
		return nil, nil, fmt.Errorf("read the certificate of the authority: %w", err)
	}
	if !m.opts.Now().Before(renewAt(&c)) {
		return nil, nil, fmt.Errorf("%w It ends at %s", errOld, c.Leaf.NotAfter.UTC())
	}
	sealed, err = m.records.replace(ctx, m.records.certificateName(domain), text)
	return sealed, &c, err
}

// client returns a client with the account of the store, which it registers if it is new.
func (m *Manager) client(ctx context.Context) (*acme.Client, error) {
	key, err := m.account(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the account: %w", err)
	}
	client := &acme.Client{Key: key, DirectoryURL: m.opts.Directory, HTTPClient: m.opts.Client, UserAgent: m.opts.UserAgent, RetryBackoff: backoff}
	account := &acme.Account{}
	if m.opts.Email != "" {
		account.Contact = []string{"mailto:" + m.opts.Email}
	}
	if _, err := client.Register(ctx, account, acme.AcceptTOS); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return nil, fmt.Errorf("register the account: %w", err)
	}
	return client, nil
}

// backoff is the pause before the nth retry of a request to the authority, which the order does
// not survive: the next one begins later.
func backoff(n int, _ *http.Request, _ *http.Response) time.Duration {
	if n > 3 {
		return 0 // no further retry
	}
	return time.Duration(n) * time.Second
}

// account returns the key of the account. The first node makes it.
func (m *Manager) account(ctx context.Context) (crypto.Signer, error) {
	sealed, err := m.records.sealed(ctx, m.records.accountName())
	if err != nil {
		return nil, err
	}
	if sealed != nil {
		plain, err := m.records.keys().Open(sealed, []byte(m.records.accountName()))
		if err == nil {
			return readKey(plain)
		}
		m.opts.Logger.Warn("the key of the ACME account cannot be read with this keyset; a new account is registered")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	_, done, err := m.records.put(ctx, m.records.accountName(), sealed, der)
	if err == nil && !done {
		return m.account(ctx) // another node was first
	}
	return key, err
}

func readKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", key)
	}
	return signer, nil
}

// prove lets the authority check that this server answers for a domain (tls-alpn-01). Each node can answer.
func (m *Manager) prove(ctx context.Context, client *acme.Client, domain, url string, mine *claim) error {
	authorization, err := client.GetAuthorization(ctx, url)
	if err != nil {
		return fmt.Errorf("read the authorization: %w", err)
	}
	if authorization.Status == acme.StatusValid {
		return nil
	}
	i := slices.IndexFunc(authorization.Challenges, func(c *acme.Challenge) bool { return c.Type == "tls-alpn-01" })
	if i < 0 {
		return errors.New("the authority does not offer the challenge tls-alpn-01, which this server answers")
	}
	challenge := authorization.Challenges[i]
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	answer, err := client.TLSALPN01ChallengeCert(challenge.Token, domain, acme.WithKey(key))
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	sealed, err := m.records.replace(ctx, m.records.tokenName(domain), encode(answer.Certificate, der))
	if err != nil {
		return err
	}
	m.setToken(domain, &answer)
	defer func() {
		m.setToken(domain, nil)
		if err := m.records.remove(context.WithoutCancel(ctx), m.records.tokenName(domain), sealed); err != nil {
			m.opts.Logger.Debug("the answer to a challenge stays in the store", "domain", domain, "error", err)
		}
	}()
	select { // the other nodes may have read just now that there is no answer
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(2 * tokenAge):
	}
	mine.asked = true
	if _, err := client.Accept(ctx, challenge); err != nil {
		return fmt.Errorf("accept the challenge: %w", err)
	}
	if _, err := client.WaitAuthorization(ctx, authorization.URI); err != nil {
		return fmt.Errorf("the authority could not check %s; does its port 443 lead to this server? %w", domain, err)
	}
	return nil
}

func (m *Manager) setToken(domain string, c *tls.Certificate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c == nil {
		delete(m.tokens, domain)
		return
	}
	m.tokens[domain] = c
}
