// Command logcheck shows that no log of a test run holds a secret.
//
//	logcheck DIR
//
// It reads the *.log files of DIR and the secrets, one per line, of its *.secrets
// files. Package logcapture writes both. It exits with 1 if a line of a log holds a secret,
// or a text that looks like an API key, an otpauth URI, a full phone number or a QR
// code. It names file and line, never the text. It exits with 1 too if a name in the
// lines of JSON has two types. It also fails without any log or any secret, because such a
// run shows nothing.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: logcheck DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "logcheck:", err)
		os.Exit(1)
	}
}

// run searches dir and writes its findings, or the number of searched lines, to out.
func run(dir string, out io.Writer) error {
	secrets, err := readSecrets(dir)
	if err != nil {
		return err
	}
	found, read, err := searchLogs(dir, secrets)
	if err != nil {
		return err
	}
	switch {
	case read.lines == 0:
		return errors.New("no log to search: no test server wrote one, so nothing is shown")
	case secrets.len() == 0:
		return errors.New("no secret to search for: no test recorded one, so nothing is shown")
	case len(found) > 0:
		for _, f := range found {
			fmt.Fprintln(out, f)
		}
		return fmt.Errorf("%d findings", len(found))
	}
	fmt.Fprintf(out, "logcheck: none of %d secrets in %d lines of %d logs\n", secrets.len(), read.lines, read.files)
	return nil
}
