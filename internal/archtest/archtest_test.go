// Package archtest_test checks the import rule: imports run downward only. The
// table of places is the architecture. The commit that adds a package adds its
// place.
package archtest_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/countersign-mfa/countersign"

// A layer decides which of Countersign's packages its packages may import. A place
// may allow more in also.
type layer int

const (
	command layer = iota // a main package: signals and exit code
	cli                  // the commands
	library              // the root package, for embedding the server in another program; it contains openapi.yaml
	config               // one struct
	server               // wires one process; the only package that imports all others
	face                 // talks to clients and people
	web                  // shared by the faces
	adapter              // talks to databases and providers
	middle               // the domain
	ground               // imports none of Countersign's packages
	support              // for tests: imported only by tests and by other support packages
	tool                 // a program that only this repository uses
)

// below lists the layers that each layer may import.
var below = map[layer][]layer{
	command: {cli},
	cli:     {library, config, server, middle, ground},
	library: {config, server, middle, ground},
	config:  {ground},
	server:  {config, face, web, adapter, middle, ground},
	face:    {web, middle, ground},
	web:     {ground},
	adapter: {middle, ground},
	middle:  {ground},
	ground:  {},
	support: {support, middle, ground},
	tool:    {},
}

// A place is the position of a package in the architecture.
type place struct {
	layer layer
	also  []string // more of Countersign's packages that it may import
	never []string // packages of the standard library or other modules that it must not import
}

