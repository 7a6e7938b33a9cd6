package landing

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"

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
var pageTemplate = template.Must(template.Must(web.PageParts.Clone()).ParseFS(files, "page.*"))

// Options say what the page shows.
type Options struct {
	Key         func() string // the API key; shown only to programs on the same machine
	Environment string        // that the key belongs to
	Version     string
	Resets      bool // POST /dev/reset is served
	Clock       bool // /dev/clock is served
}

// New returns the page, an http.Handler for the path /.
func New(opts Options) *web.Page {
	return web.NewPage(func(r *http.Request, nonce string) ([]byte, error) {
		data := page{Options: opts, Nonce: nonce, URL: web.Origin(r), Examples: examples}
		if web.IsLocal(r) {
			data.Secret = opts.Key()
		}
		var b bytes.Buffer
		err := pageTemplate.ExecuteTemplate(&b, "page.html", data)
		return b.Bytes(), err
	})
}

// page is the data of page.html.
type page struct {
	Options
	Nonce    string
	URL      string // of the server, without a slash at its end
	Secret   string // the key; "" if it is not shown
	Examples []example
}
