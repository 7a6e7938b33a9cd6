package web_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/web"
)

func proxies(t testing.TB, list ...string) web.Remote {
	t.Helper()
	trusted, unix, err := web.ParseProxies(list)
	if err != nil {
		t.Fatal(err)
	}
	return web.Remote{Form: web.FullAddr, Proxies: trusted, Unix: unix}
}

func TestTheAddressIsTheFirstOneThatIsNotATrustedProxy(t *testing.T) {
	remote := proxies(t, "10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48")
	for _, tc := range []struct {
		name, peer string
		header     []string
		want       string
	}{
		{"no header", "10.0.0.1:5000", nil, "10.0.0.1"},
		{"one proxy", "10.0.0.1:5000", []string{"198.51.100.9"}, "198.51.100.9"},
		{"two proxies", "10.0.0.1:5000", []string{"198.51.100.9, 192.0.2.7"}, "198.51.100.9"},
		{"two header lines", "10.0.0.1:5000", []string{"198.51.100.9", "192.0.2.7"}, "198.51.100.9"},
		{"only proxies", "10.0.0.1:5000", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"a port", "10.0.0.1:5000", []string{"198.51.100.9:4711"}, "198.51.100.9"},
		{"IPv6", "[2001:db8:1::1]:5000", []string{"2001:db8:9::1"}, "2001:db8:9::1"},
		{"IPv6 with a port", "10.0.0.1:5000", []string{"[2001:db8:9::1]:80"}, "2001:db8:9::1"},
		{"IPv6 in brackets", "10.0.0.1:5000", []string{"[2001:db8:9::1]"}, "2001:db8:9::1"},
		{"an IPv4 proxy in the form of IPv6", "[::ffff:10.0.0.1]:5000", []string{"::ffff:198.51.100.9"}, "198.51.100.9"},
		{"a zone", "[fe80::1%eth0]:5000", nil, "fe80::1"},

		{"a peer that is no proxy", "198.51.100.9:5000", []string{"203.0.113.1"}, "198.51.100.9"},
		{"an invented first address", "10.0.0.1:5000", []string{"203.0.113.1, 198.51.100.9"}, "198.51.100.9"},
		{"invented proxies", "10.0.0.1:5000", []string{"203.0.113.1, 10.0.0.9, 198.51.100.9, 192.0.2.7"}, "198.51.100.9"},
		{"an invented line before the proxy's", "10.0.0.1:5000", []string{"203.0.113.1", "198.51.100.9"}, "198.51.100.9"},
		{"no address", "10.0.0.1:5000", []string{"unknown"}, "10.0.0.1"},
		{"no address behind two proxies", "10.0.0.1:5000", []string{"203.0.113.1, -, 192.0.2.7"}, "192.0.2.7"},
		{"an empty item", "10.0.0.1:5000", []string{"203.0.113.1, "}, "10.0.0.1"},
		{"an empty line", "10.0.0.1:5000", []string{"203.0.113.1", ""}, "10.0.0.1"},
		{"a new line in a zone", "10.0.0.1:5000", []string{"fe80::1%\n{\"level\":\"ERROR\"}"}, "fe80::1"},
		{"a host name", "10.0.0.1:5000", []string{"localhost"}, "10.0.0.1"},
		{"a network", "10.0.0.1:5000", []string{"198.51.100.0/24"}, "10.0.0.1"},
		{"a number", "10.0.0.1:5000", []string{"3325256713"}, "10.0.0.1"},
		{"a long text", "10.0.0.1:5000", []string{strings.Repeat("1", 30000)}, "10.0.0.1"},
		{"many commas", "10.0.0.1:5000", []string{strings.Repeat(",", 30000)}, "10.0.0.1"},
		{"a peer without an address", "", []string{"203.0.113.1"}, ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = tc.peer
		r.Header["X-Forwarded-For"] = tc.header
		r.Header.Set("Forwarded", "for=203.0.113.77")
		r.Header.Set("X-Real-Ip", "203.0.113.78")
		if got := remote.Of(r); got != tc.want {
			t.Errorf("%s: the address of %s with %.80q is %q; want %q", tc.name, tc.peer, tc.header, got, tc.want)
		}
	}
}

func TestForwardedIsReadFromTheRight(t *testing.T) {
	remote := proxies(t, "10.0.0.0/8")
	remote.Header = web.Forwarded
	for _, tc := range []struct {
		name   string
		header []string
		want   string
	}{
		{"an address", []string{"for=198.51.100.9"}, "198.51.100.9"},
		{"all parameters", []string{`By=10.0.0.1; For="198.51.100.9:80";host="a,b";proto=https`}, "198.51.100.9"},
		{"IPv6", []string{`for="[2001:db8:9::1]:4711"`}, "2001:db8:9::1"},
		{"two proxies", []string{"for=198.51.100.9;proto=https, for=10.0.0.2"}, "198.51.100.9"},
		{"two lines", []string{"for=198.51.100.9", "for=10.0.0.2"}, "198.51.100.9"},
		{"an invented first address", []string{"for=203.0.113.1, for=198.51.100.9"}, "198.51.100.9"},
		{"an open quotation mark", []string{`for="203.0.113.1, for=198.51.100.9`}, "198.51.100.9"},
		{"an open quotation mark in a value", []string{`host=", for=198.51.100.9`}, "198.51.100.9"},
		{"an escaped quotation mark", []string{`for=203.0.113.1, host="\"", for=198.51.100.9`}, "198.51.100.9"},
		{"an unknown client", []string{"for=203.0.113.1, for=unknown"}, "10.0.0.1"},
		{"a hidden client", []string{"for=203.0.113.1, for=_secret"}, "10.0.0.1"},
		{"no for", []string{"for=203.0.113.1, by=10.0.0.1"}, "10.0.0.1"},
		{"two for", []string{"for=203.0.113.1;for=198.51.100.9"}, "10.0.0.1"},
		{"a backslash", []string{`for="\1.1.1.1"`}, "10.0.0.1"},
		{"not the header", []string{"198.51.100.9"}, "10.0.0.1"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "10.0.0.1:5000"
		r.Header["Forwarded"] = tc.header
		r.Header.Set("X-Forwarded-For", "203.0.113.77")
		if got := remote.Of(r); got != tc.want {
			t.Errorf("%s: the address with %q is %q; want %q", tc.name, tc.header, got, tc.want)
		}
	}
}

func TestTheFormOfAnAddressIsChosen(t *testing.T) {
	for _, tc := range []struct {
		form       web.AddrForm
		peer, want string
	}{
		{web.FullAddr, "198.51.100.9:80", "198.51.100.9"},
		{web.AddrNet, "198.51.100.9:80", "198.51.100.0/24"},
		{web.AddrNet, "[2001:db8:9:8:7::1]:80", "2001:db8:9::/48"},
		{web.AddrNet, "", ""},
		{web.NoAddr, "198.51.100.9:80", ""},
		{"", "198.51.100.9:80", ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = tc.peer
		if got := (web.Remote{Form: tc.form}).Of(r); got != tc.want {
			t.Errorf("form %q of %s is %q; want %q", tc.form, tc.peer, got, tc.want)
		}
	}
}

// TestOnAUnixSocket has a peer whose socket has the name of an address.
func TestOnAUnixSocket(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "203.0.113.1:80"
	r.Header.Set("X-Forwarded-For", "203.0.113.2, 198.51.100.9")
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.UnixAddr{Name: "/run/api.sock", Net: "unix"}))
	if got := proxies(t, "203.0.113.0/24").Of(r); got != "" {
		t.Errorf("the address is %q; want none: the socket is not trusted", got)
	}
	if got := proxies(t, "unix").Of(r); got != "198.51.100.9" {
		t.Errorf("the address is %q; want that of the header", got)
	}
}

func TestTrustedProxiesAreChecked(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"proxy.example.com", "is not a network"},
		{"10.0.0.0/33", "is not a network"},
		{"", "is not a network"},
		{"fe80::1%eth0", "is not a network"},
		{"10.0.0.1/8", "write 10.0.0.0/8"},
		{"::ffff:10.0.0.0/104", "form of IPv6"},
		{"0.0.0.0/0", "contains every address"},
		{"::/0", "contains every address"},
	} {
		if _, _, err := web.ParseProxies([]string{"10.0.0.0/8", tc.text}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("ParseProxies(%q) = %v; want %q", tc.text, err, tc.want)
		}
	}
	got, unix, err := web.ParseProxies([]string{"::ffff:10.0.0.1", "2001:db8::/32", "unix"})
	if err != nil || !unix || len(got) != 2 || got[0].String() != "10.0.0.1/32" {
		t.Errorf("ParseProxies = %v, %t, %v", got, unix, err)
	}
}

