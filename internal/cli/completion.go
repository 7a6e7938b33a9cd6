package cli

import (
	"embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionScripts have one file for each shell. A script asks 'countersign __complete' for
// candidates, so it knows the commands of the program that is installed.
//
//go:embed completion
var completionScripts embed.FS

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

func (completionCommand) Help() string {
	return `Prints a script that completes commands, flags, their values and files.

Examples:

  countersign completion bash > ~/.local/share/bash-completion/completions/countersign
  countersign completion zsh > ~/.zfunc/_countersign
  countersign completion fish > ~/.config/fish/completions/countersign.fish`
}

func (c *completionCommand) Run(con console) error {
	script, err := completionScripts.ReadFile("completion/" + c.Shell)
	if err != nil {
		return err
	}
	con.printf("%s", script)
	return nil
}

// completeCommand is the first argument of a completion script. It is not a command of the
// parser, because the words after it may be incomplete.
const completeCommand = "__complete"

// A candidate is a word that can replace an incomplete word.
type candidate struct{ word, help string }

// complete writes the candidates for the last of words, one a line, in the form that the
// script of a shell reads. The line ":files" means the names of files.
func complete(w io.Writer, model *kong.Application, shell string, words []string) {
	if shell == "bash" {
		words = joinBash(words)
	}
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	found, files := candidates(model.Node, words[:len(words)-1], last)
	for _, c := range found {
		if strings.HasPrefix(c.word, last) {
			fmt.Fprintln(w, c.line(shell, last))
		}
	}
	if files {
		fmt.Fprintln(w, ":files")
	}
}

// line returns a candidate for the word in the form of a shell.
func (c candidate) line(shell, word string) string {
	help, _, _ := strings.Cut(c.help, ". ")
	switch shell {
	case "bash": // it replaces only the part after a character that ends its words
		return c.word[strings.LastIndexAny(word, ":=")+1:]
	case "zsh":
		if strings.HasSuffix(c.word, "/") || strings.HasSuffix(c.word, ":") || strings.HasSuffix(c.word, "=") {
			return c.word
		}
		word := strings.ReplaceAll(c.word, ":", `\:`) // without a backslash, the help follows
		if help == "" {
			return word
		}
		return word + ":" + help
	}
	return strings.TrimSuffix(c.word+"\t"+help, "\t")
}

// joinBash puts words together again that bash splits at '=' and ':'.
func joinBash(words []string) (joined []string) {
	glue := false
	for _, word := range words {
		separator := word == "=" || word == ":"
		if n := len(joined); n > 0 && (glue || separator) {
			joined[n-1] += word
		} else {
			joined = append(joined, word)
		}
		glue = separator
	}
	return joined
}

// candidates returns the words that can follow the complete words, and whether the name of a
// file can. last is the incomplete word.
func candidates(node *kong.Node, words []string, last string) (found []candidate, files bool) {
	var pending *kong.Flag // its value follows
	place, onlyArgs := 0, false
	for i, word := range words {
		switch name, _, assigned := strings.Cut(word, "="); {
		case pending != nil:
			pending = nil
		case word == "--" && !onlyArgs:
			onlyArgs = true
		case strings.HasPrefix(word, "-") && !onlyArgs:
			if flag := flagOf(node, name); flag != nil && !flag.IsBool() && !assigned {
				pending = flag
			}
		case i == 0 && word == "help": // help key create is key create --help
		case childOf(node, word) != nil:
			node = childOf(node, word)
		default:
			place++
		}
	}
	if pending != nil {
		return valuesOf(pending.Value, last)
	}
	if name, value, assigned := strings.Cut(last, "="); assigned && strings.HasPrefix(last, "--") && !onlyArgs {
		return assignedValues(node, name, value)
	}
	if strings.HasPrefix(last, "-") && !onlyArgs {
		return flagsOf(node, words), false
	}
	for _, child := range node.Children {
		if !child.Hidden {
			found = append(found, candidate{child.Name, child.Help})
		}
	}
	if node.Parent == nil && len(words) == 0 {
		found = append(found, candidate{"help", "Show the help of a command"})
	}
	if place < len(node.Positional) {
		return valuesOf(node.Positional[place], last)
	}
	return found, false
}

func childOf(node *kong.Node, name string) *kong.Node {
	for _, child := range node.Children {
		if child.Name == name {
			return child
		}
	}
	return nil
}

// flagOf finds a flag of a command or of its parents by --name or -n.
func flagOf(node *kong.Node, name string) *kong.Flag {
	for _, group := range node.AllFlags(false) {
		for _, flag := range group {
			if name == "--"+flag.Name || flag.Short != 0 && name == "-"+string(flag.Short) {
				return flag
			}
		}
	}
	return nil
}

// flagsOf returns the flags of a command that words do not have yet.
func flagsOf(node *kong.Node, words []string) (found []candidate) {
	for _, group := range node.AllFlags(true) {
		for _, flag := range group {
			used := slices.ContainsFunc(words, func(word string) bool {
				return word == "--"+flag.Name || strings.HasPrefix(word, "--"+flag.Name+"=")
			})
			if !used || flag.IsCumulative() {
				found = append(found, candidate{"--" + flag.Name, flag.Help})
			}
		}
	}
	return found
}

// assignedValues returns the values of a word of the form --flag=value.
func assignedValues(node *kong.Node, name, value string) (found []candidate, files bool) {
	flag := flagOf(node, name)
	if flag == nil {
		return nil, false
	}
	values, files := valuesOf(flag.Value, value)
	if files { // a shell completes the name of a file only if it is a whole word
		values = pathsOf("", value)
	}
	for _, v := range values {
		found = append(found, candidate{name + "=" + v.word, v.help})
	}
	return found, false
}

// schemes are the prefixes of values that name a file after them.
var schemes = map[string][]string{
	"store": {"sqlite:"}, "from": {"sqlite:"}, "to": {"sqlite:"}, "unmark": {"sqlite:"},
	"keyset": {"file:"}, "events-sink": {"file:"}, "addr": {"unix:"}, "metrics-addr": {"unix:"},
}

// valuesOf returns the values that a flag or an argument can have, or that it is a file.
func valuesOf(v *kong.Value, word string) (found []candidate, files bool) {
	if v.Enum != "" {
		for _, value := range v.EnumSlice() {
			if value != "" {
				found = append(found, candidate{value, ""})
			}
		}
		return found, false
	}
	for _, scheme := range schemes[v.Name] {
		if strings.HasPrefix(word, scheme) {
			return pathsOf(scheme, strings.TrimPrefix(word, scheme)), false
		}
		found = append(found, candidate{scheme, "a path follows"})
	}
	file := v.Tag.Type == "path" || v.Tag.PlaceHolder == "FILE" || v.Name == "file"
	return found, found == nil && file
}

// pathsOf returns the files whose paths begin with path, after a prefix. Directories end with
// a slash.
func pathsOf(prefix, path string) (found []candidate) {
	dir, base := filepath.Split(path)
	read := dir
	if read == "" {
		read = "."
	}
	entries, err := os.ReadDir(read)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, base) || base == "" && strings.HasPrefix(name, ".") {
			continue
		}
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.IsDir() {
			name += "/"
		}
		found = append(found, candidate{prefix + dir + name, ""})
	}
	return found
}
