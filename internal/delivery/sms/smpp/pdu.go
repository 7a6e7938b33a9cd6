package smpp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The commands of SMPP 3.4 (section 5.1.2.1) that a sender uses. In an answer the top bit
// is set.
const (
	bindTransceiver = 0x00000009
	submitSM        = 0x00000004
	deliverSM       = 0x00000005
	unbind          = 0x00000006
	enquireLink     = 0x00000015
	answerBit       = 0x80000000
	genericNack     = 0x80000000
)

// The tags of the optional parameters (section 5.3.2) that this package uses.
const (
	tagReceiptedMessageID = 0x001E
	tagNetworkErrorCode   = 0x0423
	tagMessagePayload     = 0x0424
	tagMessageState       = 0x0427
)

const (
	headerSize = 16
	maxPDU     = 128 << 10 // bytes; a payload has at most 64 KiB
)

// A pdu is one frame. Its body has the encoding of the wire.
type pdu struct {
	command, status, sequence uint32
	body                      []byte
}

// frame returns the bytes of the frame.
func (p pdu) frame() []byte {
	b := make([]byte, headerSize, headerSize+len(p.body))
	binary.BigEndian.PutUint32(b[0:], uint32(headerSize+len(p.body)))
	binary.BigEndian.PutUint32(b[4:], p.command)
	binary.BigEndian.PutUint32(b[8:], p.status)
	binary.BigEndian.PutUint32(b[12:], p.sequence)
	return append(b, p.body...)
}

// readPDU reads one frame. After an error the stream cannot be used.
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

// A bodyReader reads the fields of a body. It keeps its first error.
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

// parameters returns the optional parameters up to the end. If a tag occurs more than once,
// the last value counts.
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

// A submitBody has the fields of submit_sm (section 4.4.1) that this package sets.
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
	payload                        []byte // sent instead of short
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

// A deliverBody has the fields of deliver_sm (section 4.6.1) that this package reads.
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
	d.parameters = r.parameters() // all before a truncated one
	if payload, ok := d.parameters[tagMessagePayload]; ok && len(d.text) == 0 {
		d.text = payload
	}
	return d, nil
}
