package pgtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Server is a running PostgreSQL server of this machine that the test has not started.
type Server struct {
	url     string
	pid     int
	command []string // that starts it again
	dir     string
	account *syscall.Credential
}

// Attach returns the server at url. It skips the test if the server is not on this machine,
// or if the test may not end it.
func Attach(t testing.TB, url string) *Server {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	s := &Server{url: url}
	if err := conn.QueryRow(t.Context(), "SHOW data_directory").Scan(&s.dir); err != nil {
		t.Fatal(err)
	}
	if err := s.read(); err != nil {
		t.Skipf("the test cannot end and start the server at %s: %v", conn.Config().Host, err)
	}
	info, err := os.Stat(s.dir)
	if err != nil {
		t.Skipf("the test cannot read the directory of the server: %v", err)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		s.account = &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
	}
	t.Cleanup(func() {
		if syscall.Kill(s.pid, 0) != nil {
			s.Boot(t)
		}
	})
	return s
}

var quoted = regexp.MustCompile(`"([^"]*)"`)

// read finds the process of the server, and how it was started.
func (s *Server) read() error {
	b, err := os.ReadFile(filepath.Join(s.dir, "postmaster.pid"))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	if s.pid, err = strconv.Atoi(strings.TrimSpace(first)); err != nil {
		return err
	}
	if err := syscall.Kill(s.pid, 0); err != nil {
		return fmt.Errorf("process %d: %w", s.pid, err)
	}
	b, err = os.ReadFile(filepath.Join(s.dir, "postmaster.opts"))
	if err != nil {
		return err
	}
	program, options, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	s.command = []string{program}
	for _, option := range quoted.FindAllStringSubmatch(options, -1) {
		s.command = append(s.command, option[1])
	}
	return nil
}

// Kill ends all processes of the server at once, as if the machine had failed.
func (s *Server) Kill() {
	syscall.Kill(s.pid, syscall.SIGSTOP) // it must not start further processes
	for _, pid := range children(s.pid) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	syscall.Kill(s.pid, syscall.SIGKILL)
	for limit := time.Now().Add(startWithin); syscall.Kill(s.pid, 0) == nil && time.Now().Before(limit); {
		time.Sleep(5 * time.Millisecond)
	}
}

// Freeze stops all processes of the server, so it answers nothing. Thaw lets them continue.
func (s *Server) Freeze() { s.all(syscall.SIGSTOP) }

// Thaw ends a Freeze.
func (s *Server) Thaw() { s.all(syscall.SIGCONT) }

func (s *Server) all(signal syscall.Signal) {
	for _, pid := range append([]int{s.pid}, children(s.pid)...) {
		syscall.Kill(pid, signal)
	}
}

// Boot starts the server again after Kill and waits until it answers. The server outlives the
// test.
func (s *Server) Boot(t testing.TB) {
	log, err := os.OpenFile(filepath.Clean(s.dir)+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Error(err)
		return
	}
	defer log.Close()
	cmd := exec.Command(s.command[0], s.command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.account, Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Errorf("start the server again: %v", err)
		return
	}
	go cmd.Wait()
	if err := awaitServer(s.url, startWithin); err != nil {
		t.Errorf("the server does not answer: %v", err)
		return
	}
	if err := s.read(); err != nil {
		t.Error(err)
	}
}
