package sms_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
)

// smppDeliver is the body of a deliver_sm from a phone's number, with optional
// parameters as they are on the wire.
func smppDeliver(esmClass, coding byte, text []byte, parameters ...[]byte) []byte {
	var b bytes.Buffer
	b.WriteString("\x00\x01\x01491701234567\x00\x05\x00Example\x00")
	b.Write([]byte{esmClass, 0, 0, 0, 0, 0, 0, coding, 0, byte(len(text))})
	b.Write(text)
	for _, p := range parameters {
		b.Write(p)
	}
	return b.Bytes()
}

func smppParameter(tag uint16, value string) []byte {
	b := binary.BigEndian.AppendUint16(nil, tag)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...)
}

func smppUTF16(order binary.AppendByteOrder, text string) (b []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, unit)
	}
	return b
}

const (
	tagReceiptedID = 0x001E
	tagNetworkCode = 0x0423
	tagPayload     = 0x0424
	tagState       = 0x0427
)

// The text of a receipt as appendix B has it.
const smppCustom = "id:7bc0 sub:001 dlvrd:001 submit date:2611241200 done date:2611241201 "

// smppDelivered is what most of the receipts below say.
var smppDelivered = sms.Receipt{ID: "7bc0", State: sms.Delivered}

func smppFailedAs(state sms.State, reason string) sms.Receipt {
	return sms.Receipt{ID: "7bc0", State: state, Reason: reason}
}

