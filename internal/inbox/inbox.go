package inbox

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/wallclock"
	"github.com/countersign-mfa/countersign/internal/web"
)

// An Inbox is a delivery.Sender that keeps the newest messages in memory, and an http.Handler
// that shows them to every client. It is safe for concurrent use, and logs nothing.
type Inbox struct {
	opts  Options
	hosts web.Hosts

	mu       sync.RWMutex
	messages []delivery.Message // oldest first
	bytes    int                // the size of all messages, as by sizeOf
}

// Options change how an Inbox behaves; zero fields take their defaults.
type Options struct {
	Hosts       []string         // host names to answer under, without port, in addition to localhost; default none
	MaxMessages int              // the number of messages that are kept; default 1,000
	MaxBytes    int              // the memory for messages, in bytes; default 1 MiB
	Now         func() time.Time // default time.Now
	Rand        io.Reader        // default crypto/rand.Reader
}

// overhead is the approximate memory of a message without its texts, in bytes.
const overhead = 256

// New returns an empty Inbox; zero Options are ready to use.
func New(opts Options) *Inbox {
	if opts.MaxMessages <= 0 {
		opts.MaxMessages = 1000
	}
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = 1 << 20
	}
	opts.Now = wallclock.Or(opts.Now)
	if opts.Rand == nil {
		opts.Rand = rand.Reader
	}
	return &Inbox{opts: opts, hosts: web.NewHosts(opts.Hosts...)}
}

// Send keeps m, and removes the oldest messages if there are too many. It fails only if m
// is larger than the whole inbox.
func (in *Inbox) Send(_ context.Context, m delivery.Message) (delivery.Accepted, error) {
	size := sizeOf(m)
	if size > in.opts.MaxBytes {
		return delivery.Accepted{}, fmt.Errorf("message of %d bytes is larger than the inbox of %d", size, in.opts.MaxBytes)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.messages = append(in.messages, m)
	in.bytes += size
	for len(in.messages) > in.opts.MaxMessages || in.bytes > in.opts.MaxBytes {
		in.bytes -= sizeOf(in.messages[0])
		in.messages[0] = delivery.Message{} // the array may stay in memory; the texts must not
		in.messages = in.messages[1:]
	}
	return delivery.Accepted{Provider: "inbox", State: delivery.Delivered}, nil
}

func sizeOf(m delivery.Message) int {
	return overhead + len(m.To.Text()) + len(m.Text.Reveal()) + len(m.Code.Reveal())
}

// newest returns the messages whose E.164 number matches, newest first.
func (in *Inbox) newest(matches func(e164 string) bool) []delivery.Message {
	in.mu.RLock()
	defer in.mu.RUnlock()
	var found []delivery.Message
	for _, m := range slices.Backward(in.messages) {
		if matches(m.To.Text()) {
			found = append(found, m)
		}
	}
	return found
}

// exactly returns a function that matches one phone number, for programs. The plus sign
// may be missing, and it may be a space, because an unescaped plus sign in a URL means a
// space. If to is "", the function matches every number.
func exactly(to string) func(e164 string) bool {
	if to == "" {
		return anyNumber
	}
	want := "+" + strings.TrimPrefix(withoutSeparators(to), "+")
	return func(e164 string) bool { return e164 == want }
}

// containing returns a function that matches numbers that contain to. This is for people:
// they may enter only the last digits. page.js has the same rule.
func containing(to string) func(e164 string) bool {
	want := withoutSeparators(to)
	return func(e164 string) bool { return strings.Contains(e164, want) }
}

func anyNumber(string) bool { return true }

var separators = strings.NewReplacer(" ", "", "\t", "", "-", "", ".", "", "(", "", ")", "")

func withoutSeparators(to string) string { return separators.Replace(to) }
