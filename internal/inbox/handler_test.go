package inbox_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/inbox"
)

func TestAccept(t *testing.T) {
	const (
		json = "application/json; charset=utf-8"
		html = "text/html; charset=utf-8"
	)
	in := inbox.New(inbox.Options{})
	for _, tc := range []struct {
		name, query, accept, want string
	}{
		{"a test", "", "application/json", json},
		{"a test in upper case", "", "Application/JSON", json},
		{"curl", "", "*/*", json},
		{"Go's client", "", "", json},
		{"axios", "", "application/json, text/plain, */*", json},
		{"Firefox", "", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", html},
		{"Chrome", "", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7", html},
		{"html and anything with the same quality", "", "text/html, */*", html},
		{"any text", "", "text/*", html},
		{"any application", "", "application/*", json},
		{"both with the same quality", "", "text/html, application/json", json},
		{"json preferred", "", "text/html;q=0.5, application/json;q=0.6", json},
		{"html preferred", "", "application/json;q=0.5, text/html;q=0.6", html},
		{"html refused", "", "text/html;q=0, */*;q=0.1", json},
		{"json refused", "", "application/json;q=0, */*", html},
		{"neither", "", "image/png", json},
		{"quality out of range", "", "text/html;q=7, application/json;q=0.9", html},
		{"nonsense", "", ";;,/,q=1,text", json},
		{"the query takes precedence over the header", "?format=json", "text/html", json},
		{"unknown format", "?format=xml", "text/html", html},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := get(in, "/dev/inbox"+tc.query, "Accept", tc.accept)
			if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || got != tc.want {
				t.Errorf("Accept %q = %d %q; want 200 %q", tc.accept, w.Code, got, tc.want)
			}
			if got := w.Header().Get("Vary"); got != "Accept" {
				t.Errorf("Vary = %q; want Accept", got)
			}
		})
	}
}

func TestMethods(t *testing.T) {
	in := inbox.New(inbox.Options{})
	send(t, in, ada, "hello", "123456")
	for _, accept := range []string{"application/json", "text/html"} {
		body := get(in, "/dev/inbox", "Accept", accept).Body.Len()
		w := do(in, http.MethodHead, "/dev/inbox", "Accept", accept)
		if w.Code != http.StatusOK || w.Body.Len() != 0 {
			t.Errorf("HEAD of %s = %d with %d bytes; want 200 with 0 bytes", accept, w.Code, w.Body.Len())
		}
		if got, want := w.Header().Get("Content-Length"), strconv.Itoa(body); got != want {
			t.Errorf("HEAD of %s: Content-Length = %s; want %s", accept, got, want)
		}
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
		w := do(in, method, "/dev/inbox", "Accept", "text/html")
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s = %d, Allow %q; want 405, GET, HEAD", method, w.Code, w.Header().Get("Allow"))
		}
		if got, want := strings.TrimSpace(w.Body.String()), `{"message":"Method Not Allowed"}`; got != want {
			t.Errorf("%s = %s; want %s", method, got, want)
		}
	}
}

func TestHostMustNotBeRebindable(t *testing.T) {
	in := inbox.New(inbox.Options{Hosts: []string{"Countersign.Internal"}})
	for _, tc := range []struct {
		host string
		want int
	}{
		{"127.0.0.1", 200},
		{"127.0.0.1:4100", 200},
		{"192.168.1.20:80", 200},
		{"[::1]", 200},
		{"[::1]:4100", 200},
		{"localhost", 200},
		{"localhost:4100", 200},
		{"LOCALHOST.:4100", 200},
		{"countersign.internal:4100", 200},
		{"countersign.internal.", 200},
		{"", 403},
		{":4100", 403},
		{"evil.example", 403},
		{"evil.example:4100", 403},
		{"127.0.0.1.evil.example", 403},
		{"localhost.evil.example", 403},
		{"countersign.internal.evil.example", 403},
		{"evil.localhost", 403},
		{"::1", 403},
		{"[::1%25$(id)]:4100", 403},
		{"127.0.0.1:4100$(id)", 403},
		{"127.0.0.1/evil.example", 403},
		{"evil.example@127.0.0.1", 403},
		{"127.0.0.1@evil.example", 403},
		{"127.0.0.1:4100?", 403},
		{"127.0.0.1#", 403},
	} {
		for _, accept := range []string{"application/json", "text/html"} {
			w := get(in, "/dev/inbox", "Host", tc.host, "Accept", accept)
			if w.Code != tc.want {
				t.Errorf("Host %q for %s = %d; want %d", tc.host, accept, w.Code, tc.want)
			}
			if tc.want == 403 {
				checkRefusal(t, w)
			}
		}
	}
}

