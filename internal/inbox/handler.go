package inbox

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/web"
)

// ServeHTTP answers GET and HEAD with the messages, newest first: as JSON for a program,
// and as a page for a browser (see wantsJSON). The query parameter to selects a phone
// number; for a page, a part of the number is enough.
func (in *Inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	web.Protect(w.Header())
	w.Header().Set("Vary", "Accept")
	switch {
	case !in.hosts.Answer(r.Host):
		refuse(w, r, http.StatusForbidden,
			"The development inbox answers only under an IP address, localhost, or a host name from its options.")
	case web.IsForeign(r):
		refuse(w, r, http.StatusForbidden,
			"The development inbox does not answer to other sites.")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, r, http.StatusMethodNotAllowed, "Method Not Allowed")
	case wantsJSON(r):
		in.serveJSON(w, r)
	default:
		in.servePage(w, r)
	}
}

// messageJSON is the JSON of a message.
type messageJSON struct {
	To     string `json:"to"`
	Text   string `json:"text"`
	Code   string `json:"code"`
	SentAt string `json:"sent_at"`
}

const timestamp = "2006-01-02T15:04:05.000Z"

func (in *Inbox) serveJSON(w http.ResponseWriter, r *http.Request) {
	found := in.newest(exactly(r.URL.Query().Get("to")))
	list := make([]messageJSON, len(found)) // not nil: an empty list is [], not null
	for i, m := range found {
		list[i] = newMessageJSON(m)
	}
	replyJSON(w, r, http.StatusOK, map[string]any{"messages": list})
}

func newMessageJSON(m delivery.Message) messageJSON {
	return messageJSON{
		To:     m.To.Text(),
		Text:   m.Text.Reveal(),
		Code:   m.Code.Reveal(),
		SentAt: m.At.UTC().Format(timestamp),
	}
}

// refuse answers with an error in the JSON form of the API.
func refuse(w http.ResponseWriter, r *http.Request, status int, message string) {
	replyJSON(w, r, status, map[string]string{"message": message})
}

func replyJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic("inbox: " + err.Error()) // strings always marshal
	}
	reply(w, r, status, "application/json; charset=utf-8", append(body, '\n'))
}

// reply sends the headers and, unless the method is HEAD, the body.
func reply(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body) // an error means that the client has gone
	}
}
