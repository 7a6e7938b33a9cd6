// Package console is the web console: pages for the people who administer Countersign. Like the
// commands and the operator API, it is a face of package operator.
//
// Start reading at Console, and then at routes.go, which lists every page and action with the
// permission that it needs. Each page has one file with its handler and its view, and next to
// it a template with the same name. layout.html is around all of them.
//
// The pages work without JavaScript. static/console.js adds live updates and charts. There is
// no build step: the files of static are served as they are.
package console
