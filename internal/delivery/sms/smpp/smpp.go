package smpp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
)

// A Provider sends over one connection, which it keeps open. It must be closed.
type Provider struct {
	opts Options
	tls  *tls.Config // nil without TLS
	stop context.CancelFunc

	withoutID sync.Once     // logs the first message without an id
	gone      chan struct{} // closed when keepUp ends

	mu      sync.Mutex
	session *session      // nil unless bound
	trying  chan struct{} // closed when an attempt to bind ends; nil between attempts
	last    *sms.Error    // the error of the last attempt to bind, or of the lost connection
}

// New returns a Provider and starts to connect.
func New(o Options) (*Provider, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o.setDefaults()
	p := &Provider{opts: o, gone: make(chan struct{}), trying: make(chan struct{}), last: &sms.Error{Kind: sms.Unavailable, Reason: "not connected"}}
	if o.TLS {
		host, _, _ := net.SplitHostPort(o.Address)
		p.tls = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
		if o.ServerName != "" {
			p.tls.ServerName = o.ServerName
		}
		if o.RootCAs != nil {
			p.tls.RootCAs = x509.NewCertPool()
			if !p.tls.RootCAs.AppendCertsFromPEM(o.RootCAs) {
				return nil, errors.New("root_cas holds no certificate")
			}
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go p.keepUp(ctx)
	return p, nil
}

const maxPause = time.Minute

// keepUp binds, and binds again after the connection is lost, until ctx is done.
func (p *Provider) keepUp(ctx context.Context) {
	defer close(p.gone)
	pause := p.opts.ReconnectAfter
	for {
		s, err := p.connect(ctx)
		p.tried(s, err)
		if err == nil {
			p.opts.Logger.Info("smpp: bound", "address", p.opts.Address)
			pause = p.opts.ReconnectAfter
			leave := context.AfterFunc(ctx, func() { s.unbind(context.Background(), p.opts.Now()) })
			err = s.run(p.opts.EnquireLink, p.opts.Now, p.deliver)
			leave()
			p.lost()
		}
		if ctx.Err() != nil {
			return
		}
		p.opts.Logger.Warn("smpp: not connected", "address", p.opts.Address, "error", err, "again_in", pause.String())
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
		p.mu.Lock()
		p.trying = make(chan struct{})
		p.mu.Unlock()
	}
}

// connect returns a bound session. Its error contains no data except addresses.
func (p *Provider) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.AnswerTimeout)
	defer cancel()
	dial := (&net.Dialer{}).DialContext
	if p.tls != nil {
		dial = (&tls.Dialer{Config: p.tls}).DialContext
	}
	conn, err := dial(ctx, "tcp", p.opts.Address)
	if err != nil {
		return nil, err
	}
	var w bodyWriter
	w.text(p.opts.SystemID)
	w.text(p.opts.Password.Reveal())
	w.text(p.opts.SystemType)
	w.octets(0x34, 0, 0) // interface_version, addr_ton, addr_npi
	w.text("")           // address_range
	s := newSession(conn, p.opts.Window, p.opts.AnswerTimeout)
	if err := s.bind(ctx, w.Bytes()); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// tried records the result of an attempt to bind and wakes the waiting senders.
func (p *Provider) tried(s *session, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.session = s
	if err != nil {
		p.last = &sms.Error{Kind: sms.Unavailable, Reason: "not connected"}
		if refused, ok := errors.AsType[*sms.Error](err); ok {
			p.last = &sms.Error{Kind: sms.Unavailable, Code: refused.Code, Reason: "bind: " + refused.Reason}
		}
	}
	close(p.trying)
	p.trying = nil
}

func (p *Provider) lost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.session, p.last = nil, &sms.Error{Kind: sms.Unavailable, Reason: "not connected"}
}

