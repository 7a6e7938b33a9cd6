package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/countersign-mfa/countersign/internal/web"
)

// The files of pages. Those of other projects are unchanged; static/LICENSES.txt has their
// licenses.
//
//go:embed static
var staticFiles embed.FS

// An asset is a static file. Its path contains a hash of its content, so browsers may keep
// it forever.
type asset struct {
	path        string
	contentType string
	content     []byte
}

var assetTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
	".txt": "text/plain; charset=utf-8",
}

// assets has the static files by their names, and assetsByPath by their last path elements.
var assets, assetsByPath = loadAssets()

func loadAssets() (byName, byPath map[string]asset) {
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		panic("console: " + err.Error())
	}
	byName, byPath = map[string]asset{}, map[string]asset{}
	for _, e := range entries {
		content, err := staticFiles.ReadFile("static/" + e.Name())
		if err != nil {
			panic("console: " + err.Error())
		}
		sum := sha256.Sum256(content)
		ext := path.Ext(e.Name())
		hashed := strings.TrimSuffix(e.Name(), ext) + "-" + hex.EncodeToString(sum[:6]) + ext
		a := asset{path: root + "/static/" + hashed, contentType: assetTypes[ext], content: content}
		byName[e.Name()], byPath[hashed] = a, a
	}
	return byName, byPath
}

// staticPath returns the path of a static file.
func staticPath(name string) (string, error) {
	a, ok := assets[name]
	if !ok {
		return "", fmt.Errorf("there is no static file %s", name)
	}
	return a.path, nil
}

// static serves GET /console/static/{file}.
func (c *Console) static(w http.ResponseWriter, r *request) error {
	a, ok := assetsByPath[r.PathValue("file")]
	if !ok {
		return web.ErrNoRoute
	}
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(len(a.content)))
	if r.Method != http.MethodHead {
		w.Write(a.content) // an error means that the client has gone
	}
	return nil
}