// smppReceiptForms are deliver_sm of carriers and how they are read.
var smppReceiptForms = []struct {
	name string
	body []byte
	want sms.Receipt
	fail string // what the log says in place of a receipt
}{
	{"as in appendix B", smppDeliver(4, 0, []byte(smppCustom+"stat:DELIVRD err:000 text:Your code")), smppDelivered, ""},
	{"with spaces after the colons", smppDeliver(4, 0, []byte("id: 7bc0 sub: 001 dlvrd: 001 submit date: 2611241200 done date: 2611241201 stat: DELIVRD err: 000 text: ")), smppDelivered, ""},
	{"with spaces around the colons", smppDeliver(4, 0, []byte("id : 7bc0 stat : DELIVRD")), smppDelivered, ""},
	{"with commas", smppDeliver(4, 0, []byte("id:7bc0,sub:001,dlvrd:001,stat:UNDELIV,err:001,text:")), smppFailedAs(sms.Undelivered, "UNDELIV 001"), ""},
	{"with semicolons", smppDeliver(4, 0, []byte("id:7bc0;stat:DELIVRD;err:0;")), smppDelivered, ""},
	{"with quotes", smppDeliver(4, 0, []byte(`id:"7bc0" sub:"001" stat:"DELIVRD" err:"000" text:"Your code"`)), smppDelivered, ""},
	{"with single quotes", smppDeliver(4, 0, []byte(`id:'7bc0', stat:'REJECTD'`)), smppFailedAs(sms.Failed, "REJECTD"), ""},
	{"as JSON", smppDeliver(4, 0, []byte(`{"id":"7bc0","stat":"DELIVRD"}`)), smppDelivered, ""},
	{"with equals signs", smppDeliver(4, 0, []byte("id=7bc0 stat=DELIVRD")), smppDelivered, ""},
	{"on lines of their own", smppDeliver(4, 0, []byte("id:7bc0\r\nstat:DELIVRD\r\n")), smppDelivered, ""},
	{"ended with a zero octet", smppDeliver(4, 0, []byte("id:7bc0 stat:DELIVRD\x00")), smppDelivered, ""},
	{"in capitals", smppDeliver(4, 0, []byte("ID:7BC0 SUB:001 STAT:DELIVRD ERR:000")), smppDelivered, ""},
	{"with state in place of stat", smppDeliver(4, 0, []byte("id:7bc0 state:DELIVRD")), smppDelivered, ""},
	{"with status in place of stat", smppDeliver(4, 0, []byte("id:7bc0 status:EXPIRED error:5")), smppFailedAs(sms.Undelivered, "EXPIRED 5"), ""},
	{"with the state in front", smppDeliver(4, 0, []byte("stat:DELIVRD id:7bc0")), smppDelivered, ""},
	{"with the state as a number", smppDeliver(4, 0, []byte("id:7bc0 stat:005")), smppFailedAs(sms.Undelivered, "UNDELIV"), ""},

	{"delivered, written out", smppDeliver(4, 0, []byte("id:7bc0 stat:DELIVERED")), smppDelivered, ""},
	{"undeliverable, written out", smppDeliver(4, 0, []byte("id:7bc0 stat:UNDELIVERABLE")), smppFailedAs(sms.Undelivered, "UNDELIV"), ""},
	{"undelivered, written out", smppDeliver(4, 0, []byte("id:7bc0 stat:Undelivered")), smppFailedAs(sms.Undelivered, "UNDELIV"), ""},
	{"rejected, written out", smppDeliver(4, 0, []byte("id:7bc0 stat:REJECTED err:0A1")), smppFailedAs(sms.Failed, "REJECTD 0A1"), ""},
	{"failed", smppDeliver(4, 0, []byte("id:7bc0 stat:FAILED err:069")), smppFailedAs(sms.Undelivered, "FAILED 069"), ""},
	{"deleted", smppDeliver(4, 0, []byte("id:7bc0 stat:DELETED")), smppFailedAs(sms.Undelivered, "DELETED"), ""},
	{"canceled", smppDeliver(4, 0, []byte("id:7bc0 stat:CANCELLED")), smppFailedAs(sms.Undelivered, "DELETED"), ""},
	{"skipped", smppDeliver(4, 0, []byte("id:7bc0 stat:SKIPPED")), smppFailedAs(sms.Undelivered, "SKIPPED"), ""},
	{"accepted, written out", smppDeliver(4, 0, []byte("id:7bc0 stat:ACCEPTED")), sms.Receipt{ID: "7bc0", State: sms.Sent}, ""},
	{"on its way", smppDeliver(0x20, 0, []byte("id:7bc0 stat:EN_ROUTE")), sms.Receipt{ID: "7bc0", State: sms.Sent}, ""},

	{"in UCS-2", smppDeliver(4, 8, smppUTF16(binary.BigEndian, smppCustom+"stat:DELIVRD err:000 text:Ваш код")), smppDelivered, ""},
	{"in UCS-2 with a byte order mark", smppDeliver(4, 8, smppUTF16(binary.BigEndian, "\ufeffid:7bc0 stat:DELIVRD")), smppDelivered, ""},
	{"in UCS-2, the low octet first", smppDeliver(4, 8, smppUTF16(binary.LittleEndian, "id:7bc0 stat:DELIVRD")), smppDelivered, ""},
	{"in UCS-2 that says it is the default alphabet", smppDeliver(4, 0, smppUTF16(binary.BigEndian, "id:7bc0 stat:DELIVRD")), smppDelivered, ""},
	{"in ASCII that says it is UCS-2", smppDeliver(4, 8, []byte("id:7bc0 stat:DELIVRD err:000")), smppDelivered, ""},
	{"in Latin-1", smppDeliver(4, 3, []byte("id:7bc0 stat:DELIVRD text:d\xe9j\xe0")), smppDelivered, ""},
	{"behind a header", smppDeliver(0x44, 0, []byte("\x05\x00\x03\x41\x02\x01"+"id:7bc0 stat:DELIVRD")), smppDelivered, ""},
	{"behind a header of which no one tells", smppDeliver(4, 0, []byte("\x05\x00\x03\x61\x02\x01"+"id:7bc0 stat:DELIVRD")), smppDelivered, ""},
	{"behind a header, in UCS-2", smppDeliver(0x44, 8, append([]byte("\x06\x08\x04\x12\x61\x01\x01"), smppUTF16(binary.BigEndian, "id:7bc0 stat:DELIVRD")...)), smppDelivered, ""},
	{"told to be behind a header that is not there", smppDeliver(0x44, 0, []byte("id:7bc0 stat:DELIVRD")), smppDelivered, ""},

	{"by parameters", smppDeliver(4, 0, nil, smppParameter(tagReceiptedID, "7bc0\x00"), smppParameter(tagState, "\x02")), smppDelivered, ""},
	{"by parameters, without a message type", smppDeliver(0, 0, []byte(smppCustom+"stat:DELIVRD"), smppParameter(tagReceiptedID, "7BC0\x00"), smppParameter(tagState, "\x02")), smppDelivered, ""},
	{"by an id alone, and a text without a message type", smppDeliver(0, 0, []byte("stat:DELIVRD"), smppParameter(tagReceiptedID, "7bc0\x00")), smppDelivered, ""},
	{"by a state alone, and a text without a message type", smppDeliver(0, 0, []byte("id:7bc0"), smppParameter(tagState, "\x02")), smppDelivered, ""},
	{"by parameters, the id without its end", smppDeliver(4, 0, nil, smppParameter(tagReceiptedID, "7bc0"), smppParameter(tagState, "\x02")), smppDelivered, ""},
	{"by parameters, the id padded", smppDeliver(4, 0, nil, smppParameter(tagReceiptedID, "7bc0    \x00"), smppParameter(tagState, "\x02")), smppDelivered, ""},
	{"by parameters, the state in four octets", smppDeliver(4, 0, nil, smppParameter(tagReceiptedID, "7bc0\x00"), smppParameter(tagState, "\x00\x00\x00\x05")), smppFailedAs(sms.Undelivered, "UNDELIV"), ""},
	{"with an empty id parameter next to a good text", smppDeliver(4, 0, []byte(smppCustom+"stat:DELIVRD"), smppParameter(tagReceiptedID, "\x00")), smppDelivered, ""},
	{"with the state 0 next to a good text", smppDeliver(4, 0, []byte(smppCustom+"stat:DELIVRD"), smppParameter(tagReceiptedID, "7bc0\x00"), smppParameter(tagState, "\x00")), smppDelivered, ""},
	{"with an unknown state next to a good text", smppDeliver(4, 0, []byte(smppCustom+"stat:UNDELIV err:005"), smppParameter(tagState, "\x63")), smppFailedAs(sms.Undelivered, "UNDELIV 005"), ""},
	{"with an empty state next to a good text", smppDeliver(4, 0, []byte(smppCustom+"stat:DELIVRD"), smppParameter(tagState, "")), smppDelivered, ""},
	{"with a state that differs from the text", smppDeliver(4, 0, []byte(smppCustom+"stat:UNDELIV err:005"), smppParameter(tagState, "\x08")), smppFailedAs(sms.Failed, "REJECTD 005"), ""},
	{"in a payload", smppDeliver(4, 0, nil, smppParameter(tagPayload, smppCustom+"stat:DELIVRD")), smppDelivered, ""},
	{"in a payload, with another text", smppDeliver(4, 0, []byte("receipt"), smppParameter(tagPayload, smppCustom+"stat:DELIVRD")), smppDelivered, ""},
	{"with a parameter that is cut short", append(smppDeliver(4, 0, []byte(smppCustom+"stat:DELIVRD"), smppParameter(tagNetworkCode, "\x03\x00\x05")), 0x14, 0x03, 0x00), smppDelivered, ""},
	{"with a text that lies", smppDeliver(4, 0, []byte(smppCustom+"stat:UNDELIV err:001 text:id:other stat:DELIVRD err:000")), smppFailedAs(sms.Undelivered, "UNDELIV 001"), ""},
	{"with another id in its date", smppDeliver(4, 0, []byte("id:7bc0 submit date:id:1 stat:DELIVRD")), smppDelivered, ""},

	{"a reply from a phone", smppDeliver(0, 0, []byte(smppCustom+"stat:DELIVRD")), sms.Receipt{}, ""},
	{"an acknowledgement by a person", smppDeliver(0x10, 0, []byte(smppCustom+"stat:DELIVRD")), sms.Receipt{}, ""},
	{"without an id", smppDeliver(4, 0, []byte("stat:DELIVRD err:000 text:482913")), sms.Receipt{}, `id="" reason="it has no message id"`},
	{"with an empty id", smppDeliver(4, 0, []byte("id: sub:001 stat:DELIVRD")), sms.Receipt{}, `id="" reason="it has no message id"`},
	{"without a state", smppDeliver(4, 0, []byte("id:7bc0 sub:001 text:stat:DELIVRD")), sms.Receipt{}, `id=7bc0 reason="it has no state"`},
	{"of a state to come", smppDeliver(4, 0, []byte(smppCustom+"stat:TELEPAT")), sms.Receipt{}, `id=7bc0 reason="its state \"TELEPAT\" is not known"`},
	{"with a number for a state", smppDeliver(4, 0, []byte("id:7bc0 stat:491701234567")), sms.Receipt{}, `id=7bc0 reason="its state \"\" is not known"`},
	{"cut short", smppDeliver(4, 0, []byte(smppCustom))[:40], sms.Receipt{}, `id="" reason="the deliver_sm is cut short"`},
	{"a text of a code", smppDeliver(4, 0, []byte("482913")), sms.Receipt{}, `reason="it has no message id"`},
}

