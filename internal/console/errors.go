package console

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/countersign-mfa/countersign/internal/access"
	"github.com/countersign-mfa/countersign/internal/mfa"
	"github.com/countersign-mfa/countersign/internal/operator"
	"github.com/countersign-mfa/countersign/internal/signin"
	"github.com/countersign-mfa/countersign/internal/web"
	"github.com/countersign-mfa/countersign/internal/webhook"
)

// A fault is a mistake in a form, in words for its sender.
type fault string

func (f fault) Error() string { return string(f) }

// errInput is matched by every fault.
var errInput = errors.New("a mistake in a form")

// Is reports whether target is errInput.
func (f fault) Is(target error) bool { return target == errInput }

// kinds maps errors to the status and the words of the page that shows them. An empty
// message means the text of the error.
func kinds() []web.Kind {
	return append(append(signInKinds(), []web.Kind{
		{Err: errProvider, Status: http.StatusForbidden, Message: "The identity provider did not confirm who you are. Try again; if it fails again, the log of this server has the reason."},
		{Err: errInput, Status: http.StatusUnprocessableEntity},
		{Err: ErrSignedOut, Status: http.StatusUnauthorized, Message: "Sign in to see this page."},
		{Err: errStale, Status: http.StatusForbidden, Message: "Confirm with your passkey, and then try again: actions on people, operators, keys, webhooks, messages and settings need a recent use of it."},
		{Err: access.ErrDenied, Status: http.StatusForbidden},
		{Err: mfa.ErrNotFound, Status: http.StatusNotFound, Message: "There is nothing with this id in this environment. It may have been deleted."},
		{Err: access.ErrNotFound, Status: http.StatusNotFound, Message: "There is nothing with this name or id."},
		{Err: mfa.ErrNotLocked, Status: http.StatusConflict, Message: "It is not locked: no wrong codes are counted. Nothing was changed."},
		{Err: mfa.ErrSuspended, Status: http.StatusConflict, Message: "The factor is suspended already. Nothing was changed."},
		{Err: mfa.ErrNotSuspended, Status: http.StatusConflict, Message: "The factor is not suspended. Nothing was changed."},
		{Err: operator.ErrAllSuspended, Status: http.StatusConflict},
		{Err: operator.ErrNoBypass, Status: http.StatusConflict},
		{Err: operator.ErrBypassTTL, Status: http.StatusUnprocessableEntity},
		{Err: operator.ErrNoReason, Status: http.StatusUnprocessableEntity},
		{Err: access.ErrExists, Status: http.StatusConflict, Message: "The name is taken. Choose another one."},
		{Err: access.ErrInvalidName, Status: http.StatusUnprocessableEntity, Message: sentence(access.ErrInvalidName.Error())},
		{Err: operator.ErrDevelopment, Status: http.StatusConflict, Message: "A server started with 'countersign dev' shows all messages without a key, so it has no production environments."},
		{Err: webhook.ErrDuplicate, Status: http.StatusConflict, Message: "Another endpoint of this environment has this URL."},
		{Err: webhook.ErrTooMany, Status: http.StatusConflict, Message: "This environment has as many endpoints as it may have. Delete one first."},
		{Err: webhook.ErrReplaying, Status: http.StatusConflict, Message: "A replay of this endpoint is in progress. Wait until it ends."},
		{Err: webhook.ErrURL, Status: http.StatusUnprocessableEntity},
		{Err: mfa.ErrUnavailable, Status: http.StatusServiceUnavailable, Message: "The store does not answer. Try again."},
	}...), web.Kinds()...)
}

// describe returns the problem of an error.
func describe(err error) web.Problem {
	if e, ok := errors.AsType[*mfa.InvalidError](err); ok && len(e.Fields) > 0 {
		return web.Problem{Status: http.StatusUnprocessableEntity, Message: sentence(e.Fields[0].Message)}
	}
	p := web.Describe(err, kinds())
	if e, ok := errors.AsType[*access.DeniedError](err); ok {
		p.Message = "Your role does not allow this. It needs the role " + string(e.Permission.LeastRole()) + "."
	}
	if p.Message == "" {
		p.Message = sentence(err.Error())
	}
	return p
}

// sentence turns the text of an error into a sentence.
func sentence(text string) string {
	if text == "" {
		return text
	}
	text = strings.ToUpper(text[:1]) + text[1:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}

// isMistake reports whether the sender of a form can correct err. The page then shows the
// form again, with the values that were entered.
func isMistake(err error) bool {
	status := describe(err).Status
	return status == http.StatusUnprocessableEntity || status == http.StatusConflict
}

// errorView is the view of a page that reports an error.
type errorView struct {
	Status  int
	Title   string
	Message string
	Request string // the id of the request, for the log
	SignIn  string // where the operator must sign in, or ""
	Confirm string // where the operator must confirm with a passkey, or ""
}

// showError answers with the page of an error.
func (c *Console) showError(w http.ResponseWriter, r *request, err error) {
	p := describe(err)
	v := errorView{Status: p.Status, Title: http.StatusText(p.Status), Message: p.Message}
	switch {
	case errors.Is(err, ErrSignedOut), errors.Is(err, signin.ErrSignedOut):
		v.Title, v.SignIn = "Sign in", root+"/sign-in?back="+url.QueryEscape(cameFrom(r.Request.Request))
	case errors.Is(err, errStale), errors.Is(err, signin.ErrStale):
		v.Title, v.Confirm = "Confirm first", confirmPath(cameFrom(r.Request.Request))
	case p.Status == http.StatusNotFound:
		v.Title = "Not found"
	case p.Internal:
		v.Title, v.Request = "Something went wrong", r.ID
		v.Message = "The server could not answer. Its log has the reason, under the id of this request."
	}
	page, pageErr := c.page(r, v.Title)
	if pageErr != nil {
		page = c.barePage(r, v.Title)
	}
	c.show(w, r, p.Status, "error.html", page, v)
}
