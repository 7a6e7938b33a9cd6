package e2e_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A balancer forwards each TCP connection to the next of several addresses. It
// removes an address that refuses a connection.
type balancer struct {
	ln   net.Listener
	work sync.WaitGroup

	mu        sync.Mutex
	addresses []string
	turn      int
}

// newBalancer returns a balancer that works until the test ends.
func newBalancer(t testing.TB, addresses ...string) *balancer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{ln: ln, addresses: addresses}
	b.work.Go(b.accept)
	t.Cleanup(func() {
		ln.Close()
		b.work.Wait()
	})
	return b
}

// api returns a caller that sends each request to the next address.
func (b *balancer) api(t testing.TB, key string) *api {
	a := newAPI(t, "http://"+b.ln.Addr().String(), key)
	a.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	return a
}

func (b *balancer) add(address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addresses = append(b.addresses, address)
}

func (b *balancer) forget(address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addresses = slices.DeleteFunc(b.addresses, func(a string) bool { return a == address })
}

// next returns the next address, or "" if no address is left.
func (b *balancer) next() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.addresses) == 0 {
		return ""
	}
	b.turn = (b.turn + 1) % len(b.addresses)
	return b.addresses[b.turn]
}

func (b *balancer) accept() {
	for {
		conn, err := b.ln.Accept()
		if err != nil {
			return
		}
		b.work.Go(func() { b.pass(conn) })
	}
}

// pass copies in both directions until either side ends the connection.
func (b *balancer) pass(client net.Conn) {
	defer client.Close()
	node := b.dial()
	if node == nil {
		return
	}
	b.work.Go(func() {
		io.Copy(node, client)
		node.Close()
	})
	io.Copy(client, node)
}

// dial connects to the next node that listens. It returns nil if no node listens.
func (b *balancer) dial() net.Conn {
	for address := b.next(); address != ""; address = b.next() {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return conn
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			b.forget(address)
		}
	}
	return nil
}