func TestSMPPReceiptForms(t *testing.T) {
	s := startSMPP(t)
	taken := make(chan sms.Receipt, 10)
	o := smppOptions(s.address)
	o.OnReceipt = func(_ context.Context, r sms.Receipt) error {
		taken <- r
		return nil
	}
	log := &smppLog{}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	p, err := sms.NewSMPP(o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s.next(t, "bound")
	for _, tc := range smppReceiptForms {
		t.Run(tc.name, func(t *testing.T) {
			before := len(log.String())
			s.order(t, `{"body": "`+hex.EncodeToString(tc.body)+`"}`)
			if got := s.next(t, "deliver_sm_resp"); got.Status != 0 {
				t.Errorf("deliver_sm was answered with %d", got.Status)
			}
			var got sms.Receipt
			select { // the answer came after the callback
			case got = <-taken:
			default:
			}
			got.Also = "" // see TestSMPPReceiptIDs
			if got != tc.want {
				t.Errorf("the receipt is %+v; want %+v", got, tc.want)
			}
			logged := log.String()[before:]
			lines := 0
			if tc.fail != "" {
				lines = 1
			}
			if strings.Count(logged, "\n") != lines || !strings.Contains(logged, tc.fail) {
				t.Errorf("logged %q; want %d lines, with %q", logged, lines, tc.fail)
			}
			for _, hidden := range []string{"491701234567", "482913"} {
				if strings.Contains(logged, hidden) {
					t.Errorf("the log tells %q: %s", hidden, logged)
				}
			}
		})
	}
}

// TestSMPPReceiptIDs follows ids from submit_sm_resp to the receipt.
func TestSMPPReceiptIDs(t *testing.T) {
	s := startSMPP(t)
	for _, tc := range []struct{ form, submitted, id, receipt, first, also string }{
		// The same id, written otherwise.
		{sms.SMPPSameID, "7bc0", "7bc0", "7bc0", "7bc0", "31680"},
		{sms.SMPPSameID, "00B8BE19", "b8be19", "B8BE19", "b8be19", "12107289"},
		{sms.SMPPSameID, "B8BE19", "b8be19", "00b8be19", "b8be19", "12107289"},
		{sms.SMPPSameID, "0xB8BE19", "b8be19", "B8BE19", "b8be19", "12107289"},
		{sms.SMPPSameID, "000000029095", "29095", "29095", "29095", "71a7"},
		{sms.SMPPSameID, "29095", "29095", "000000029095", "29095", "71a7"},
		{sms.SMPPSameID, "1980", "1980", " 1980 ", "1980", "7bc"},
		{sms.SMPPSameID, "6528", "6528", "6528", "6528", ""}, // 0x1980: which one is meant cannot be told
		{sms.SMPPSameID, "0", "0", "0000", "0", ""},
		{sms.SMPPSameID, "Mt-0aG", "Mt-0aG", "Mt-0aG", "Mt-0aG", ""},
		{sms.SMPPSameID, "3D9F0000-7bC0", "3D9F0000-7bC0", "3D9F0000-7bC0", "3D9F0000-7bC0", ""},
		// The other base, though no setting says so.
		{sms.SMPPSameID, "B8BE19", "b8be19", "12107289", "12107289", "b8be19"},
		{sms.SMPPSameID, "0012107289", "12107289", "B8BE19", "b8be19", "12107289"},
		// submit_sm_resp in hexadecimal, the receipt in decimal.
		{sms.SMPPDecimalID, "07BC", "7bc", "0000001980", "7bc", ""},
		{sms.SMPPDecimalID, "1980", "1980", "6528", "1980", ""},
		{sms.SMPPDecimalID, "00B8BE19", "b8be19", "B8BE19", "b8be19", "12107289"}, // the same after all
		// The other way round.
		{sms.SMPPHexID, "0000001980", "1980", "07BC", "1980", "7bc"},
		{sms.SMPPHexID, "6528", "6528", "1980", "6528", "7bc"},
		{sms.SMPPHexID, "B8BE19", "b8be19", "B8BE19", "12107289", "b8be19"},
		{sms.SMPPHexID, "no-number", "no-number", "no-number", "no-number", ""},
	} {
		t.Run(tc.form+" "+tc.submitted+" "+tc.receipt, func(t *testing.T) {
			taken := make(chan sms.Receipt, 1)
			o := smppOptions(s.address)
			o.ReceiptIDs = tc.form
			o.OnReceipt = func(_ context.Context, r sms.Receipt) error {
				taken <- r
				return nil
			}
			p := newSMPP(t, o)
			s.next(t, "bound")
			s.order(t, `{"ids": ["`+tc.submitted+`"]}`)
			if id, err := p.Send(t.Context(), smppMessage(smppText)); err != nil || id != tc.id {
				t.Errorf("Send = %q, %v; want %q", id, err, tc.id)
			}
			s.order(t, fmt.Sprintf(`{"body": "%x"}`, smppDeliver(4, 0, []byte("id:"+tc.receipt+" stat:DELIVRD err:000"))))
			s.next(t, "deliver_sm_resp")
			if r := <-taken; r.ID != tc.first || r.Also != tc.also {
				t.Errorf("the receipt is of %q or %q; want %q or %q", r.ID, r.Also, tc.first, tc.also)
			}
			if tc.id != tc.first && tc.id != tc.also {
				t.Error("the receipt does not find its message")
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			s.next(t, "closed")
		})
	}
}

// A message that the carrier accepts is accepted, with any id or none.
func TestSMPPAcceptsWithoutAnID(t *testing.T) {
	s := startSMPP(t)
	log := &smppLog{}
	o := smppOptions(s.address)
	o.OnReceipt = func(context.Context, sms.Receipt) error { return nil }
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	p, err := sms.NewSMPP(o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s.next(t, "bound")
	for _, tc := range []struct{ name, body, id string }{
		{"an empty id", "\x00", ""},
		{"no body", "", ""},
		{"an id without its end", "7bc0", "7bc0"},
		{"an id padded with spaces", "7bc0      \x00", "7bc0"},
		{"an id padded with zero octets", "7bc0\x00\x00\x00\x00\x00", "7bc0"},
		{"spaces alone", "    \x00", ""},
		{"an id of 86 characters", strings.Repeat("x", 86) + "\x00", strings.Repeat("x", 86)},
		{"an id of 200 characters", strings.Repeat("x", 200) + "\x00", ""},
		{"an id that is not ASCII", "\xff\xfe\x00", ""},
		{"parameters after the id", "7bc0\x00\x04\x25\x00\x01\x00", "7bc0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.order(t, `{"answers": ["`+hex.EncodeToString([]byte(tc.body))+`"]}`)
			if id, err := p.Send(t.Context(), smppMessage(smppText)); err != nil || id != tc.id {
				t.Errorf("Send = %q, %v; want %q", id, err, tc.id)
			}
		})
	}
	if n := strings.Count(log.String(), "without an id"); n != 1 {
		t.Errorf("the log tells %d times of messages without an id; want once: %s", n, log)
	}
}

func FuzzSMPPReceipts(f *testing.F) {
	for _, tc := range smppReceiptForms {
		f.Add(tc.body)
	}
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := sms.ParseSMPPReceipt(body)
		if read := err == nil && r.ID != ""; read != (r.State != "") || len(r.ID) > 128 || len(r.Reason) > 16 {
			t.Errorf("%q is read as %+v, %v", body, r, err)
		}
		if strings.ContainsFunc(r.ID+r.Reason, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("%q is read as %+v", body, r)
		}
		for _, form := range []string{sms.SMPPSameID, sms.SMPPDecimalID, sms.SMPPHexID} {
			first, also := sms.SMPPReceiptID(sms.SMPPOptions{ReceiptIDs: form}, r.ID)
			if (first == "") != (r.ID == "") || also == first && also != "" {
				t.Errorf("%q of %s is read as %q and %q", r.ID, form, first, also)
			}
		}
	})
}
