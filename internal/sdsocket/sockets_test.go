package sdsocket

import (
	"net"
	"strings"
	"testing"
)

func TestSocketsAreFoundByTheirAddress(t *testing.T) {
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 4100} }
	unix := func(path string) net.Addr { return &net.UnixAddr{Name: path, Net: "unix"} }
	for _, tc := range []struct {
		socket net.Addr
		addr   string
		want   bool
	}{
		{tcp("::"), ":4100", true},
		{tcp("::"), "0.0.0.0:4100", true},
		{tcp("0.0.0.0"), "[::]:4100", true},
		{tcp("127.0.0.1"), "127.0.0.1:4100", true},
		{tcp("::1"), "[::1]:4100", true},
		{tcp("127.0.0.1"), "localhost:4100", true},
		{tcp("127.0.0.1"), ":4100", false}, // the setting promises all addresses
		{tcp("::"), "127.0.0.1:4100", false},
		{tcp("127.0.0.1"), "127.0.0.2:4100", false},
		{tcp("127.0.0.1"), "127.0.0.1:4101", false},
		{tcp("127.0.0.1"), "127.0.0.1:0", false},
		{tcp("127.0.0.1"), "nonsense", false},
		{tcp("127.0.0.1"), "unix:/run/countersign/api.sock", false},
		{unix("/run/countersign/api.sock"), "unix:/run/countersign/api.sock", true},
		{unix("/run/countersign/api.sock"), "unix:/run/other.sock", false},
		{unix("/run/countersign/api.sock"), "127.0.0.1:4100", false},
	} {
		if got := matches(tc.socket, tc.addr); got != tc.want {
			t.Errorf("the socket %s for %s: %v; want %v", tc.socket, tc.addr, got, tc.want)
		}
	}
}

func TestASocketIsTakenOnce(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	s := &Sockets{free: []net.Listener{ln}}
	if s.Take("127.0.0.1:1") != nil || s.Take(addr) != ln || s.Take(addr) != nil {
		t.Error("Take does not return the socket once")
	}
	if err := s.Close(); err != nil {
		t.Errorf("with all sockets taken: %v", err)
	}
	s = &Sockets{free: []net.Listener{ln}}
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("with a socket that no setting names: %v", err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("a socket that was not taken still accepts connections")
	}
}

func TestVariablesOfOtherProcessesAreIgnored(t *testing.T) {
	for _, tc := range []struct {
		fds, pid string
		want     int
		fails    bool
	}{
		{"", "", 0, false},
		{"2", "7", 2, false},
		{"2", "8", 0, false},
		{"2", "", 0, false},
		{"-1", "7", 0, true},
		{"65", "7", 0, true},
		{"two", "7", 0, true},
	} {
		if n, err := count(tc.fds, tc.pid, 7); n != tc.want || err != nil != tc.fails {
			t.Errorf("LISTEN_FDS=%s LISTEN_PID=%s: %d, %v", tc.fds, tc.pid, n, err)
		}
	}
}

func TestAProcessWithoutSystemdHasNoSockets(t *testing.T) {
	var s *Sockets
	if s.Take(":4100") != nil || s.Close() != nil {
		t.Error("the nil Sockets has a socket")
	}
}