// FuzzForwarded has a proxy that appends the address of its client to the headers that
// the client has sent.
func FuzzForwarded(f *testing.F) {
	for _, seed := range []string{"", "for=1.1.1.1", `for="`, `"`, `\`, "1.1.1.1,", `host="a,`, "10.0.0.1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, client string) {
		remote := proxies(t, "10.0.0.0/8")
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "10.0.0.1:5000"
		r.Header["X-Forwarded-For"] = []string{client + ", 198.51.100.9"}
		r.Header["Forwarded"] = []string{client + ", for=198.51.100.9;proto=https"}
		for _, header := range []web.ProxyHeader{web.XForwardedFor, web.Forwarded} {
			remote.Header = header
			if got := remote.Of(r); got != "198.51.100.9" {
				t.Errorf("%s: %q moves the address to %q", header, client, got)
			}
		}
		r.Header["X-Forwarded-For"], r.Header["Forwarded"] = []string{client}, []string{client}
		for _, header := range []web.ProxyHeader{web.XForwardedFor, web.Forwarded} {
			remote.Header = header
			if _, err := netip.ParseAddr(remote.Of(r)); err != nil {
				t.Errorf("%s: %q is logged as %q", header, client, remote.Of(r))
			}
		}
	})
}

func TestALineHasTheAddressAndTheCode(t *testing.T) {
	f := newFixture(web.Options{Remote: proxies(t, "192.0.2.1")}) // the peer of httptest
	f.mux.Handle("GET /subject", func(w http.ResponseWriter, r *web.Request) error {
		r.Caller, r.Subject = "key_1", web.Subject{Environment: "production", Factor: "factor-1", Challenge: "challenge-1"}
		if r.URL.RawQuery != "" {
			return &web.RateError{}
		}
		return web.Respond(w, http.StatusOK, "fine")
	})
	for _, tc := range []struct{ path, want string }{
		{"/subject", `"key":"key_1","environment":"production","factor":"factor-1","challenge":"challenge-1","remote_addr":"192.0.2.1"}`},
		{"/subject?x", `"key":"key_1","code":"rate_limit_exceeded","environment":"production","factor":"factor-1","challenge":"challenge-1","remote_addr":"192.0.2.1"}`},
		{"/panic", `"key":"","code":"internal_error","remote_addr":"192.0.2.1"}`},
		{"/nowhere", `"key":"","remote_addr":"192.0.2.1"}`},
	} {
		f.log.Reset()
		f.do("GET", tc.path, nil)
		if log := f.log.String(); !strings.Contains(log, tc.want) {
			t.Errorf("%s is logged as\n%s; want %s", tc.path, log, tc.want)
		}
	}
}

func TestALineAboutAnUnreadableRequestHasTheAddress(t *testing.T) {
	f := newFixture(web.Options{Remote: proxies(t)})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: f.mux}
	served := make(chan error, 1)
	go func() { served <- server.Serve(f.mux.Listener(ln)) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /% HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.1\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || answer.StatusCode != http.StatusBadRequest {
		t.Fatalf("answered %v, %v", answer, err)
	}
	server.Close()
	<-served
	if want := `"code":"malformed_request","remote_addr":"127.0.0.1"`; !strings.Contains(f.log.String(), want) {
		t.Errorf("logged\n%s; want %s", &f.log, want)
	}
}
