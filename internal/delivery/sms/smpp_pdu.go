package sms

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The commands of SMPP 3.4 (section 5.1.2.1) that a sender meets. An answer has
// the top bit set.
const (
	smppBindTransceiver = 0x00000009
	smppSubmitSM        = 0x00000004
	smppDeliverSM       = 0x00000005
	smppUnbind          = 0x00000006
	smppEnquireLink     = 0x00000015
	smppAnswer          = 0x80000000
	smppGenericNack     = 0x80000000
)

// The optional parameters (section 5.3.2) that are read or written here.
const (
	smppReceiptedMessageID = 0x001E
	smppNetworkErrorCode   = 0x0423
	smppMessagePayload     = 0x0424
	smppMessageState       = 0x0427
)

const (
	smppHeader = 16
	smppMaxPDU = 128 << 10 // a payload has 64 KiB at most
)

// A smppPDU is one frame, its body as it is on the wire.
type smppPDU struct {
	command, status, sequence uint32
	body                      []byte
}

// frame returns what goes over the wire.
func (p smppPDU) frame() []byte {
	b := make([]byte, smppHeader, smppHeader+len(p.body))
	binary.BigEndian.PutUint32(b[0:], uint32(smppHeader+len(p.body)))
	binary.BigEndian.PutUint32(b[4:], p.command)
	binary.BigEndian.PutUint32(b[8:], p.status)
	binary.BigEndian.PutUint32(b[12:], p.sequence)
	return append(b, p.body...)
}

// readSMPP reads one frame. After an error the stream is of no more use.
func readSMPP(r io.Reader) (smppPDU, error) {
	var h [smppHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return smppPDU{}, err
	}
	length := binary.BigEndian.Uint32(h[0:])
	if length < smppHeader || length > smppMaxPDU {
		return smppPDU{}, fmt.Errorf("a frame of %d bytes", length)
	}
	p := smppPDU{
		command:  binary.BigEndian.Uint32(h[4:]),
		status:   binary.BigEndian.Uint32(h[8:]),
		sequence: binary.BigEndian.Uint32(h[12:]),
		body:     make([]byte, length-smppHeader),
	}
	_, err := io.ReadFull(r, p.body)
	return p, err
}

// A smppWriter builds a body.
type smppWriter struct{ bytes.Buffer }

func (w *smppWriter) text(s string) { // a C-octet string
	w.WriteString(s)
	w.WriteByte(0)
}

func (w *smppWriter) octets(b ...byte) { w.Write(b) }

func (w *smppWriter) parameter(tag uint16, value []byte) {
	w.Write(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, tag), uint16(len(value))))
	w.Write(value)
}

var errSMPPBody = errors.New("a body ends too early")

// A smppReader takes a body apart. Its first error stays.
type smppReader struct {
	rest []byte
	err  error
}

func (r *smppReader) take(n int) []byte {
	if r.err != nil || n > len(r.rest) {
		r.err = errSMPPBody
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *smppReader) octet() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *smppReader) text() string {
	end := bytes.IndexByte(r.rest, 0)
	if r.err != nil || end < 0 {
		r.err = errSMPPBody
		return ""
	}
	s := string(r.rest[:end])
	r.rest = r.rest[end+1:]
	return s
}

// parameters returns the optional parameters up to the end; of several with one
// tag the last.
func (r *smppReader) parameters() map[uint16][]byte {
	all := map[uint16][]byte{}
	for r.err == nil && len(r.rest) > 0 {
		head := r.take(4)
		if head == nil {
			break
		}
		value := r.take(int(binary.BigEndian.Uint16(head[2:])))
		if r.err == nil {
			all[binary.BigEndian.Uint16(head)] = value
		}
	}
	return all
}

// A smppSubmit is the body of submit_sm (section 4.4.1), as far as it is used.
type smppSubmit struct {
	serviceType                    string
	sourceTON, sourceNPI           byte
	source                         string
	destinationTON, destinationNPI byte
	destination                    string
	esmClass, dataCoding           byte
	validity                       string
	receipt                        bool
	short                          []byte // at most 254 octets
	payload                        []byte // instead of short
}

func (s smppSubmit) body() []byte {
	var w smppWriter
	w.text(s.serviceType)
	w.octets(s.sourceTON, s.sourceNPI)
	w.text(s.source)
	w.octets(s.destinationTON, s.destinationNPI)
	w.text(s.destination)
	w.octets(s.esmClass, 0, 0) // protocol_id, priority_flag
	w.text("")                 // schedule_delivery_time
	w.text(s.validity)
	registered := byte(0)
	if s.receipt {
		registered = 1
	}
	w.octets(registered, 0, s.dataCoding, 0) // replace_if_present_flag, sm_default_msg_id
	w.octets(byte(len(s.short)))
	w.Write(s.short)
	if s.payload != nil {
		w.parameter(smppMessagePayload, s.payload)
	}
	return w.Bytes()
}

// A smppDelivery is the body of deliver_sm (section 4.6.1), as far as it is used.
type smppDelivery struct {
	esmClass   byte
	text       []byte
	parameters map[uint16][]byte
}

func parseSMPPDelivery(body []byte) (smppDelivery, error) {
	r := smppReader{rest: body}
	var d smppDelivery
	address := func() {
		r.take(2) // type of number, numbering plan
		r.text()
	}
	r.text() // service_type
	address()
	address()
	d.esmClass = r.octet()
	r.take(2) // protocol_id, priority_flag
	r.text()  // schedule_delivery_time
	r.text()  // validity_period
	r.take(4) // registered_delivery to sm_default_msg_id
	d.text = r.take(int(r.octet()))
	if r.err != nil {
		return d, r.err
	}
	d.parameters = r.parameters() // those before one that is cut short
	if payload, ok := d.parameters[smppMessagePayload]; ok && len(d.text) == 0 {
		d.text = payload
	}
	return d, nil
}
