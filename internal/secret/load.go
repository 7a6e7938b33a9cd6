package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

const (
	execTime   = 30 * time.Second // a KMS in another region answers in a few
	execStderr = 4 << 10          // bytes of a command's stderr that an error shows
)

// LoadKeyset reads a keyset from source, which is one of
//
//	file:PATH          as ReadKeysetFile does
//	env:NAME           the value of an environment variable
//	exec:COMMAND ARGS  the output of a command, such as a KMS client that unwraps the keyset
//
// The keyset is in the form of Marshal, or its base64. The command runs without a
// shell: spaces separate its words, and quotes, variables and pipes have no special
// meaning. It has 30 seconds. If it fails, the error shows its stderr, never its
// output.
func LoadKeyset(ctx context.Context, source string) (*Keyset, error) {
	// Errors do not repeat source: a keyset may have been pasted there.
	scheme, rest, _ := strings.Cut(source, ":")
	switch scheme {
	case "file":
		return ReadKeysetFile(rest)
	case "env":
		return fromEnv(rest)
	case "exec":
		return fromCommand(ctx, strings.Fields(rest))
	}
	return nil, errors.New("unknown keyset source: use file:PATH, env:NAME or exec:COMMAND ARGS")
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,99}$`)

func fromEnv(name string) (*Keyset, error) {
	if !variableName.MatchString(name) {
		return nil, errors.New("keyset source env: wants the name of a variable, not its value")
	}
	value, ok := os.LookupEnv(name)
	if !ok {
		return nil, fmt.Errorf("environment variable %s is not set", name)
	}
	k, err := ParseKeyset([]byte(value))
	if err != nil {
		return nil, fmt.Errorf("environment variable %s: %w", name, err)
	}
	return k, nil
}

func fromCommand(ctx context.Context, argv []string) (*Keyset, error) {
	if len(argv) == 0 {
		return nil, errors.New("keyset source exec: wants a command")
	}
	stdout := &clipped{max: maxKeyset}
	stderr := &clipped{max: execStderr}
	err := run(ctx, execTime, argv, nil, stdout, stderr)
	if err == nil && stdout.over {
		err = fmt.Errorf("output %w", errTooLarge)
	}
	if err != nil {
		return nil, fmt.Errorf("keyset command %s: %w%s", argv[0], err, said(stderr))
	}
	k, err := ParseKeyset(stdout.buf.Bytes())
	if err != nil {
		return nil, fmt.Errorf("output of keyset command %s: %w", argv[0], err)
	}
	return k, nil
}

const (
	passwordTime = 10 * time.Second
	maxPassword  = 64 << 10 // bytes; a token may be long
)

// PasswordFromCommand runs a command without a shell, its words separated by spaces,
// and returns its output without the line end. variables of the form NAME=value are
// added to its environment. It has 10 seconds. Errors show nothing of the arguments
// and the output.
func PasswordFromCommand(ctx context.Context, command string, variables ...string) (String, error) {
	argv := strings.Fields(command)
	if len(argv) == 0 {
		return String{}, errors.New("the password command is empty")
	}
	stdout := &clipped{max: maxPassword}
	err := run(ctx, passwordTime, argv, append(os.Environ(), variables...), stdout, io.Discard)
	if err == nil && stdout.over {
		err = errors.New("its output is too long for a password")
	}
	password := strings.TrimRight(stdout.buf.String(), "\r\n")
	if err == nil && password == "" {
		err = errors.New("it printed nothing")
	}
	if err != nil {
		return String{}, fmt.Errorf("password command %s: %w", argv[0], err)
	}
	return NewString(password), nil
}

// run runs a command that has so much time. A nil environment is that of the process.
func run(ctx context.Context, most time.Duration, argv, environment []string, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = environment, stdout, stderr
	cmd.WaitDelay = time.Second // for children of the command that hold its output open
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err() // rather than "signal: killed"
	}
	return err
}

// said renders what a command wrote to stderr as the end of an error.
func said(stderr *clipped) string {
	if text := strings.TrimSpace(stderr.buf.String()); text != "" {
		return ": " + text
	}
	return ""
}

// clipped keeps the first max bytes written to it and lets the rest go by.
type clipped struct {
	buf  bytes.Buffer
	max  int
	over bool
}

func (c *clipped) Write(p []byte) (int, error) {
	room := c.max - c.buf.Len()
	c.over = c.over || len(p) > room
	c.buf.Write(p[:min(len(p), room)])
	return len(p), nil
}