// places has every package of the module by directory, except packages that contain
// only tests. It also has some planned packages. "parent/*" is every other package in parent.
var places = map[string]place{
	"cmd/countersign": {layer: command},
	"internal/cli":    {layer: cli},
	".":               {layer: library},
	"internal/config": {layer: config},
	"internal/server": {layer: server},

	"internal/httpapi":     {layer: face},
	"internal/console":     {layer: face},
	"internal/operatorapi": {layer: face},
	"internal/inbox":       {layer: face},
	"internal/explorer":    {layer: face},
	"internal/landing":     {layer: face},
	"internal/web":         {layer: web},

	"internal/metrics":          {layer: adapter},
	"internal/eventsink":        {layer: adapter},
	"internal/signin/openid":    {layer: adapter},
	"internal/webhook/post":     {layer: adapter},
	"internal/store/inspection": {layer: adapter},
	"internal/store/migrate":    {layer: adapter},
	"internal/store/queue":      {layer: adapter},
	"internal/store/recent":     {layer: adapter},
	"internal/store/rows":       {layer: adapter},
	"internal/store/transfer":   {layer: adapter},
	"internal/store/postgres":   {layer: adapter, also: []string{"internal/store/inspection", "internal/store/migrate", "internal/store/queue", "internal/store/recent", "internal/store/rows", "internal/store/transfer"}},
	"internal/store/sqlite":     {layer: adapter, also: []string{"internal/store/inspection", "internal/store/migrate", "internal/store/queue", "internal/store/recent", "internal/store/rows", "internal/store/transfer"}},

	// A provider imports no other provider. Only the registry imports all of them.
	"internal/delivery/sms":           {layer: adapter},
	"internal/delivery/sms/wire":      {layer: adapter, also: []string{"internal/delivery/sms"}},
	"internal/delivery/sms/*":         {layer: adapter, also: []string{"internal/delivery/sms", "internal/delivery/sms/wire"}},
	"internal/delivery/sms/providers": {layer: adapter, also: []string{"internal/config", "internal/delivery/sms", "internal/delivery/sms/*"}},
	"internal/delivery/smsfile":       {layer: adapter, also: []string{"internal/config", "internal/delivery/sms", "internal/delivery/sms/providers"}},
	"internal/delivery/sms/smstest":   {layer: support, also: []string{"internal/delivery/sms", "internal/delivery/sms/wire", "internal/delivery/sms/webhook"}},

	// An API key refers to an environment of mfa. mfa must not import access.
	"internal/access":      {layer: middle, also: []string{"internal/mfa"}},
	"internal/eventexport": {layer: middle, also: []string{"internal/events", "internal/eventwire", "internal/mfa"}, never: []string{"net/http", "database/sql"}},

	"internal/events": {layer: middle, also: []string{"internal/mfa"}, never: []string{"net/http", "database/sql", "encoding/json"}},
	"internal/mfa":    {layer: middle, also: []string{"internal/delivery", "internal/idempotency"}, never: []string{"net/http", "database/sql", "encoding/json"}},

	"internal/operatorwire": {layer: middle, also: []string{"internal/mfa", "internal/operator"}, never: []string{"net/http", "database/sql"}},
	"internal/operator":     {layer: middle, also: []string{"internal/access", "internal/delivery", "internal/events", "internal/idempotency", "internal/mfa", "internal/stats"}, never: []string{"net/http", "database/sql", "encoding/json"}},

	// A challenge has messages; a message knows no factors and no challenges. So mfa imports
	// delivery.
	"internal/delivery": {layer: middle, never: []string{"net/http", "database/sql", "encoding/json"}},

	"internal/eventwire": {layer: middle, also: []string{"internal/events", "internal/mfa"}, never: []string{"net/http", "database/sql", "encoding/json"}},

	"internal/seed":   {layer: middle, also: []string{"internal/access", "internal/mfa", "internal/webhook"}, never: []string{"net/http", "database/sql"}},
	"internal/nodes":  {layer: middle, never: []string{"net/http", "database/sql", "encoding/json"}},
	"internal/certs":  {layer: middle},
	"internal/signin": {layer: middle, also: []string{"internal/access", "internal/mfa", "internal/operator"}, never: []string{"net/http", "database/sql"}},
	"internal/stats":  {layer: middle, also: []string{"internal/delivery", "internal/events", "internal/mfa"}, never: []string{"net/http", "database/sql", "encoding/json"}},

	"internal/webhook": {layer: middle, also: []string{"internal/events", "internal/mfa"}, never: []string{"net/http", "database/sql"}},

	"internal/idempotency": {layer: middle, never: []string{"net/http", "database/sql", "encoding/json"}},

	"internal/wallclock":  {layer: ground},
	"internal/admission":  {layer: ground, also: []string{"internal/wallclock"}},
	"internal/backup":     {layer: ground, also: []string{"internal/atomicfile", "internal/wallclock"}},
	"internal/atomicfile": {layer: ground},
	"internal/browser":    {layer: ground},
	"internal/ids":        {layer: ground},
	"internal/passkey":    {layer: ground},
	"internal/pgurl":      {layer: ground},
	"internal/cleantext":  {layer: ground},
	"internal/progress":   {layer: ground},
	"internal/qr":         {layer: ground},
	"internal/ratelimit":  {layer: ground},
	"internal/receipt":    {layer: ground, also: []string{"internal/secret"}},
	"internal/sdnotify":   {layer: ground},
	"internal/sdsocket":   {layer: ground},
	"internal/secret":     {layer: ground, also: []string{"internal/atomicfile"}},
	"internal/softkey":    {layer: ground},
	"internal/totp":       {layer: ground},
	"internal/trace":      {layer: ground},
	"internal/smstext":    {layer: ground, also: []string{"internal/cleantext"}},

	"internal/logcapture":      {layer: support},
	"internal/mfa/mfatest":     {layer: support},
	"internal/openapitest":     {layer: support},
	"internal/passkey/*":       {layer: support},
	"internal/signin/openid/*": {layer: support},
	"internal/pgtest":          {layer: support},
	"internal/sqlitetest":      {layer: support, also: []string{"internal/store/sqlite"}},
	"internal/testenv":         {layer: support},
	"internal/store/storetest": {layer: support, also: []string{"internal/store/transfer"}},

	"internal/tools/logcheck": {layer: tool},

	// The bench sees the server from outside. Its only imports from the product start a database and
	// answer for a passkey; history writes rows into stores that no server uses yet.
	"internal/tools/bench":         {layer: tool, also: []string{"internal/pgtest", "internal/softkey", "internal/tools/bench/bare", "internal/tools/bench/history", "internal/tools/bench/load"}},
	"internal/tools/bench/history": {layer: tool, also: []string{"internal/delivery", "internal/mfa", "internal/secret", "internal/store/postgres", "internal/store/sqlite", "internal/store/transfer"}},
	"internal/tools/bench/bare":    {layer: tool},
	"internal/tools/bench/load":    {layer: tool},
}

