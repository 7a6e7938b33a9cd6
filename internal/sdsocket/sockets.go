// Package sdsocket takes the sockets that systemd passes to a service, by the protocol of
// sd_listen_fds(3). A socket is found by its address, so settings name addresses as without
// systemd.
package sdsocket

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
)

// first is the first descriptor that systemd passes.
const first = 3

// mostSockets bounds LISTEN_FDS.
const mostSockets = 64

// Sockets are the listening sockets that a process has inherited. The nil Sockets is empty. It
// is safe for concurrent use.
type Sockets struct {
	mu   sync.Mutex
	free []net.Listener // not taken yet
}

// FromEnvironment returns the sockets of the variables that systemd sets for a service, or nil
// if it has passed none. It removes the variables, so commands that the process starts do not
// take the sockets.
func FromEnvironment() (*Sockets, error) {
	n, err := count(os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_PID"), os.Getpid())
	for _, name := range []string{"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	if err != nil || n == 0 {
		return nil, err
	}
	s := &Sockets{}
	for fd := first; fd < first+n; fd++ {
		file := os.NewFile(uintptr(fd), "socket of systemd")
		ln, err := net.FileListener(file) // of a copy, which commands do not inherit
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, errors.Join(fmt.Errorf("LISTEN_FDS: the socket %d of systemd: %w", fd, err), s.Close())
		}
		s.free = append(s.free, ln)
	}
	return s, nil
}

// count returns the number of sockets that the variables name in the process pid.
func count(fds, process string, pid int) (int, error) {
	if fds == "" || process != strconv.Itoa(pid) {
		return 0, nil
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 || n > mostSockets {
		return 0, fmt.Errorf("LISTEN_FDS: %q is not a number of sockets from 0 to %d", fds, mostSockets)
	}
	return n, nil
}

// Take returns the socket that listens on addr, which is HOST:PORT or unix:PATH, or nil. A socket on all
// addresses matches :PORT, 0.0.0.0:PORT and [::]:PORT. A socket is returned once.
func (s *Sockets) Take(addr string) net.Listener {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, ln := range s.free {
		if matches(ln.Addr(), addr) {
			s.free = append(s.free[:i], s.free[i+1:]...)
			return ln
		}
	}
	return nil
}

// matches reports whether a socket with the address a is one for the setting addr.
func matches(a net.Addr, addr string) bool {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return a.Network() == "unix" && a.String() == path
	}
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return false
	}
	want, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil || want.Port != tcp.Port {
		return false
	}
	if want.IP == nil || want.IP.IsUnspecified() {
		return tcp.IP.IsUnspecified()
	}
	return want.IP.Equal(tcp.IP)
}

// Close closes the sockets that were not taken. It returns an error that names them: the
// service does not answer there, but clients could connect.
func (s *Sockets) Close() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, ln := range s.free {
		errs = append(errs, fmt.Errorf("systemd passed the socket %s, which is not the address of a setting", ln.Addr()), ln.Close())
	}
	s.free = nil
	return errors.Join(errs...)
}
