package sms

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/countersign-mfa/countersign/internal/secret"
)

// How a text that is too long for one message is handed over.
const (
	SMPPSegments = "segments" // as several, joined by a header (UDH), which every carrier takes
	SMPPPayload  = "payload"  // as one message_payload, which the carrier takes apart
)

// How a receipt names the message that submit_sm_resp named.
const (
	SMPPSameID    = "same"
	SMPPDecimalID = "decimal" // submit_sm_resp in hexadecimal, the receipt in decimal
	SMPPHexID     = "hex"     // the other way round
)

// SMPPOptions say how to reach a carrier or an aggregator by SMPP 3.4, and how it
// wants its messages.
type SMPPOptions struct {
	Address    string        // host and port: "smpp.example.com:3550"; required
	TLS        bool          // default plain, which shows codes to everyone on the way
	ServerName string        // that the certificate must have; default the host of Address
	RootCAs    []byte        // PEM of who may have signed the certificate; default those of the system
	SystemID   string        // who binds; required, at most 15 characters
	Password   secret.String // at most 8 characters by the book, 63 here; default none
	SystemType string        // at most 12 characters; default none

	Source         string   // a number or a name, at most 20 characters; default the carrier chooses
	SourceTON      *int     // type of number: 0 to 6; default by the look of Source: 5 a name, 3 a short code, 1 a number
	SourceNPI      *int     // numbering plan: 0 to 18; default 1 for a number, else 0
	DestinationTON *int     // default 1, international
	DestinationNPI *int     // default 1, E.164
	ServiceType    string   // at most 5 characters; default none
	LongMessages   string   // SMPPSegments, the default, or SMPPPayload
	ReceiptIDs     string   // SMPPSameID, the default, SMPPDecimalID or SMPPHexID
	RefusedCodes   []uint32 // the carrier's own command_status (0x400 to 0x4FF) for a number that gets no messages

	Window         int           // messages that may wait for their answer; default 10
	EnquireLink    time.Duration // of silence before the connection is tried; default 30 s
	AnswerTimeout  time.Duration // for a connection, bind, enquire_link and unbind; default 5 s
	ReconnectAfter time.Duration // first pause, which doubles up to a minute; default 1 s

	// OnReceipt takes what the carrier reports, one at a time and while messages are
	// sent. After an error the carrier is told to report again. Default: no receipts
	// are asked for.
	OnReceipt func(context.Context, Receipt) error

	Logger *slog.Logger     // default slog.Default()
	Now    func() time.Time // default time.Now
}

// SMPP sends over one connection that it keeps up. It must be closed.
type SMPP struct {
	opts SMPPOptions
	tls  *tls.Config // nil if plain
	stop context.CancelFunc
	gone chan struct{} // closed when the connection is no longer kept up

	mu      sync.Mutex
	session *smppSession  // bound; else nil
	trying  chan struct{} // closed when an attempt to bind ends; nil between attempts
	last    *Error        // why there is no session
}