// wrapped lists modules that only one package imports.
var wrapped = map[string]string{
	"github.com/go-webauthn/webauthn": "internal/passkey",
}

// neverAnywhere lists packages that only tests import.
var neverAnywhere = map[string]string{
	"math/rand":    "randomness comes from crypto/rand, injected",
	"math/rand/v2": "randomness comes from crypto/rand, injected",
}

func TestImportsRunDownwardOnly(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	packages, err := readPackages(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) == 0 {
		t.Fatal("found no package: is this test still two directories below go.mod?")
	}
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		for _, imported := range packages[dir] {
			if fault := judge(dir, imported.path); fault != "" {
				t.Errorf("%s: %s", imported.at, fault)
			}
		}
		if _, _, ok := placeOf(dir); !ok {
			t.Errorf("%s has no place: add it to the table in internal/archtest/archtest_test.go", dir)
		}
	}
}

func TestTheRuleRefuses(t *testing.T) {
	const ours = module + "/"
	for _, tc := range []struct {
		name, from, to string
		allowed        bool
	}{
		{"the command imports cli", "cmd/countersign", ours + "internal/cli", true},
		{"the command imports nothing else", "cmd/countersign", ours + "internal/server", false},
		{"the library imports the server", ".", ours + "internal/server", true},
		{"the library imports no store", ".", ours + "internal/store/sqlite", false},
		{"the library imports no face", ".", ours + "internal/httpapi", false},
		{"the library does not import cli", ".", ours + "internal/cli", false},
		{"cli takes openapi.yaml from the library", "internal/cli", module, true},
		{"cli leaves the wiring to the server", "internal/cli", ours + "internal/store/sqlite", false},
		{"the server imports a store", "internal/server", ours + "internal/store/sqlite", true},
		{"the server does not import the library", "internal/server", module, false},
		{"a face imports the domain", "internal/httpapi", ours + "internal/mfa", true},
		{"a face imports no face", "internal/httpapi", ours + "internal/console", false},
		{"a face imports no adapter", "internal/httpapi", ours + "internal/metrics", false},
		{"a face imports what faces share", "internal/httpapi", ours + "internal/web", true},
		{"what faces share does not know the domain", "internal/web", ours + "internal/mfa", false},
		{"a face does not read config", "internal/httpapi", ours + "internal/config", false},
		{"an adapter imports no face", "internal/metrics", ours + "internal/httpapi", false},
		{"an adapter imports no adapter", "internal/delivery/sms", ours + "internal/webhook/post", false},
		{"a provider imports the router", "internal/delivery/sms/twilio", ours + "internal/delivery/sms", true},
		{"a provider imports no other", "internal/delivery/sms/twilio", ours + "internal/delivery/sms/vonage", false},
		{"the router imports no provider", "internal/delivery/sms", ours + "internal/delivery/sms/twilio", false},
		{"one store imports no other", "internal/store/postgres", ours + "internal/store/sqlite", false},
		{"a store imports the migrator", "internal/store/sqlite", ours + "internal/store/migrate", true},
		{"only tests import the suite of the stores", "internal/store/sqlite", ours + "internal/store/storetest", false},
		{"the suite imports the domain", "internal/store/storetest", ours + "internal/mfa", true},
		{"the domain imports the ground", "internal/mfa", ours + "internal/totp", true},
		{"the domain imports no store", "internal/mfa", ours + "internal/store/sqlite", false},
		{"access may import mfa", "internal/access", ours + "internal/mfa", true},
		{"mfa does not import access", "internal/mfa", ours + "internal/access", false},
		{"the domain does not know HTTP", "internal/mfa", "net/http", false},
		{"the domain does not know SQL", "internal/mfa", "database/sql", false},
		{"the domain does not know JSON", "internal/mfa", "encoding/json", false},
		{"the ground imports none of Countersign's packages", "internal/totp", ours + "internal/secret", false},
		{"only one package imports the WebAuthn library", "internal/mfa", "github.com/go-webauthn/webauthn/protocol", false},
		{"passkey imports the WebAuthn library", "internal/passkey", "github.com/go-webauthn/webauthn/protocol", true},
		{"a tool sees the server from outside", "internal/tools/bench", ours + "internal/mfa", false},
		{"no package draws weak randomness", "internal/server", "math/rand/v2", false},
		{"a package without a place is not imported", "internal/server", ours + "internal/util", false},
		{"layers do not concern other modules", "internal/mfa", module + "-go", true},
		{"the standard library is allowed", "internal/totp", "crypto/hmac", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if fault := judge(tc.from, tc.to); (fault == "") != tc.allowed {
				t.Errorf("judge(%q, %q) = %q", tc.from, tc.to, fault)
			}
		})
	}
}

