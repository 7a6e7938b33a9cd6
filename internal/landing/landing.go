package landing

import (
	"bytes"
	"crypto/rand"
	"embed"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strconv"

	"github.com/countersign-mfa/countersign/internal/web"
)

// An example is a program that enrolls, challenges and verifies. docs/clients.md has the
// same one.
type example struct {
	Language string
	Example  string // its name in docs/clients.md
	Install  string // commands, or "" if nothing must be installed
	Save     string // name of the file
	Run      string
	file     string
	Program  string // the content of the file
}

//go:embed page.html page.css page.js snippets
var files embed.FS

var examples = read([]example{
	{Language: "curl", Example: "curl", Save: "mfa.sh", Run: "bash mfa.sh", file: "curl.sh"},
	{Language: "JavaScript", Example: "JavaScript from 9", Install: "npm init -y && npm install @workos-inc/node@11", Save: "mfa.mjs", Run: "node mfa.mjs", file: "javascript.mjs"},
	{Language: "Python", Example: "Python from 6", Install: "pip install workos==10.8.0", Save: "mfa.py", Run: "python3 mfa.py", file: "python.py"},
	{Language: "Ruby", Example: "Ruby 10", Install: "gem install workos --version 10.2.1", Save: "mfa.rb", Run: "ruby mfa.rb", file: "ruby.rb"},
	{Language: "PHP", Example: "PHP 9", Install: "composer require workos/workos-php:^9", Save: "mfa.php", Run: "php mfa.php", file: "php.php"},
	{Language: ".NET", Example: ".NET 6", Install: "dotnet new console && dotnet add package WorkOS.net --version 6.2.0", Save: "Program.cs", Run: "dotnet run", file: "dotnet.cs"},
	{Language: "Java", Example: "Java from 7", Install: "mvn dependency:copy-dependencies # with com.workos:workos:7.2.0 in pom.xml", Save: "Example.java", Run: "java -cp 'target/dependency/*' Example.java", file: "java.txt"},
	{Language: "Go", Example: "Go from 7", Install: "go mod init example && go get github.com/workos/workos-go/v9@v9.6.0", Save: "main.go", Run: "go run .", file: "go.txt"},
})

func read(all []example) []example {
	for i, e := range all {
		text, err := files.ReadFile("snippets/" + e.file)
		if err != nil {
			panic("landing: " + err.Error()) // the file is embedded
		}
		all[i].Program = string(text)
	}
	return all
}

// html/template escapes each value for its context in the page.
var pageTemplate = template.Must(template.Must(web.PageStyle.Clone()).ParseFS(files, "page.*"))

// A Page is an http.Handler for the path /. It is safe for concurrent use.
type Page struct {
	opts  Options
	hosts web.Hosts
}

// Options say what a Page shows.
type Options struct {
	Key         func() string // the API key; shown only to programs on the same machine
	Environment string        // that the key belongs to
	Version     string
	Resets      bool // POST /dev/reset is served
	Clock       bool // /dev/clock is served
}

// New returns a Page.
func New(opts Options) *Page { return &Page{opts: opts, hosts: web.NewHosts()} }

// page is the data of page.html.
type page struct {
	Options
	Nonce    string
	URL      string // of the server, without a slash at its end
	Secret   string // the key; "" if it is not shown
	Examples []example
}

// ServeHTTP answers GET and HEAD.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	web.Protect(w.Header())
	if !p.hosts.Answer(r.Host) || web.IsForeign(r) {
		http.Error(w, "The page of 'countersign dev' answers only under an IP address or localhost, and not to other sites.", http.StatusForbidden)
		return
	}
	body, nonce, err := p.render(r)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", web.PagePolicy(nonce))
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		w.Write(body) // an error means that the client has gone
	}
}

func (p *Page) render(r *http.Request) (body []byte, nonce string, err error) {
	if nonce, err = web.NewNonce(rand.Reader); err != nil {
		return nil, "", err
	}
	data := page{Options: p.opts, Nonce: nonce, URL: web.Origin(r), Examples: examples}
	if isLocal(r.RemoteAddr) {
		data.Secret = p.opts.Key()
	}
	var b bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&b, "page.html", data); err != nil {
		return nil, "", fmt.Errorf("render the first page: %w", err)
	}
	return b.Bytes(), nonce, nil
}

// isLocal reports whether a client is on this machine. A client of a Unix socket has no
// address.
func isLocal(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr == "" || addr == "@"
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
