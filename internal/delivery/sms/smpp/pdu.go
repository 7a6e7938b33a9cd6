package smpp

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
	bindTransceiver = 0x00000009
	submitSM        = 0x00000004
	deliverSM       = 0x00000005
	unbind          = 0x00000006
	enquireLink     = 0x00000015
	answerBit       = 0x80000000
	genericNack     = 0x80000000
)

// The optional parameters (section 5.3.2) that are read or written here.
const (
	tagReceiptedMessageID = 0x001E
	tagNetworkErrorCode   = 0x0423
	tagMessagePayload     = 0x0424
	tagMessageState       = 0x0427
)

const (
	headerSize = 16
	maxPDU     = 128 << 10 // a payload has 64 KiB at most
)

// A pdu is one frame, its body as it is on the wire.
type pdu struct {
	command, status, sequence uint32
	body                      []byte
}

// frame returns what goes over the wire.
func (p pdu) frame() []byte {
	b := make([]byte, headerSize, headerSize+len(p.body))
	binary.BigEndian.PutUint32(b[0:], uint32(headerSize+len(p.body)))
	binary.BigEndian.PutUint32(b[4:], p.command)
	binary.BigEndian.PutUint32(b[8:], p.status)
	binary.BigEndian.PutUint32(b[12:], p.sequence)
	return append(b, p.body...)
}

// readPDU reads one frame. After an error the stream is of no more use.
func readPDU(r io.Reader) (pdu, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return pdu{}, err
	}
	length := binary.BigEndian.Uint32(h[0:])
	if length < headerSize || length > maxPDU {
		return pdu{}, fmt.Errorf("a frame of %d bytes", length)
	}
	p := pdu{
		command:  binary.BigEndian.Uint32(h[4:]),
		status:   binary.BigEndian.Uint32(h[8:]),
		sequence: binary.BigEndian.Uint32(h[12:]),
		body:     make([]byte, length-headerSize),
	}
	_, err := io.ReadFull(r, p.body)
	return p, err
}

// A bodyWriter builds a body.
type bodyWriter struct{ bytes.Buffer }

func (w *bodyWriter) text(s string) { // a C-octet string
	w.WriteString(s)
	w.WriteByte(0)
}

func (w *bodyWriter) octets(b ...byte) { w.Write(b) }

func (w *bodyWriter) parameter(tag uint16, value []byte) {
	w.Write(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, tag), uint16(len(value))))
	w.Write(value)
}

var errShortBody = errors.New("a body ends too early")

// A bodyReader takes a body apart. Its first error stays.
type bodyReader struct {
	rest []byte
	err  error
}

func (r *bodyReader) take(n int) []byte {
	if r.err != nil || n > len(r.rest) {
		r.err = errShortBody
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *bodyReader) octet() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *bodyReader) text() string {
	end := bytes.IndexByte(r.rest, 0)
	if r.err != nil || end < 0 {
		r.err = errShortBody
		return ""
	}
	s := string(r.rest[:end])
	r.rest = r.rest[end+1:]
	return s
}

// parameters returns the optional parameters up to the end; of several with one
// tag the last.
func (r *bodyReader) parameters() map[uint16][]byte {
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

// A submitBody is the body of submit_sm (section 4.4.1), as far as it is used.
type submitBody struct {
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

func (s submitBody) body() []byte {
	var w bodyWriter
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
		w.parameter(tagMessagePayload, s.payload)
	}
	return w.Bytes()
}

// A deliverBody is the body of deliver_sm (section 4.6.1), as far as it is used.
type deliverBody struct {
	esmClass   byte
	text       []byte
	parameters map[uint16][]byte
}

func parseDeliver(body []byte) (deliverBody, error) {
	r := bodyReader{rest: body}
	var d deliverBody
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
	if payload, ok := d.parameters[tagMessagePayload]; ok && len(d.text) == 0 {
		d.text = payload
	}
	return d, nil
}
