// Package sdnotify reports the state of a service to systemd, by the protocol of
// sd_notify(3) and sd_watchdog_enabled(3).
package sdnotify

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Notifier sends messages to the manager of a service. The nil Notifier sends
// nothing. It is safe for concurrent use.
type Notifier struct {
	addr     *net.UnixAddr
	watchdog time.Duration
}

// FromEnvironment returns the Notifier of the variables that systemd sets for a
// service, or nil if the process has no manager. It removes the variables, so
// commands that the process starts do not report as the service.
func FromEnvironment() (*Notifier, error) {
	n, err := parse(os.Getenv("NOTIFY_SOCKET"), os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID"), os.Getpid())
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		os.Unsetenv(name)
	}
	return n, err
}

// parse returns the Notifier of the values of the variables, in the process pid.
func parse(socket, usec, watched string, pid int) (*Notifier, error) {
	if socket == "" {
		return nil, nil
	}
	if !strings.HasPrefix(socket, "/") && !strings.HasPrefix(socket, "@") {
		return nil, fmt.Errorf("NOTIFY_SOCKET: %q is not the path of a socket, and not an abstract socket", socket)
	}
	n := &Notifier{addr: &net.UnixAddr{Name: socket, Net: "unixgram"}}
	if usec == "" || watched != "" && watched != strconv.Itoa(pid) {
		return n, nil
	}
	micros, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || micros <= 0 || micros > (24*time.Hour).Microseconds() {
		return nil, fmt.Errorf("WATCHDOG_USEC: %q is not a number of microseconds up to a day", usec)
	}
	n.watchdog = time.Duration(micros) * time.Microsecond
	return n, nil
}

// Ready reports that the service has started. The manager shows status, one line.
func (n *Notifier) Ready(status string) error {
	return n.send("READY=1\nSTATUS=" + strings.ReplaceAll(status, "\n", " "))
}

// Stopping reports that the service has begun to stop.
func (n *Notifier) Stopping() error { return n.send("STOPPING=1") }

// Watch reports that the service works, twice in each period of the watchdog, until
// ctx ends. It reports nothing while check returns an error or does not return: then
// the manager ends the process. It returns at once if there is no watchdog.
func (n *Notifier) Watch(ctx context.Context, check func(context.Context) error, failed func(error)) {
	if n == nil || n.watchdog == 0 {
		return
	}
	tick := time.NewTicker(n.watchdog / 2)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			err = n.send("WATCHDOG=1")
		}
		if err != nil && ctx.Err() == nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (n *Notifier) send(state string) error {
	if n == nil {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, n.addr)
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}
