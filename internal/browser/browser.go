// Package browser has the JavaScript module that pages of applications import.
package browser

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
)

//go:embed countersign.js
var source string

// module is the source without comments, empty lines and indentation.
var module = compact(source)

// etag changes with the module.
var etag = func() string {
	sum := sha256.Sum256([]byte(module))
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}()

func compact(source string) string {
	var b strings.Builder
	for line := range strings.Lines(source) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "//") || strings.HasPrefix(line, "/*") || strings.HasPrefix(line, "*") {
			continue
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// ServeModule answers GET and HEAD with the module. Pages of every origin may load it: it
// contains nothing that belongs to an installation.
func ServeModule(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("ETag", etag)
	h.Set("X-Content-Type-Options", "nosniff")
	if strings.Contains(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(module)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		io.WriteString(w, module) // an error means that the client has gone
	}
}
