package e2e_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/countersign-mfa/countersign/internal/logcapture"
	"github.com/countersign-mfa/countersign/test/executable"
)

// A terminal is a program that runs in a pseudo-terminal.
type terminal struct {
	t      testing.TB
	cmd    *exec.Cmd
	file   *os.File
	screen *output // all bytes that the program has written
	mark   int     // of the text of the screen, where the last match ended
	done   chan struct{}
}

// openTerminal starts a command in a pseudo-terminal of 24 lines with 100 columns. countersign
// is on its PATH.
func openTerminal(t testing.TB, env []string, name string, args ...string) *terminal {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(executable.Environment(), "TERM=xterm", "PS1=ready> ", "LC_ALL=C.UTF-8", "HOME="+t.TempDir(),
		"PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	cmd.Env = append(cmd.Env, env...)
	file, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 100})
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, cmd: cmd, file: file, screen: newOutput(logcapture.Log(t, t.Name())), done: make(chan struct{})}
	go func() {
		defer close(term.done)
		io.Copy(term.screen, file) // ends with an error when the program has ended
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-term.done
		file.Close()
	})
	return term
}

// keys types text.
func (c *terminal) keys(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.file, text); err != nil {
		c.t.Fatal(err)
	}
}

// sees waits until the screen shows something new that matches pattern, and returns the match.
func (c *terminal) sees(pattern string) string {
	c.t.Helper()
	wanted := regexp.MustCompile(pattern)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		text := c.text()
		if found := wanted.FindStringIndex(text[c.mark:]); found != nil {
			match := text[c.mark+found[0] : c.mark+found[1]]
			c.mark += found[1]
			return match
		}
	}
	c.t.Fatalf("the terminal does not show %q; it shows\n%q", pattern, c.text()[max(0, c.mark-200):])
	return ""
}

// control matches sequences that move the cursor or set colors.
var control = regexp.MustCompile(`\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]`)

// text returns all that the program has written, without control sequences.
func (c *terminal) text() string { return control.ReplaceAllString(c.screen.String(), "") }