func checkRefusal(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	var body struct{ Message string }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Message == "" {
		t.Errorf("refusal = %s; want a message", w.Body)
	}
	if got, want := w.Header().Get("Content-Type"), "application/json; charset=utf-8"; got != want {
		t.Errorf("Content-Type of a refusal = %q; want %q", got, want)
	}
}

func TestOtherSitesAreRefused(t *testing.T) {
	in := inbox.New(inbox.Options{})
	for _, tc := range []struct {
		name             string
		site, mode, dest string
		want             int
	}{
		{"its own script", "same-origin", "cors", "empty", 200},
		{"typed address", "none", "navigate", "document", 200},
		{"page of the same machine", "same-site", "navigate", "document", 200},
		{"script of the same machine", "same-site", "cors", "empty", 200},
		{"link", "cross-site", "navigate", "document", 200},
		{"script", "cross-site", "cors", "empty", 403},
		{"script that cannot read the answer", "cross-site", "no-cors", "empty", 403},
		{"script element", "cross-site", "no-cors", "script", 403},
		{"image", "cross-site", "no-cors", "image", 403},
		{"frame", "cross-site", "navigate", "iframe", 403},
		{"object", "cross-site", "navigate", "object", 403},
		{"no browser", "", "", "", 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var headers []string
			for what, value := range map[string]string{"Site": tc.site, "Mode": tc.mode, "Dest": tc.dest} {
				if value != "" {
					headers = append(headers, "Sec-Fetch-"+what, value)
				}
			}
			w := get(in, "/dev/inbox", headers...)
			if w.Code != tc.want {
				t.Errorf("status = %d; want %d", w.Code, tc.want)
			}
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("Access-Control-Allow-Origin = %q; want none", got)
			}
		})
	}
}

func TestEveryAnswerIsProtected(t *testing.T) {
	in := inbox.New(inbox.Options{})
	for name, w := range map[string]*httptest.ResponseRecorder{
		"page":    get(in, "/dev/inbox", "Accept", "text/html"),
		"JSON":    get(in, "/dev/inbox", "Accept", "application/json"),
		"refusal": get(in, "/dev/inbox", "Host", "evil.example"),
		"method":  do(in, http.MethodPost, "/dev/inbox"),
	} {
		for header, want := range map[string]string{
			"Cache-Control":                "no-store",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Referrer-Policy":              "no-referrer",
			"X-Content-Type-Options":       "nosniff",
			"X-Frame-Options":              "DENY",
		} {
			if got := w.Header().Get(header); got != want {
				t.Errorf("%s of %s = %q; want %q", header, name, got, want)
			}
		}
		policy := w.Header().Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("policy of %s = %q; want %s in it", name, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
			t.Errorf("policy of %s = %q; want a strict one", name, policy)
		}
	}
}

func TestNonce(t *testing.T) {
	in := inbox.New(inbox.Options{})
	nonces := make(map[string]bool)
	for range 10 {
		w := get(in, "/dev/inbox", "Accept", "text/html")
		var nonce string
		for _, directive := range []string{"script-src", "style-src"} {
			m := regexp.MustCompile(directive + ` 'nonce-([0-9a-f]{32})';`).FindStringSubmatch(w.Header().Get("Content-Security-Policy"))
			if m == nil {
				t.Fatalf("policy = %q; want a nonce for %s", w.Header().Get("Content-Security-Policy"), directive)
			}
			nonce = m[1]
		}
		nonces[nonce] = true
		page := w.Body.String()
		for _, tag := range []string{"script", "style"} {
			if got, want := strings.Count(page, "<"+tag), 1; got != want {
				t.Errorf("page has %d %s elements; want %d", got, tag, want)
			}
			if want := "<" + tag + ` nonce="` + nonce + `">`; !strings.Contains(page, want) {
				t.Errorf("page has no %s", want)
			}
		}
	}
	if len(nonces) != 10 {
		t.Errorf("10 pages have %d nonces; want 10", len(nonces))
	}
}

