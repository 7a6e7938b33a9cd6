package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/countersign-mfa/countersign/internal/cli"
)

// manPages returns a page for the program, one for each command, and one for the
// configuration file. They are made from the tree of commands, and have the time at.
func manPages(at time.Time) []file {
	model := cli.Model()
	leaves := model.Leaves(true)
	files := []file{
		pageFile(program+".1", overview(model, leaves, at)),
		pageFile(program+".yaml.5", settings(leaves, at)),
	}
	for _, command := range leaves {
		files = append(files, pageFile(pageName(command)+".1", commandPage(command, at)))
	}
	return files
}

// pageFile returns a compressed page at the place where man finds it.
func pageFile(name string, text string) file {
	var data bytes.Buffer
	zip := gzip.NewWriter(&data)
	_, err := zip.Write([]byte(text))
	if err == nil {
		err = zip.Close()
	}
	if err != nil {
		panic(err) // a bytes.Buffer accepts all writes
	}
	return file{fmt.Sprintf("/usr/share/man/man%c/%s.gz", name[len(name)-1], name), data.Bytes(), 0o644}
}

// words returns the names of a command after the name of the program: key create.
func words(command *kong.Node) string {
	if command.Parent == nil || command.Parent.Type == kong.ApplicationNode {
		return command.Name
	}
	return words(command.Parent) + " " + command.Name
}

func pageName(command *kong.Node) string {
	return program + "-" + strings.ReplaceAll(words(command), " ", "-")
}

// A page is a man page in roff.
type page struct{ text strings.Builder }

func newPage(name, section string, at time.Time, summary string) *page {
	p := new(page)
	fmt.Fprintf(&p.text, ".TH %s %s %s %q %q\n", strings.ToUpper(name), section, at.Format(time.DateOnly), program+" "+version, "Countersign")
	p.section("NAME")
	p.line(name + ` \- ` + escape(strings.TrimSuffix(summary, ".")))
	return p
}

func (p *page) section(title string) { p.text.WriteString(".SH " + title + "\n") }
func (p *page) line(roff string)     { p.text.WriteString(roff + "\n") }

// term writes an entry of a list: a bold term, an argument, and its text.
func (p *page) term(bold, argument, text string) {
	p.line(".TP")
	p.line(strings.TrimSpace(`\fB` + escape(bold) + `\fR ` + `\fI` + escape(argument) + `\fR`))
	p.line(protect(escape(text)))
}

// prose writes paragraphs, which empty lines separate. Indented lines are examples.
func (p *page) prose(text string) {
	for _, paragraph := range strings.Split(strings.TrimRight(text, "\n"), "\n\n") {
		p.line(".PP")
		example := false
		for _, line := range strings.Split(paragraph, "\n") {
			indented := strings.HasPrefix(line, "  ")
			if indented && !example {
				p.line(".RS 4\n.nf")
			}
			if !indented && example {
				p.line(".fi\n.RE")
			}
			example = indented
			p.line(protect(escape(strings.TrimSpace(line))))
		}
		if example {
			p.line(".fi\n.RE")
		}
	}
}

// escape protects the characters that roff changes.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`, `…`, `...`).Replace(text)
}

// protect keeps a line from being a request of roff.
func protect(line string) string {
	if strings.HasPrefix(line, ".") {
		return `\&` + line
	}
	return line
}

func overview(model *kong.Application, leaves []*kong.Node, at time.Time) string {
	summary, detail, _ := strings.Cut(model.Help, "\n\n")
	p := newPage(program, "1", at, "serve authentication factors and challenges")
	p.section("SYNOPSIS")
	p.line(`\fBcountersign\fR \fIcommand\fR [\fIflags\fR]`)
	p.section("DESCRIPTION")
	p.prose(summary + "\n\n" + detail)
	p.section("COMMANDS")
	for _, command := range leaves {
		p.term(program+" "+words(command), "", command.Help)
	}
	p.section("EXIT STATUS")
	p.term("0", "", "The command is done.")
	p.term("1", "", "The command failed, and standard error has the reason.")
	p.term("2", "", "The command line cannot be understood.")
	p.section("FILES")
	p.term("/etc/countersign.yaml", "", "The configuration file of the service.")
	p.term("/var/lib/countersign", "", "The store of the service and its keyset.")
	p.section("SEE ALSO")
	p.line(`\fBcountersign\-serve\fR(1), \fBcountersign\-check\fR(1), \fBcountersign.yaml\fR(5)`)
	return p.text.String()
}

func commandPage(command *kong.Node, at time.Time) string {
	p := newPage(pageName(command), "1", at, command.Help)
	p.section("SYNOPSIS")
	synopsis := `\fBcountersign ` + escape(words(command)) + `\fR`
	for _, argument := range command.Positional {
		synopsis += " " + escape(argument.Summary())
	}
	p.line(synopsis + ` [\fIflags\fR]`)
	p.section("DESCRIPTION")
	p.prose(command.Help)
	if command.Detail != "" {
		p.prose(command.Detail)
	}
	if len(command.Positional) > 0 {
		p.section("ARGUMENTS")
		for _, argument := range command.Positional {
			p.term(argument.Name, "", argument.Help)
		}
	}
	p.section("FLAGS")
	for _, group := range command.AllFlags(true) {
		for _, flag := range group {
			name := "--" + flag.Name
			if flag.Short != 0 {
				name = "-" + string(flag.Short) + ", " + name
			}
			p.term(name, argument(flag), flag.Help)
		}
	}
	p.section("SEE ALSO")
	p.line(`\fBcountersign\fR(1), \fBcountersign.yaml\fR(5)`)
	return p.text.String()
}

// settings describes the configuration file: the flags of serve.
func settings(leaves []*kong.Node, at time.Time) string {
	p := newPage(program+".yaml", "5", at, "the configuration file of a Countersign server")
	p.section("DESCRIPTION")
	p.prose("The file is YAML: one key with a value for each setting. A list has commas between its values, or is a list of YAML. " +
		"A flag of 'countersign serve' or its environment variable overrides a key. An unknown key is an error.")
	p.prose("'countersign check --config FILE' reports all faults of a file.")
	p.section("SETTINGS")
	for _, command := range leaves {
		if words(command) != "serve" {
			continue
		}
		for _, flag := range command.Flags {
			if flag.Name != "config" && flag.Name != "help" && !flag.Hidden {
				p.term(strings.ReplaceAll(flag.Name, "-", "_")+":", argument(flag), flag.Help)
			}
		}
	}
	p.section("SEE ALSO")
	p.line(`\fBcountersign\-serve\fR(1), \fBcountersign\-check\fR(1)`)
	return p.text.String()
}

// argument returns the placeholder of a flag.
func argument(flag *kong.Flag) string {
	if flag.IsBool() {
		return ""
	}
	return flag.FormatPlaceHolder()
}
