package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/config"
)

// listen takes an address of the form host:port or unix:PATH.
func (s *Server) listen(addr string) (net.Listener, error) {
	if s.inherited != nil {
		if ln := s.inherited(addr); ln != nil {
			return ln, nil
		}
	}
	return listen(addr)
}

func listen(addr string) (net.Listener, error) {
	if path, ok := config.UnixSocket(addr); ok {
		return listenUnix(path)
	}
	return net.Listen("tcp", addr)
}

// socketMode lets the owner and the group of a socket connect.
const socketMode = 0o660

// listenUnix makes a socket at path. A socket that a process left behind is replaced;
// one on which a process listens, and any other file, is an error. The socket is made
// under another name and takes its own when its mode is set, so it never accepts
// connections from accounts that the mode excludes.
func listenUnix(path string) (net.Listener, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s exists and is not a socket", path)
	default:
		if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
			conn.Close()
			return nil, fmt.Errorf("%s: address already in use", path)
		}
	}
	temporary := fmt.Sprintf("%s.%d", path, os.Getpid())
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false) // it would remove the temporary name
	err = os.Chmod(temporary, socketMode)
	if err == nil {
		info, err = os.Lstat(temporary)
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return nil, errors.Join(err, ln.Close(), os.Remove(temporary))
	}
	return &unixListener{Listener: ln, path: path, made: info}, nil
}

// A unixListener removes its socket when it is closed, unless another process has
// replaced it.
type unixListener struct {
	net.Listener
	path string
	made fs.FileInfo
	once sync.Once
}

func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

func (l *unixListener) Close() error {
	l.once.Do(func() {
		if info, err := os.Lstat(l.path); err == nil && os.SameFile(info, l.made) {
			os.Remove(l.path)
		}
	})
	return l.Listener.Close()
}
