package smpp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/secret"
	"github.com/countersign-mfa/countersign/internal/wallclock"
)

// The ways to send a text that is too long for one message.
const (
	Segments = "segments" // as several messages, joined by a header (UDH), which every carrier accepts
	Payload  = "payload"  // as one message_payload, which the carrier splits
)

// The bases of the message ids in submit_sm_resp and in receipts.
const (
	SameID    = "same"
	DecimalID = "decimal" // submit_sm_resp in hexadecimal, the receipt in decimal
	HexID     = "hex"     // submit_sm_resp in decimal, the receipt in hexadecimal
)

// Options configure a Provider: the connection to a carrier or an aggregator by SMPP 3.4,
// and the form of messages that it requires.
type Options struct {
	Address    string        `yaml:"address"`       // host and port: "smpp.example.com:3550"; required
	TLS        bool          `yaml:"tls"`           // default no TLS: codes are readable on the network
	ServerName string        `yaml:"server_name"`   // the name in the certificate; default the host of Address
	RootCAs    []byte        `yaml:"root_cas_file"` // PEM certificates of the trusted issuers; default the issuers that the system trusts
	SystemID   string        `yaml:"system_id"`     // identifies the client in a bind; required, at most 15 characters
	Password   secret.String `yaml:"password"`      // at most 8 characters in the standard, 63 here; default none
	SystemType string        `yaml:"system_type"`   // at most 12 characters; default none

	Source         string   `yaml:"source"`          // a number or a name, at most 20 characters; default the carrier chooses
	SourceTON      *int     `yaml:"source_ton"`      // type of number: 0 to 6; default 5 if Source is a name, 3 for a short code, 1 for a number
	SourceNPI      *int     `yaml:"source_npi"`      // numbering plan: 0 to 18; default 1 for a number, else 0
	DestinationTON *int     `yaml:"destination_ton"` // default 1, international
	DestinationNPI *int     `yaml:"destination_npi"` // default 1, E.164
	ServiceType    string   `yaml:"service_type"`    // at most 5 characters; default none
	LongMessages   string   `yaml:"long_messages"`   // Segments, the default, or Payload
	ReceiptIDs     string   `yaml:"receipt_ids"`     // SameID, the default, DecimalID or HexID
	RefusedCodes   []uint32 `yaml:"refused_codes"`   // the carrier's own values of command_status (0x400 to 0x4FF) that refuse a number for good

	Window         int           `yaml:"window"`          // messages that may wait for an answer; default 10
	EnquireLink    time.Duration `yaml:"enquire_link"`    // silence before the connection is checked; default 30 s
	AnswerTimeout  time.Duration `yaml:"answer_timeout"`  // for a connection, bind, enquire_link and unbind; default 5 s
	ReconnectAfter time.Duration `yaml:"reconnect_after"` // first pause before another bind; it doubles up to a minute; default 1 s

	// OnReceipt receives the receipts of the carrier, one at a time, also while messages
	// are sent. After an error the carrier is asked to send the receipt again. If nil,
	// messages ask for no receipts.
	OnReceipt func(context.Context, sms.Receipt) error

	Logger *slog.Logger     // default slog.Default()
	Now    func() time.Time // default time.Now
}

func (o *Options) check() error {
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
	case o.LongMessages != "" && o.LongMessages != Segments && o.LongMessages != Payload:
		return fmt.Errorf("long_messages is %q; it must be %q or %q", o.LongMessages, Segments, Payload)
	case o.ReceiptIDs != "" && o.ReceiptIDs != SameID && o.ReceiptIDs != DecimalID && o.ReceiptIDs != HexID:
		return fmt.Errorf("receipt_ids is %q; it must be %q, %q or %q", o.ReceiptIDs, SameID, DecimalID, HexID)
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

func (o *Options) setDefaults() {
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
		o.LongMessages = Segments
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
	o.Now = wallclock.Or(o.Now)
}
