package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// types has the JSON type of each name in the log, and the first line with it. A program
// that collects logs rejects a line in which a name has another type than before.
type types map[string]firstUse

type firstUse struct{ kind, at string }

// add adds the names of a line in JSON and returns its conflicts. Other lines are text.
func (t types) add(line []byte, at string) (conflicts []string) {
	if !bytes.HasPrefix(line, []byte("{")) {
		return nil
	}
	var names map[string]json.RawMessage
	if json.Unmarshal(line, &names) != nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		kind := kindOf(names[name])
		first, ok := t[name]
		switch {
		case !ok:
			t[name] = firstUse{kind, at}
		case first.kind != kind:
			conflicts = append(conflicts, fmt.Sprintf("%q is a %s, and a %s in %s", name, kind, first.kind, first.at))
		}
	}
	return conflicts
}

func kindOf(value json.RawMessage) string {
	switch value[0] {
	case '"':
		return "string"
	case '{':
		return "object"
	case '[':
		return "list"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
}
