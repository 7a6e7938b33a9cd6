package explorer

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A group has the operations of a tag, in the order of openapi.yaml.
type group struct {
	Name        string
	Description []paragraph
	Operations  []operation
}

// An operation is a method of a path.
type operation struct {
	ID          string // operationId
	Method      string // in capitals
	Path        string // with parameters in braces
	Summary     string
	Description []paragraph
	Key         string // "api", "operator", or "" if it takes none
	Parameters  []parameter
	Bodies      []body // examples; nil if the operation has no body
}

// A parameter is a part of the path, of the query or a header.
type parameter struct {
	Name        string
	In          string // "path", "query" or "header"
	Required    bool
	Description string
	Example     string // "" without one
}

// A body is an example of a request's JSON.
type body struct {
	Name string // "" for the only one
	JSON string
}

// A paragraph is text, or an item of a list.
type paragraph struct {
	Item  bool
	Parts []part
}

// A part is text in one font.
type part struct {
	Code bool
	Text string
}

var methods = map[string]bool{"get": true, "post": true, "put": true, "patch": true, "delete": true}

// read returns the operations of an OpenAPI document, by their first tag.
func read(text []byte) ([]group, error) {
	var d document
	if err := yaml.Unmarshal(text, &d.root); err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	if len(d.root.Content) != 1 {
		return nil, errors.New("read openapi.yaml: it is empty")
	}
	top := d.root.Content[0]
	var groups []group
	at := map[string]int{}
	for _, tag := range d.at(top, "tags").Content {
		at[d.text(tag, "name")] = len(groups)
		groups = append(groups, group{Name: d.text(tag, "name"), Description: paragraphs(d.text(tag, "description"))})
	}
	err := d.each(d.at(top, "paths"), func(path string, item *yaml.Node) error {
		return d.each(item, func(method string, node *yaml.Node) error {
			if !methods[method] {
				return nil
			}
			op, err := d.operation(method, path, item, node)
			if err != nil {
				return fmt.Errorf("read openapi.yaml: %s %s: %w", method, path, err)
			}
			i, ok := at[d.text(d.at(node, "tags"), "")]
			if !ok {
				return fmt.Errorf("read openapi.yaml: %s %s has no tag", method, path)
			}
			groups[i].Operations = append(groups[i].Operations, op)
			return nil
		})
	})
	return groups, err
}

// A document resolves references within itself. A missing node is an empty one, so calls can be
// chained.
type document struct{ root yaml.Node }

// resolve follows aliases and references.
func (d *document) resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == "$ref" {
		to := d.root.Content[0]
		for name := range strings.SplitSeq(strings.TrimPrefix(n.Content[1].Value, "#/"), "/") {
			to = d.at(to, strings.NewReplacer("~1", "/", "~0", "~").Replace(name))
		}
		return to
	}
	return n
}

// at returns the value of a key.
func (d *document) at(n *yaml.Node, key string) *yaml.Node {
	n = d.resolve(n)
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return d.resolve(n.Content[i+1])
		}
	}
	return &yaml.Node{}
}

// text returns the text of a key, or with the key "" that of the first item of a list.
func (d *document) text(n *yaml.Node, key string) string {
	if key != "" {
		return d.at(n, key).Value
	}
	if len(n.Content) == 0 {
		return ""
	}
	return n.Content[0].Value
}

// each calls fn with the keys and values of a map, in their order.
func (d *document) each(n *yaml.Node, fn func(key string, value *yaml.Node) error) error {
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		if err := fn(n.Content[i].Value, d.resolve(n.Content[i+1])); err != nil {
			return err
		}
	}
	return nil
}

func (d *document) operation(method, path string, item, n *yaml.Node) (operation, error) {
	op := operation{
		ID: d.text(n, "operationId"), Method: strings.ToUpper(method), Path: path, Summary: d.text(n, "summary"),
		Description: paragraphs(d.text(n, "description")), Key: "api",
	}
	if security := d.at(n, "security"); security.Kind == yaml.SequenceNode {
		op.Key = ""
		if len(security.Content) > 0 {
			op.Key = strings.TrimSuffix(security.Content[0].Content[0].Value, "Key")
		}
	}
	for _, list := range []*yaml.Node{d.at(item, "parameters"), d.at(n, "parameters")} {
		for _, p := range list.Content {
			op.Parameters = append(op.Parameters, parameter{
				Name: d.text(p, "name"), In: d.text(p, "in"), Required: d.text(p, "required") == "true",
				Description: plain(d.text(p, "description")), Example: d.text(p, "example"),
			})
		}
	}
	content := d.at(d.at(d.at(n, "requestBody"), "content"), "application/json")
	add := func(name string, value *yaml.Node) error {
		text, err := d.json(value, "")
		op.Bodies = append(op.Bodies, body{name, text})
		return err
	}
	if example := d.at(content, "example"); example.Kind != 0 {
		return op, add("", example)
	}
	return op, d.each(d.at(content, "examples"), func(name string, example *yaml.Node) error {
		if summary := d.text(example, "summary"); summary != "" {
			name = summary
		}
		return add(name, d.at(example, "value"))
	})
}

// json returns a value as JSON with its keys in their order.
func (d *document) json(n *yaml.Node, indent string) (string, error) {
	n = d.resolve(n)
	var items []string
	deeper := indent + "  "
	switch n.Kind {
	case yaml.MappingNode:
		err := d.each(n, func(key string, value *yaml.Node) error {
			text, err := d.json(value, deeper)
			name, _ := json.Marshal(key) // a string always has a JSON form
			items = append(items, deeper+string(name)+": "+text)
			return err
		})
		return enclose("{", items, indent, "}"), err
	case yaml.SequenceNode:
		for _, item := range n.Content {
			text, err := d.json(item, deeper)
			if err != nil {
				return "", err
			}
			items = append(items, deeper+text)
		}
		return enclose("[", items, indent, "]"), nil
	}
	var value any
	if err := n.Decode(&value); err != nil {
		return "", err
	}
	text, err := json.Marshal(value)
	return string(text), err
}

// enclose joins the lines of a list or map.
func enclose(open string, items []string, indent, end string) string {
	if len(items) == 0 {
		return open + end
	}
	return open + "\n" + strings.Join(items, ",\n") + "\n" + indent + end
}

var (
	linkPattern = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	spaces      = regexp.MustCompile(`\s+`)
)

// plain returns Markdown as one line of text, without links and emphasis.
func plain(markdown string) string {
	text := linkPattern.ReplaceAllString(markdown, "$1")
	return strings.TrimSpace(spaces.ReplaceAllString(strings.ReplaceAll(text, "**", ""), " "))
}

// paragraphs returns the paragraphs and list items of Markdown. Of the rest of Markdown, the
// descriptions in openapi.yaml only have code, links and emphasis.
func paragraphs(markdown string) []paragraph {
	var all []paragraph
	for block := range strings.SplitSeq(strings.ReplaceAll(markdown, "\n* ", "\n\n* "), "\n\n") {
		text := plain(block)
		if text == "" {
			continue
		}
		text, item := strings.CutPrefix(text, "* ")
		p := paragraph{Item: item}
		for i, s := range strings.Split(text, "`") {
			if s != "" {
				p.Parts = append(p.Parts, part{Code: i%2 == 1, Text: s})
			}
		}
		all = append(all, p)
	}
	return all
}
