package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/countersign-mfa/countersign/internal/eventsink"
)

// checkPrivate warns about a file with secrets that every account can read.
func (c *checker) checkPrivate(check, path string) {
	info, err := os.Stat(path)
	if err != nil {
		return // the reader of the file reports it
	}
	if mode := info.Mode().Perm(); mode&0o004 != 0 {
		c.warn(check, fmt.Sprintf("run chmod 640 %s", path), "every account can read %s, which may contain secrets (mode %04o)", path, mode)
	}
}

// checkOwner warns about a file that belongs to another account: the server may run under
// that account, and create files there that this one cannot read, or the reverse.
func (c *checker) checkOwner(check, path string) {
	info, err := os.Stat(path)
	if err != nil {
		return
	}
	owner, ok := ownerOf(info)
	if !ok || owner == os.Geteuid() {
		return
	}
	c.warn(check, "run this command and the server under the same account, or change the owner with chown",
		"%s belongs to the account %s, and this command runs as %s", path, accountOf(owner), accountOf(os.Geteuid()))
}

// accountOf returns the name of an account, or its number if it has no name.
func accountOf(id int) string {
	if account, err := user.LookupId(strconv.Itoa(id)); err == nil {
		return account.Username
	}
	return strconv.Itoa(id)
}

// canWriteIn returns an error if this account cannot create files in a directory. A missing
// directory is created by the server, so its nearest parent counts.
func canWriteIn(dir string) error {
	for {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir:
			dir = filepath.Dir(dir)
			continue
		case err != nil:
			return err
		case !info.IsDir():
			return fmt.Errorf("%s is not a directory", dir)
		}
		if err := writable(dir); err != nil {
			return fmt.Errorf("this account, %s, cannot write in the directory %s: %w", accountOf(os.Geteuid()), dir, err)
		}
		return nil
	}
}

// canOpen returns an error if an existing file cannot be opened with flags. The file is not
// changed.
func canOpen(path string, flags int) error {
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func (c *checker) checkSink() {
	const check = "events_sink"
	if c.cfg.EventsSink == "" {
		if c.cfg.EventsSinkHeaders != "" {
			c.fail(check, "set events_sink, or remove events_sink_headers", "events_sink_headers is set without events_sink")
			return
		}
		c.ok(check, "none is set")
		return
	}
	if err := eventsink.Check(c.cfg.EventsSink); err != nil {
		c.failed(check, "correct the setting", fmt.Errorf("--events-sink: %w", err))
		return
	}
	if _, err := sinkHeaders(c.cfg); err != nil {
		c.failed(check, "correct the file of headers", err)
		return
	}
	if c.cfg.EventsSinkHeaders != "" {
		c.checkPrivate(check, c.cfg.EventsSinkHeaders)
	}
	path, ok := eventsink.FilePath(c.cfg.EventsSink)
	if !ok {
		c.ok(check, "the setting is valid")
		return
	}
	err := canOpen(path, os.O_RDWR|os.O_APPEND)
	if errors.Is(err, fs.ErrNotExist) {
		err = sinkDirectory(filepath.Dir(path))
	}
	if err != nil {
		c.fail(check, "create its directory, and give this account the permission to write", "%v", err)
		return
	}
	c.ok(check, "%s can be written", path)
}

func (c *checker) checkTelemetry() {
	const check = "telemetry"
	switch _, err := otlpHeaders(c.cfg); {
	case c.cfg.OTLPEndpoint == "":
		c.ok(check, "no collector is set")
	case err != nil:
		c.failed(check, "correct the file of headers", err)
	default:
		if c.cfg.OTLPHeadersFile != "" {
			c.checkPrivate(check, c.cfg.OTLPHeadersFile)
		}
		c.ok(check, "the settings are valid")
	}
}

// sinkDirectory returns an error if a new file cannot be created in dir, which the sink does
// not create.
func sinkDirectory(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	return canWriteIn(dir)
}
