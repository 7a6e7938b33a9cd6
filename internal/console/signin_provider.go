package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/countersign-mfa/countersign/internal/signin"
)

// A Provider is an identity provider that signs operators in (OpenID Connect).
type Provider interface {
	Name() string   // shown on the button
	Origin() string // of the page for signing in there
	// Address returns the address to which the browser goes.
	Address(ctx context.Context, a signin.Authorization) (string, error)
	// Identity checks the answer in the query of the callback. Its error is a
	// *signin.ProviderError.
	Identity(ctx context.Context, a signin.Authorization, query url.Values) (signin.Identity, error)
}

// visitProvider serves POST /console/sign-in/provider.
func (c *Console) visitProvider(w http.ResponseWriter, r *request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	return c.visit(w, r, false)
}

// confirmAtProvider serves POST /console/confirm/provider.
func (c *Console) confirmAtProvider(w http.ResponseWriter, r *request) error {
	return c.visit(w, r, true)
}

func (c *Console) visit(w http.ResponseWriter, r *request, confirm bool) error {
	a, err := c.parts.SignIn.BeginOIDC(r.Context(), c.client(r.Request), local(r.PostFormValue("back")), confirm)
	if err != nil {
		return err
	}
	address, err := c.parts.Provider.Address(r.Context(), a)
	if err != nil {
		return c.providerFailed(r, err)
	}
	setSecret(w, visitCookie, a.Token)
	http.Redirect(w, r.Request.Request, address, http.StatusSeeOther)
	return nil
}

// returned serves GET /console/sign-in/provider/callback. Browsers do not send strict cookies
// with a visit that began at another site. So the answer is a page that goes on by itself.
func (c *Console) returned(w http.ResponseWriter, r *request) error {
	ctx, client := r.Context(), c.client(r.Request)
	dropSecret(w, visitCookie)
	a, err := c.parts.SignIn.ResumeOIDC(ctx, client, secretOf(r.Request.Request, visitCookie), r.URL.Query().Get("state"))
	if err != nil {
		return err
	}
	who, err := c.parts.Provider.Identity(ctx, a, r.URL.Query())
	if err != nil {
		return c.providerFailed(r, err)
	}
	session, err := c.parts.SignIn.FinishOIDC(ctx, client, a, who)
	if err != nil {
		return err
	}
	if !a.Confirm {
		setSecret(w, sessionCookie, session)
	}
	back := local(a.Back)
	w.Header().Set("Refresh", "0; url="+back)
	return c.showPage(w, r, "Signed in", "signin_returned.html", signInView{Back: back})
}

// providerFailed logs and records an answer of the provider that was not accepted.
func (c *Console) providerFailed(r *request, err error) error {
	failed, ok := errors.AsType[*signin.ProviderError](err)
	if !ok {
		return err
	}
	c.opts.Logger.LogAttrs(r.Context(), slog.LevelWarn, "sign-in through the identity provider failed",
		slog.String("reason", failed.Reason), slog.Any("error", failed.Cause), slog.String("request", r.ID))
	refused := c.parts.SignIn.RefuseOIDC(r.Context(), c.client(r.Request), "provider_"+failed.Reason)
	if errors.Is(refused, signin.ErrRefused) {
		return errProvider
	}
	return refused
}

// errProvider means that the identity provider did not confirm who the person is.
var errProvider = errors.New("the identity provider did not confirm who you are")

// allowForms lets the forms of a page lead to another site, by way of a redirect.
func allowForms(h http.Header, origin string) {
	policy := h.Get("Content-Security-Policy")
	h.Set("Content-Security-Policy", strings.Replace(policy, "form-action 'self'", "form-action 'self' "+origin, 1))
}
