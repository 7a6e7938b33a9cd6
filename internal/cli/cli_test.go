package cli_test

import (
	"bytes"
	"io"
	"testing"

	countersign "github.com/countersign-mfa/countersign"
	"github.com/countersign-mfa/countersign/internal/cli"
)

// A broken writer is a standard output that makes a command panic.
type broken struct{}

func (broken) Write([]byte) (int, error) { panic("broken") }

func TestAFaultIsNotTakenForSuccess(t *testing.T) {
	defer func() {
		if p := recover(); p != "broken" {
			t.Errorf("a command that panics is recovered as %v; want the panic itself", p)
		}
	}()
	code := cli.Run(t.Context(), []string{"version"}, broken{}, io.Discard)
	t.Errorf("a command that panics has exit code %d", code)
}

func TestTheVersionNamesTheCommitOfTheLinker(t *testing.T) {
	defer func(v string) { cli.Commit = v }(cli.Commit)
	cli.Commit = "abc1234"
	var out bytes.Buffer
	if code := cli.Run(t.Context(), []string{"version"}, &out, io.Discard); code != 0 || out.String() != "countersign "+countersign.Version+"+abc1234\n" {
		t.Errorf("version = %d %q", code, &out)
	}
}