// bound returns the session. It waits during an attempt to bind.
func (p *Provider) bound(ctx context.Context) (*session, *sms.Error) {
	p.mu.Lock()
	trying := p.trying
	p.mu.Unlock()
	if trying != nil {
		select {
		case <-trying:
		case <-p.gone:
		case <-ctx.Done():
			return nil, &sms.Error{Kind: sms.Unavailable, Reason: "timed out connecting"}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == nil {
		e := *p.last
		return nil, &e
	}
	return p.session, nil
}

// Send implements sms.Provider. For a message in several parts it asks for a receipt of the
// last part only, and returns the id of that part. It returns "" if the carrier accepted the
// message without an id that can be stored: no receipt can then find the message.
func (p *Provider) Send(ctx context.Context, m sms.Message) (string, error) {
	s, failed := p.bound(ctx)
	if failed != nil {
		return "", failed
	}
	bodies := p.bodies(m)
	if len(bodies) > 255 {
		return "", &sms.Error{Kind: sms.Unavailable, Reason: "the text is too long"}
	}
	id := ""
	for i, body := range bodies {
		result := s.request(ctx, submitSM, body, true, p.opts.Now())
		var e *sms.Error
		switch {
		case result.err != nil:
			e = noAnswer(result)
		case result.answer.status != 0:
			e = statusError(result.answer.status, p.opts.RefusedCodes)
		case result.answer.command != submitSM|answerBit:
			e = &sms.Error{Kind: sms.Uncertain, Reason: "answered another command"}
		default:
			id = p.submittedID(result.answer.body)
		}
		if e != nil {
			if i > 0 {
				e.Kind = sms.Uncertain // the phone may show the accepted parts
			}
			return "", e
		}
	}
	return id, nil
}

// submittedID reads the id in a submit_sm_resp that accepts a message. The body, and the
// octet at the end of the id, may be missing.
func (p *Provider) submittedID(body []byte) string {
	text, _, _ := bytes.Cut(body, []byte{0})
	id := cleanID(string(text))
	if id == "" && p.opts.OnReceipt != nil {
		p.withoutID.Do(func() {
			p.opts.Logger.Warn("smpp: the carrier accepts messages without an id that can be stored; their receipts are lost", "address", p.opts.Address)
		})
	}
	return id
}

// bodies returns the bodies of the submit_sm that send m.
func (p *Provider) bodies(m sms.Message) [][]byte {
	text := newEncodedText(m.Text.Reveal())
	submit := submitBody{
		serviceType: p.opts.ServiceType,
		sourceTON:   byte(*p.opts.SourceTON), sourceNPI: byte(*p.opts.SourceNPI), source: p.opts.Source,
		destinationTON: byte(*p.opts.DestinationTON), destinationNPI: byte(*p.opts.DestinationNPI),
		destination: strings.TrimPrefix(m.To.Reveal(), "+"),
		dataCoding:  text.coding, validity: relativeTime(m.ValidFor), receipt: p.opts.OnReceipt != nil,
	}
	parts := text.parts()
	if len(parts) == 1 {
		submit.short = parts[0]
		return [][]byte{submit.body()}
	}
	if p.opts.LongMessages == Payload {
		submit.payload = text.bytes()
		return [][]byte{submit.body()}
	}
	// This number joins the parts. It must differ between messages to one phone.
	joint := sha256.Sum256([]byte(m.Reference))[0]
	var bodies [][]byte
	for i, part := range parts {
		one := submit
		one.esmClass |= 0x40 // a header comes before the text
		one.short = append([]byte{5, 0, 3, joint, byte(len(parts)), byte(i + 1)}, part...)
		one.receipt = submit.receipt && i == len(parts)-1
		bodies = append(bodies, one.body())
	}
	return bodies
}

// relativeTime returns d as a relative time (section 7.1.1.1), in whole seconds and at most
// 28 days. "" means the default of the carrier.
func relativeTime(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	s := int64(min(max(d, time.Second), 28*24*time.Hour) / time.Second)
	return fmt.Sprintf("0000%02d%02d%02d%02d000R", s/86400, s/3600%24, s/60%60, s%60)
}

// Close unbinds and closes the connection. Messages without an answer become uncertain.
func (p *Provider) Close() error {
	p.stop()
	<-p.gone
	return nil
}