// NewSMPP returns a Provider, and begins to connect.
func NewSMPP(o SMPPOptions) (*SMPP, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o.setDefaults()
	p := &SMPP{opts: o, gone: make(chan struct{}), trying: make(chan struct{}), last: &Error{Kind: Unavailable, Reason: "not connected"}}
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

func (o *SMPPOptions) check() error {
	host, port, err := net.SplitHostPort(o.Address)
	switch {
	case o.Address == "":
		return errors.New("address is missing")
	case err != nil || host == "" || port == "":
		return errors.New("address must be a host and a port")
	case o.SystemID == "":
		return errors.New("system_id is missing")
	case !o.TLS && (o.ServerName != "" || o.RootCAs != nil):
		return errors.New("server_name and root_cas need tls")
	case o.LongMessages != "" && o.LongMessages != SMPPSegments && o.LongMessages != SMPPPayload:
		return fmt.Errorf("long_messages is %q; it must be %q or %q", o.LongMessages, SMPPSegments, SMPPPayload)
	case o.ReceiptIDs != "" && o.ReceiptIDs != SMPPSameID && o.ReceiptIDs != SMPPDecimalID && o.ReceiptIDs != SMPPHexID:
		return fmt.Errorf("receipt_ids is %q; it must be %q, %q or %q", o.ReceiptIDs, SMPPSameID, SMPPDecimalID, SMPPHexID)
	case o.Window < 0 || o.Window > 1000:
		return fmt.Errorf("window is %d; it must be from 1 to 1000", o.Window)
	case o.EnquireLink < 0 || o.AnswerTimeout < 0 || o.ReconnectAfter < 0:
		return errors.New("enquire_link, answer_timeout and reconnect_after must be positive")
	}
	for _, text := range []struct {
		name, value string
		most        int
	}{
		{"system_id", o.SystemID, 15}, {"password", o.Password.Reveal(), 63}, {"system_type", o.SystemType, 12},
		{"source", o.Source, 20}, {"service_type", o.ServiceType, 5},
	} {
		if len(text.value) > text.most || strings.ContainsFunc(text.value, func(r rune) bool { return r < ' ' || r > '~' }) {
			return fmt.Errorf("%s must be at most %d characters of ASCII", text.name, text.most)
		}
	}
	for _, number := range []struct {
		name  string
		value *int
		most  int
	}{
		{"source_ton", o.SourceTON, 6}, {"source_npi", o.SourceNPI, 18},
		{"destination_ton", o.DestinationTON, 6}, {"destination_npi", o.DestinationNPI, 18},
	} {
		if v := number.value; v != nil && (*v < 0 || *v > number.most) {
			return fmt.Errorf("%s is %d; it must be from 0 to %d", number.name, *v, number.most)
		}
	}
	return nil
}

func (o *SMPPOptions) setDefaults() {
	ton, npi := 0, 0
	digits := strings.TrimPrefix(o.Source, "+")
	switch isNumber := digits != "" && strings.Trim(digits, "0123456789") == ""; {
	case o.Source == "":
	case !isNumber:
		ton = 5
	case len(digits) <= 6 && digits == o.Source:
		ton = 3
	default:
		ton, npi = 1, 1
		o.Source = digits
	}
	one := 1
	for value, def := range map[**int]*int{
		&o.SourceTON: &ton, &o.SourceNPI: &npi, &o.DestinationTON: &one, &o.DestinationNPI: &one,
	} {
		if *value == nil {
			*value = def
		}
	}
	if o.LongMessages == "" {
		o.LongMessages = SMPPSegments
	}
	if o.Window == 0 {
		o.Window = 10
	}
	for value, def := range map[*time.Duration]time.Duration{
		&o.EnquireLink: 30 * time.Second, &o.AnswerTimeout: 5 * time.Second, &o.ReconnectAfter: time.Second,
	} {
		if *value == 0 {
			*value = def
		}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

const smppLongestPause = time.Minute

// keepUp binds, and binds again when the connection is lost, until ctx is done.
func (p *SMPP) keepUp(ctx context.Context) {
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
		p.opts.Logger.Warn("smpp: not connected", "address", p.opts.Address, "error", err, "again_in", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, smppLongestPause)
		p.mu.Lock()
		p.trying = make(chan struct{})
		p.mu.Unlock()
	}
}

// connect returns a bound session. Its error shows no more than addresses.
func (p *SMPP) connect(ctx context.Context) (*smppSession, error) {
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
	var w smppWriter
	w.text(p.opts.SystemID)
	w.text(p.opts.Password.Reveal())
	w.text(p.opts.SystemType)
	w.octets(0x34, 0, 0) // interface_version, addr_ton, addr_npi
	w.text("")           // address_range
	s := newSMPPSession(conn, p.opts.Window, p.opts.AnswerTimeout)
	if err := s.bind(ctx, w.Bytes()); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// tried tells those who wait how the attempt to bind ended.
func (p *SMPP) tried(s *smppSession, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.session = s
	if err != nil {
		p.last = &Error{Kind: Unavailable, Reason: "not connected"}
		if refused, ok := errors.AsType[*Error](err); ok {
			p.last = &Error{Kind: Unavailable, Code: refused.Code, Reason: "bind: " + refused.Reason}
		}
	}
	close(p.trying)
	p.trying = nil
}

func (p *SMPP) lost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.session, p.last = nil, &Error{Kind: Unavailable, Reason: "not connected"}
}

// bound returns the session, which it waits for while one is being bound.
func (p *SMPP) bound(ctx context.Context) (*smppSession, *Error) {
	p.mu.Lock()
	trying := p.trying
	p.mu.Unlock()
	if trying != nil {
		select {
		case <-trying:
		case <-p.gone:
		case <-ctx.Done():
			return nil, &Error{Kind: Unavailable, Reason: "timed out connecting"}
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

// Send implements Provider. The id of a message in several parts is that of the
// last, for which alone a receipt is asked.
func (p *SMPP) Send(ctx context.Context, m Message) (string, error) {
	s, failed := p.bound(ctx)
	if failed != nil {
		return "", failed
	}
	bodies := p.bodies(m)
	if len(bodies) > 255 {
		return "", &Error{Kind: Unavailable, Reason: "the text is too long"}
	}
	id := ""
	for i, body := range bodies {
		result := s.request(ctx, smppSubmitSM, body, true, p.opts.Now())
		var e *Error
		switch {
		case result.err != nil:
			e = smppNoAnswer(result)
		case result.answer.status != 0:
			e = smppError(result.answer.status, p.opts.RefusedCodes)
		case result.answer.command != smppSubmitSM|smppAnswer:
			e = &Error{Kind: Uncertain, Reason: "answered another command"}
		default:
			r := smppReader{rest: result.answer.body}
			if id = p.opts.submittedID(r.text()); !smppID.MatchString(id) {
				e = &Error{Kind: Uncertain, Reason: "accepted without an id"}
			}
		}
		if e != nil {
			if i > 0 {
				e.Kind = Uncertain // the phone may show the parts that were accepted
			}
			return "", e
		}
	}
	return id, nil
}

// smppNoAnswer says why there is none.
func smppNoAnswer(r smppResult) *Error {
	e := &Error{Kind: Unavailable, Reason: "connection lost"}
	switch {
	case errors.Is(r.err, errSMPPWindow):
		e.Reason = errSMPPWindow.Error()
	case errors.Is(r.err, context.DeadlineExceeded):
		e.Reason = "timed out"
	}
	if r.arrived {
		e.Kind = Uncertain
	}
	return e
}

// bodies returns those of the submit_sm that m takes.
func (p *SMPP) bodies(m Message) [][]byte {
	text := newSMPPText(m.Text.Reveal())
	submit := smppSubmit{
		serviceType: p.opts.ServiceType,
		sourceTON:   byte(*p.opts.SourceTON), sourceNPI: byte(*p.opts.SourceNPI), source: p.opts.Source,
		destinationTON: byte(*p.opts.DestinationTON), destinationNPI: byte(*p.opts.DestinationNPI),
		destination: strings.TrimPrefix(m.To.Reveal(), "+"),
		dataCoding:  text.coding, validity: smppValidity(m.ValidFor), receipt: p.opts.OnReceipt != nil,
	}
	parts := text.parts()
	if len(parts) == 1 {
		submit.short = parts[0]
		return [][]byte{submit.body()}
	}
	if p.opts.LongMessages == SMPPPayload {
		submit.payload = text.bytes()
		return [][]byte{submit.body()}
	}
	// What joins the parts must differ between messages to one phone.
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

// smppValidity is a relative time (section 7.1.1.1), in whole seconds, of at most
// 28 days; "" leaves it to the carrier.
func smppValidity(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	s := int64(min(max(d, time.Second), 28*24*time.Hour) / time.Second)
	return fmt.Sprintf("0000%02d%02d%02d%02d000R", s/86400, s/3600%24, s/60%60, s%60)
}

// Close takes leave of the other side and frees the connection. Messages that wait
// for their answer are uncertain.
func (p *SMPP) Close() error {
	p.stop()
	<-p.gone
	return nil
}

// The command_status that answer what the other side sends.
const (
	smppUnknownCommand = 0x03
	smppQueueFull      = 0x14
	smppTryAgain       = 0x64 // ESME_RX_T_APPN
)

// deliver handles one deliver_sm. What is no receipt, such as somebody's reply, is
// taken and forgotten.
func (p *SMPP) deliver(body []byte) (status uint32) {
	receipt, ok := parseSMPPReceipt(body)
	if !ok || p.opts.OnReceipt == nil {
		return 0
	}
	receipt.ID = p.opts.receiptID(receipt.ID)
	ctx, cancel := context.WithTimeout(context.Background(), p.opts.AnswerTimeout)
	defer cancel()
	if err := p.opts.OnReceipt(ctx, receipt); err != nil {
		p.opts.Logger.Warn("smpp: a receipt was not taken", "address", p.opts.Address, "error", err)
		return smppTryAgain
	}
	return 0
}

// submittedID and receiptID make one of the two names that a message may have: the
// hexadecimal or decimal number of its submit_sm_resp, without leading zeros.
func (o *SMPPOptions) submittedID(id string) string {
	switch o.ReceiptIDs {
	case SMPPDecimalID:
		return smppNumber(id, 16, 16)
	case SMPPHexID:
		return smppNumber(id, 10, 10)
	}
	return id
}

func (o *SMPPOptions) receiptID(id string) string {
	switch o.ReceiptIDs {
	case SMPPDecimalID:
		return smppNumber(id, 10, 16)
	case SMPPHexID:
		return smppNumber(id, 16, 10)
	}
	return id
}

// smppNumber writes a number in another base; what is none stays what it is.
func smppNumber(s string, from, to int) string {
	if n, ok := new(big.Int).SetString(s, from); ok && n.Sign() >= 0 && len(s) <= 64 {
		return n.Text(to)
	}
	return s
}

// smppError is what a command_status (section 5.1.3) means for a message.
func smppError(status uint32, refused []uint32) *Error {
	e := &Error{Kind: Unavailable, Code: fmt.Sprintf("0x%08X", status), Reason: "refused"}
	if known, ok := smppStatuses[status]; ok {
		e.Kind, e.Reason = known.kind, known.reason
	}
	for _, r := range refused {
		if r == status {
			e.Kind, e.Reason = Refused, "the carrier does not deliver to the number"
		}
	}
	return e
}

var smppStatuses = map[uint32]struct {
	kind   Kind
	reason string
}{
	0x01: {Unavailable, "message length"},
	0x02: {Unavailable, "command length"},
	0x03: {Unavailable, "unknown command"},
	0x04: {Unavailable, "not bound for this command"},
	0x05: {Unavailable, "already bound: by another process?"},
	0x08: {Unavailable, "system error"},
	0x0A: {Unavailable, "source address"},
	0x0B: {Refused, "destination address"},
	0x0D: {Unavailable, "bind failed"},
	0x0E: {Unavailable, "password"},
	0x0F: {Unavailable, "system id"},
	0x14: {Unavailable, "queue full"},
	0x15: {Unavailable, "service type"},
	0x43: {Unavailable, "esm_class"},
	0x45: {Unavailable, "submit failed"},
	0x48: {Unavailable, "source type of number"},
	0x49: {Unavailable, "source numbering plan"},
	0x50: {Unavailable, "destination type of number"},
	0x51: {Unavailable, "destination numbering plan"},
	0x53: {Unavailable, "system type"},
	0x58: {Unavailable, "throttled"},
	0x62: {Unavailable, "validity period"},
	0x64: {Unavailable, "temporary error"},
	0x65: {Unavailable, "permanent error"},
	0x66: {Unavailable, "rejected"},
	0xC0: {Unavailable, "optional part"},
	0xC1: {Unavailable, "optional parameter not allowed"},
	0xC2: {Unavailable, "parameter length"},
	0xC3: {Unavailable, "parameter missing"},
	0xC4: {Unavailable, "parameter value"},
	0xFE: {Unavailable, "delivery failed"},
	0xFF: {Unavailable, "unknown error"},
}