var hostile = []string{
	`<script>alert(1)</script>`,
	`</script><script>alert(1)</script>`,
	`</style><img src=x onerror=alert(1)>`,
	`</template></p></li><svg/onload=alert(1)>`,
	`" onmouseover="alert(1)`,
	`' onfocus='alert(1)' autofocus='`,
	"` onclick=alert(1) `",
	`{{.Nonce}}{{template "page.js"}}`,
	`javascript:alert(1)`,
	`<!--<script>`,
	`]]>&lt;b&gt;&#60;i&#62;`,
	"\x00\xff<b>\u2028\u202e\r\n<i>",
	`<base href=//evil.example>`,
	`<a href="//evil.example">`,
	`<form action=//evil.example><input name=to>`,
	`<meta http-equiv=refresh content=0>`,
}

// tag matches text that a browser would parse as a tag.
var tag = regexp.MustCompile(`<[a-zA-Z/!][^>]*>`)

func TestHostileTextStaysText(t *testing.T) {
	tags := func(text, code, to string) []string {
		in := inbox.New(inbox.Options{Rand: strings.NewReader(strings.Repeat("n", 16))})
		send(t, in, ada, text, code)
		target := "/dev/inbox?to=" + to
		page := get(in, target, "Accept", "text/html").Body.String()
		// The matches within style and script are not tags. They are the same on all pages.
		return tag.FindAllString(page, -1)
	}
	plain := strings.Join(tags("hello", "C", "607"), "\n")
	for _, text := range hostile {
		if got := strings.Join(tags(text, "C", "607"), "\n"); got != plain {
			t.Errorf("text %q changes the tags of the page:\n%s\nwant\n%s", text, got, plain)
		}
		// The code is also in an attribute. It may change only the value of this attribute.
		got := tags("hello", text, "607")
		for i, want := range strings.Split(plain, "\n") {
			if i >= len(got) || attributes(got[i]) != attributes(want) {
				t.Errorf("code %q makes %q of %q", text, got, want)
				break
			}
		}
	}
}

func TestHostileFilterStaysText(t *testing.T) {
	in := inbox.New(inbox.Options{})
	for _, text := range hostile {
		r := httptest.NewRequest(http.MethodGet, "http://localhost/dev/inbox", nil)
		q := r.URL.Query()
		q.Set("to", text)
		r.URL.RawQuery = q.Encode()
		r.Header.Set("Accept", "text/html")
		w := httptest.NewRecorder()
		in.ServeHTTP(w, r)
		m := regexp.MustCompile(`<input [^>]*>`).FindAllString(w.Body.String(), -1)
		if len(m) != 1 || attributes(m[0]) != "input autocomplete id inputmode maxlength name placeholder spellcheck type value" {
			t.Errorf("filter %q makes %q", text, m)
		}
	}
}

func TestHostileTextStaysJSON(t *testing.T) {
	in := inbox.New(inbox.Options{})
	for _, text := range hostile {
		send(t, in, ada, text, text)
		w := get(in, "/dev/inbox", "Accept", "application/json")
		if strings.ContainsAny(w.Body.String(), "<>&\u2028") {
			t.Errorf("JSON of %q contains characters with a meaning in HTML or scripts", text)
		}
		if got, want := list(t, in, "")[0].Text, strings.ToValidUTF8(text, "\ufffd"); got != want {
			t.Errorf("text = %q; want %q", got, want)
		}
	}
}

