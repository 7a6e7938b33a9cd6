package postgres

import (
	"context"
	"net"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// sockets holds the network connections of a store. The driver waits for the server when
// it closes a connection; cut does not. The zero value is ready to use.
type sockets struct {
	mu   sync.Mutex
	open map[*socket]bool
	ends bool // whether cut was called
}

// A socket is one network connection.
type socket struct {
	net.Conn
	all *sockets
}

// Close closes the connection and removes it from sockets.
func (c *socket) Close() error {
	c.all.mu.Lock()
	delete(c.all.open, c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}

// dial returns a function that connects with next and records the connection.
func (s *sockets) dial(next pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c := &socket{conn, s}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.ends {
			conn.Close()
			return nil, net.ErrClosed
		}
		if s.open == nil {
			s.open = make(map[*socket]bool)
		}
		s.open[c] = true
		return c, nil
	}
}

// cut closes all connections and refuses new ones.
func (s *sockets) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = true
	for c := range s.open {
		c.Conn.Close()
	}
}
