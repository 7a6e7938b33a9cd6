// Package explorer serves a page of 'countersign dev' that sends the requests of
// openapi.yaml. document.go reads the file, explorer.go serves the page.
package explorer