// placeOf returns the place of the package in dir and its entry in the table: dir
// itself, or the pattern "parent/*".
func placeOf(dir string) (p place, entry string, ok bool) {
	for _, entry := range []string{dir, path.Dir(dir) + "/*"} {
		if p, ok := places[entry]; ok {
			return p, entry, true
		}
	}
	return place{}, "", false
}

// judge returns the fault of an import of path by the package in dir, or "" if the
// import is allowed.
func judge(dir, path string) string {
	if reason, ok := neverAnywhere[path]; ok {
		return fmt.Sprintf("%s imports %s: %s", dir, path, reason)
	}
	for m, only := range wrapped {
		if dir != only && (path == m || strings.HasPrefix(path, m+"/")) {
			return fmt.Sprintf("%s imports %s, which only %s imports", dir, path, only)
		}
	}
	from, _, ok := placeOf(dir)
	if !ok {
		return "" // TestImportsRunDownwardOnly reports it once
	}
	if slices.Contains(from.never, path) {
		return fmt.Sprintf("%s imports %s, which it must not know", dir, path)
	}
	target, ok := directory(path)
	if !ok {
		return ""
	}
	to, entry, ok := placeOf(target)
	if !ok {
		return fmt.Sprintf("%s imports %s, which has no place in the table", dir, target)
	}
	if !slices.Contains(below[from.layer], to.layer) && !slices.Contains(from.also, target) && !slices.Contains(from.also, entry) {
		return fmt.Sprintf("%s imports %s, which is not below it", dir, target)
	}
	return ""
}

// directory returns the directory of one of Countersign's packages.
func directory(importPath string) (string, bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// An importSpec is an import with its file and line.
type importSpec struct{ path, at string }

// readPackages returns the imports of every package under root for all platforms,
// without tests, by the directory of the package with forward slashes. It reads the
// files itself: go test would not see the files that go list reads, and would use a
// cached result.
func readPackages(root string) (map[string][]importSpec, error) {
	packages := map[string][]importSpec{}
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != root && notOurs(name, entry.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(files, name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		dir := path.Dir(relative)
		if packages[dir] == nil {
			packages[dir] = []importSpec{} // a package without imports counts too
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			at := fmt.Sprintf("%s:%d", relative, files.Position(spec.Pos()).Line)
			packages[dir] = append(packages[dir], importSpec{imported, at})
		}
		return nil
	})
	return packages, err
}

// notOurs reports whether a directory is not part of the module.
func notOurs(name, base string) bool {
	switch {
	case strings.HasPrefix(base, "."), strings.HasPrefix(base, "_"):
		return true
	case base == "testdata", base == "node_modules", base == "vendor":
		return true
	}
	_, err := os.Stat(filepath.Join(name, "go.mod"))
	return err == nil
}