func TestEmptyPageShowsHowToSendAMessage(t *testing.T) {
	in := inbox.New(inbox.Options{})
	for _, tc := range []struct {
		name string
		tls  *tls.ConnectionState
		want string
	}{
		{"http", nil, "http://localhost:4100/auth/factors/$FACTOR_ID/challenge"},
		{"https", &tls.ConnectionState{}, "https://localhost:4100/auth/factors/$FACTOR_ID/challenge"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/dev/inbox", nil)
			r.Host, r.TLS = "localhost:4100", tc.tls
			r.Header.Set("Accept", "text/html")
			w := httptest.NewRecorder()
			in.ServeHTTP(w, r)
			if !strings.Contains(w.Body.String(), tc.want) {
				t.Errorf("empty page has no %s", tc.want)
			}
		})
	}
	for _, tc := range []struct {
		name, query     string
		empty, noneSuch bool
	}{
		{"before the first message", "", true, false},
		{"before the first message, filtered", "?to=1", true, false},
		{"after it", "", false, false},
		{"after it, for another number", "?to=99", false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if strings.HasPrefix(tc.name, "after") {
				send(t, in, ada, "hello", "123456")
			}
			page := get(in, "/dev/inbox"+tc.query, "Accept", "text/html").Body.String()
			if got := !strings.Contains(page, `id="empty" hidden`); got != tc.empty {
				t.Errorf("shows how to send a message: %t; want %t", got, tc.empty)
			}
			if got := !strings.Contains(page, `id="none" hidden`); got != tc.noneSuch {
				t.Errorf("shows that no message matches the filter: %t; want %t", got, tc.noneSuch)
			}
		})
	}
}

func TestPageShowsTheTimeOfAMessage(t *testing.T) {
	for _, tc := range []struct {
		age  time.Duration
		want string
	}{
		{-time.Second, "just now"},
		{4 * time.Second, "just now"},
		{5 * time.Second, "5 s ago"},
		{59 * time.Second, "59 s ago"},
		{time.Minute, "1 min ago"},
		{time.Hour, "1 h ago"},
		{47 * time.Hour, "47 h ago"},
		{48 * time.Hour, "2 days ago"},
	} {
		in := inbox.New(inbox.Options{Now: func() time.Time { return noon.Add(tc.age) }})
		send(t, in, ada, "hello", "123456")
		page := get(in, "/dev/inbox", "Accept", "text/html").Body.String()
		want := `<time datetime="2022-03-27T12:00:00.432Z"><span class="ago">` + tc.want +
			`</span> <span class="clock">27 Mar 2022, 12:00:00 UTC</span></time>`
		if !strings.Contains(page, want) {
			t.Errorf("after %v the page has no %s", tc.age, want)
		}
	}
}

// net/http's server changes the treatment of HEAD, Content-Length and an odd Host.
func TestOnARealServer(t *testing.T) {
	in := inbox.New(inbox.Options{})
	send(t, in, ada, "hello", "123456")
	mux := http.NewServeMux()
	mux.Handle("/dev/inbox", in)
	server := httptest.NewServer(mux)
	defer server.Close()

	res, err := server.Client().Get(server.URL + "/dev/inbox?to=" + ada)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(body), `"code":"123456"`) {
		t.Errorf("GET = %s, %v; want the message", body, err)
	}
	head, err := server.Client().Head(server.URL + "/dev/inbox")
	if err != nil {
		t.Fatal(err)
	}
	head.Body.Close()
	if head.StatusCode != http.StatusOK || head.ContentLength != int64(len(body)) {
		t.Errorf("HEAD = %d with length %d; want 200 with %d", head.StatusCode, head.ContentLength, len(body))
	}
}

var attribute = regexp.MustCompile(`\s([a-z-]+)(?:=(?:"[^"]*"|'[^']*'))?`)

// attributes returns the name of a tag and the sorted names of its attributes.
func attributes(tag string) string {
	names := []string{strings.Trim(strings.Fields(tag)[0], "<>")}
	for _, m := range attribute.FindAllStringSubmatch(tag, -1) {
		names = append(names, m[1])
	}
	slices.Sort(names[1:])
	return strings.Join(names, " ")
}
