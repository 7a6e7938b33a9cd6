package smpp_test

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
	"github.com/countersign-mfa/countersign/internal/delivery/sms/smpp"
)

// deliverSM returns the body of a deliver_sm from a phone number, with encoded optional
// parameters.
func deliverSM(esmClass, coding byte, text []byte, parameters ...[]byte) []byte {
	var b bytes.Buffer
	b.WriteString("\x00\x01\x01491701234567\x00\x05\x00Example\x00")
	b.Write([]byte{esmClass, 0, 0, 0, 0, 0, 0, coding, 0, byte(len(text))})
	b.Write(text)
	for _, p := range parameters {
		b.Write(p)
	}
	return b.Bytes()
}

func parameter(tag uint16, value string) []byte {
	b := binary.BigEndian.AppendUint16(nil, tag)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...)
}

func utf16Text(order binary.AppendByteOrder, text string) (b []byte) {
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

// customText is the start of the text of a receipt in appendix B.
const customText = "id:7bc0 sub:001 dlvrd:001 submit date:2611241200 done date:2611241201 "

// deliveredReceipt is the result of most receipts below.
var deliveredReceipt = sms.Receipt{ID: "7bc0", State: sms.Delivered}

func failedReceipt(state sms.State, reason string) sms.Receipt {
	return sms.Receipt{ID: "7bc0", State: state, Reason: reason}
}

// receiptForms has forms of deliver_sm that carriers send, and the receipts in them.
var receiptForms = []struct {
	name string
	body []byte
	want sms.Receipt
	fail string // what the log says in place of a receipt
}{
	{"as in appendix B", deliverSM(4, 0, []byte(customText+"stat:DELIVRD err:000 text:Your code")), deliveredReceipt, ""},
	{"with spaces after the colons", deliverSM(4, 0, []byte("id: 7bc0 sub: 001 dlvrd: 001 submit date: 2611241200 done date: 2611241201 stat: DELIVRD err: 000 text: ")), deliveredReceipt, ""},
	{"with spaces around the colons", deliverSM(4, 0, []byte("id : 7bc0 stat : DELIVRD")), deliveredReceipt, ""},
	{"with commas", deliverSM(4, 0, []byte("id:7bc0,sub:001,dlvrd:001,stat:UNDELIV,err:001,text:")), failedReceipt(sms.Undelivered, "UNDELIV 001"), ""},
	{"with semicolons", deliverSM(4, 0, []byte("id:7bc0;stat:DELIVRD;err:0;")), deliveredReceipt, ""},
	{"with quotes", deliverSM(4, 0, []byte(`id:"7bc0" sub:"001" stat:"DELIVRD" err:"000" text:"Your code"`)), deliveredReceipt, ""},
	{"with single quotes", deliverSM(4, 0, []byte(`id:'7bc0', stat:'REJECTD'`)), failedReceipt(sms.Failed, "REJECTD"), ""},
	{"as JSON", deliverSM(4, 0, []byte(`{"id":"7bc0","stat":"DELIVRD"}`)), deliveredReceipt, ""},
	{"with equals signs", deliverSM(4, 0, []byte("id=7bc0 stat=DELIVRD")), deliveredReceipt, ""},
	{"on separate lines", deliverSM(4, 0, []byte("id:7bc0\r\nstat:DELIVRD\r\n")), deliveredReceipt, ""},
	{"ended with a zero octet", deliverSM(4, 0, []byte("id:7bc0 stat:DELIVRD\x00")), deliveredReceipt, ""},
	{"in capitals", deliverSM(4, 0, []byte("ID:7BC0 SUB:001 STAT:DELIVRD ERR:000")), deliveredReceipt, ""},
	{"with state instead of stat", deliverSM(4, 0, []byte("id:7bc0 state:DELIVRD")), deliveredReceipt, ""},
	{"with status instead of stat", deliverSM(4, 0, []byte("id:7bc0 status:EXPIRED error:5")), failedReceipt(sms.Undelivered, "EXPIRED 5"), ""},
	{"with the state in front", deliverSM(4, 0, []byte("stat:DELIVRD id:7bc0")), deliveredReceipt, ""},
	{"with the state as a number", deliverSM(4, 0, []byte("id:7bc0 stat:005")), failedReceipt(sms.Undelivered, "UNDELIV"), ""},

	{"delivered, as a full name", deliverSM(4, 0, []byte("id:7bc0 stat:DELIVERED")), deliveredReceipt, ""},
	{"undeliverable, as a full name", deliverSM(4, 0, []byte("id:7bc0 stat:UNDELIVERABLE")), failedReceipt(sms.Undelivered, "UNDELIV"), ""},
	{"undelivered, as a full name", deliverSM(4, 0, []byte("id:7bc0 stat:Undelivered")), failedReceipt(sms.Undelivered, "UNDELIV"), ""},
	{"rejected, as a full name", deliverSM(4, 0, []byte("id:7bc0 stat:REJECTED err:0A1")), failedReceipt(sms.Failed, "REJECTD 0A1"), ""},
	{"failed", deliverSM(4, 0, []byte("id:7bc0 stat:FAILED err:069")), failedReceipt(sms.Undelivered, "FAILED 069"), ""},
	{"deleted", deliverSM(4, 0, []byte("id:7bc0 stat:DELETED")), failedReceipt(sms.Undelivered, "DELETED"), ""},
	{"canceled", deliverSM(4, 0, []byte("id:7bc0 stat:CANCELLED")), failedReceipt(sms.Undelivered, "DELETED"), ""},
	{"skipped", deliverSM(4, 0, []byte("id:7bc0 stat:SKIPPED")), failedReceipt(sms.Undelivered, "SKIPPED"), ""},
	{"accepted, as a full name", deliverSM(4, 0, []byte("id:7bc0 stat:ACCEPTED")), sms.Receipt{ID: "7bc0", State: sms.Sent}, ""},
	{"on its way", deliverSM(0x20, 0, []byte("id:7bc0 stat:EN_ROUTE")), sms.Receipt{ID: "7bc0", State: sms.Sent}, ""},

	{"in UCS-2", deliverSM(4, 8, utf16Text(binary.BigEndian, customText+"stat:DELIVRD err:000 text:Ваш код")), deliveredReceipt, ""},
	{"in UCS-2 with a byte order mark", deliverSM(4, 8, utf16Text(binary.BigEndian, "\ufeffid:7bc0 stat:DELIVRD")), deliveredReceipt, ""},
	{"in UCS-2, the low octet first", deliverSM(4, 8, utf16Text(binary.LittleEndian, "id:7bc0 stat:DELIVRD")), deliveredReceipt, ""},
	{"in UCS-2 with the data_coding of the default alphabet", deliverSM(4, 0, utf16Text(binary.BigEndian, "id:7bc0 stat:DELIVRD")), deliveredReceipt, ""},
	{"in ASCII with the data_coding of UCS-2", deliverSM(4, 8, []byte("id:7bc0 stat:DELIVRD err:000")), deliveredReceipt, ""},
	{"in Latin-1", deliverSM(4, 3, []byte("id:7bc0 stat:DELIVRD text:d\xe9j\xe0")), deliveredReceipt, ""},
	{"behind a header", deliverSM(0x44, 0, []byte("\x05\x00\x03\x41\x02\x01"+"id:7bc0 stat:DELIVRD")), deliveredReceipt, ""},
	{"behind a header that esm_class does not announce", deliverSM(4, 0, []byte("\x05\x00\x03\x61\x02\x01"+"id:7bc0 stat:DELIVRD")), deliveredReceipt, ""},
	{"behind a header, in UCS-2", deliverSM(0x44, 8, append([]byte("\x06\x08\x04\x12\x61\x01\x01"), utf16Text(binary.BigEndian, "id:7bc0 stat:DELIVRD")...)), deliveredReceipt, ""},
	{"without the header that esm_class announces", deliverSM(0x44, 0, []byte("id:7bc0 stat:DELIVRD")), deliveredReceipt, ""},

	{"by parameters", deliverSM(4, 0, nil, parameter(tagReceiptedID, "7bc0\x00"), parameter(tagState, "\x02")), deliveredReceipt, ""},
	{"by parameters, without a message type", deliverSM(0, 0, []byte(customText+"stat:DELIVRD"), parameter(tagReceiptedID, "7BC0\x00"), parameter(tagState, "\x02")), deliveredReceipt, ""},
	{"only by an id, and a text without a message type", deliverSM(0, 0, []byte("stat:DELIVRD"), parameter(tagReceiptedID, "7bc0\x00")), deliveredReceipt, ""},
	{"only by a state, and a text without a message type", deliverSM(0, 0, []byte("id:7bc0"), parameter(tagState, "\x02")), deliveredReceipt, ""},
	{"by parameters, the id without its end", deliverSM(4, 0, nil, parameter(tagReceiptedID, "7bc0"), parameter(tagState, "\x02")), deliveredReceipt, ""},
	{"by parameters, the id padded", deliverSM(4, 0, nil, parameter(tagReceiptedID, "7bc0    \x00"), parameter(tagState, "\x02")), deliveredReceipt, ""},
	{"by parameters, the state in four octets", deliverSM(4, 0, nil, parameter(tagReceiptedID, "7bc0\x00"), parameter(tagState, "\x00\x00\x00\x05")), failedReceipt(sms.Undelivered, "UNDELIV"), ""},
	{"with an empty id parameter next to a valid text", deliverSM(4, 0, []byte(customText+"stat:DELIVRD"), parameter(tagReceiptedID, "\x00")), deliveredReceipt, ""},
	{"with the state 0 next to a valid text", deliverSM(4, 0, []byte(customText+"stat:DELIVRD"), parameter(tagReceiptedID, "7bc0\x00"), parameter(tagState, "\x00")), deliveredReceipt, ""},
	{"with an unknown state next to a valid text", deliverSM(4, 0, []byte(customText+"stat:UNDELIV err:005"), parameter(tagState, "\x63")), failedReceipt(sms.Undelivered, "UNDELIV 005"), ""},
	{"with an empty state next to a valid text", deliverSM(4, 0, []byte(customText+"stat:DELIVRD"), parameter(tagState, "")), deliveredReceipt, ""},
	{"with a state that differs from the text", deliverSM(4, 0, []byte(customText+"stat:UNDELIV err:005"), parameter(tagState, "\x08")), failedReceipt(sms.Failed, "REJECTD 005"), ""},
	{"in a payload", deliverSM(4, 0, nil, parameter(tagPayload, customText+"stat:DELIVRD")), deliveredReceipt, ""},
	{"in a payload, with another text", deliverSM(4, 0, []byte("receipt"), parameter(tagPayload, customText+"stat:DELIVRD")), deliveredReceipt, ""},
	{"with a truncated parameter", append(deliverSM(4, 0, []byte(customText+"stat:DELIVRD"), parameter(tagNetworkCode, "\x03\x00\x05")), 0x14, 0x03, 0x00), deliveredReceipt, ""},
	{"with a message that looks like fields", deliverSM(4, 0, []byte(customText+"stat:UNDELIV err:001 text:id:other stat:DELIVRD err:000")), failedReceipt(sms.Undelivered, "UNDELIV 001"), ""},
	{"with another id in its date", deliverSM(4, 0, []byte("id:7bc0 submit date:id:1 stat:DELIVRD")), deliveredReceipt, ""},

	{"a reply from a phone", deliverSM(0, 0, []byte(customText+"stat:DELIVRD")), sms.Receipt{}, ""},
	{"an acknowledgement by a person", deliverSM(0x10, 0, []byte(customText+"stat:DELIVRD")), sms.Receipt{}, ""},
	{"without an id", deliverSM(4, 0, []byte("stat:DELIVRD err:000 text:482913")), sms.Receipt{}, `id="" reason="it has no message id"`},
	{"with an empty id", deliverSM(4, 0, []byte("id: sub:001 stat:DELIVRD")), sms.Receipt{}, `id="" reason="it has no message id"`},
	{"without a state", deliverSM(4, 0, []byte("id:7bc0 sub:001 text:stat:DELIVRD")), sms.Receipt{}, `id=7bc0 reason="it has no state"`},
	{"with an unknown state", deliverSM(4, 0, []byte(customText+"stat:TELEPAT")), sms.Receipt{}, `id=7bc0 reason="its state \"TELEPAT\" is unknown"`},
	{"with a number as the state", deliverSM(4, 0, []byte("id:7bc0 stat:491701234567")), sms.Receipt{}, `id=7bc0 reason="its state \"\" is unknown"`},
	{"truncated", deliverSM(4, 0, []byte(customText))[:40], sms.Receipt{}, `id="" reason="the deliver_sm is truncated"`},
	{"a text that is a code", deliverSM(4, 0, []byte("482913")), sms.Receipt{}, `reason="it has no message id"`},
}

func TestReceiptForms(t *testing.T) {
	s := startServer(t)
	taken := make(chan sms.Receipt, 10)
	o := testOptions(s.address)
	o.OnReceipt = func(_ context.Context, r sms.Receipt) error {
		taken <- r
		return nil
	}
	log := &logBuffer{}
	o.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})) // without the line about binding, which may come late
	p, err := smpp.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s.next(t, "bound")
	for _, tc := range receiptForms {
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
			got.Also = "" // see TestReceiptIDs
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

// TestReceiptIDs follows ids from submit_sm_resp to the receipt.
func TestReceiptIDs(t *testing.T) {
	s := startServer(t)
	for _, tc := range []struct{ form, submitted, id, receipt, first, also string }{
		// The same id in another form.
		{smpp.SameID, "7bc0", "7bc0", "7bc0", "7bc0", "31680"},
		{smpp.SameID, "00B8BE19", "b8be19", "B8BE19", "b8be19", "12107289"},
		{smpp.SameID, "B8BE19", "b8be19", "00b8be19", "b8be19", "12107289"},
		{smpp.SameID, "0xB8BE19", "b8be19", "B8BE19", "b8be19", "12107289"},
		{smpp.SameID, "000000029095", "29095", "29095", "29095", "71a7"},
		{smpp.SameID, "29095", "29095", "000000029095", "29095", "71a7"},
		{smpp.SameID, "1980", "1980", " 1980 ", "1980", "7bc"},
		{smpp.SameID, "6528", "6528", "6528", "6528", ""}, // 0x1980: ambiguous
		{smpp.SameID, "0", "0", "0000", "0", ""},
		{smpp.SameID, "Mt-0aG", "Mt-0aG", "Mt-0aG", "Mt-0aG", ""},
		{smpp.SameID, "3D9F0000-7bC0", "3D9F0000-7bC0", "3D9F0000-7bC0", "3D9F0000-7bC0", ""},
		// The other base, without a setting.
		{smpp.SameID, "B8BE19", "b8be19", "12107289", "12107289", "b8be19"},
		{smpp.SameID, "0012107289", "12107289", "B8BE19", "b8be19", "12107289"},
		// submit_sm_resp in hexadecimal, the receipt in decimal.
		{smpp.DecimalID, "07BC", "7bc", "0000001980", "7bc", ""},
		{smpp.DecimalID, "1980", "1980", "6528", "1980", ""},
		{smpp.DecimalID, "00B8BE19", "b8be19", "B8BE19", "b8be19", "12107289"}, // the same form in both
		// submit_sm_resp in decimal, the receipt in hexadecimal.
		{smpp.HexID, "0000001980", "1980", "07BC", "1980", "7bc"},
		{smpp.HexID, "6528", "6528", "1980", "6528", "7bc"},
		{smpp.HexID, "B8BE19", "b8be19", "B8BE19", "12107289", "b8be19"},
		{smpp.HexID, "no-number", "no-number", "no-number", "no-number", ""},
	} {
		t.Run(tc.form+" "+tc.submitted+" "+tc.receipt, func(t *testing.T) {
			taken := make(chan sms.Receipt, 1)
			o := testOptions(s.address)
			o.ReceiptIDs = tc.form
			o.OnReceipt = func(_ context.Context, r sms.Receipt) error {
				taken <- r
				return nil
			}
			p := open(t, o)
			s.next(t, "bound")
			s.order(t, `{"ids": ["`+tc.submitted+`"]}`)
			if id, err := p.Send(t.Context(), newMessage(messageText)); err != nil || id != tc.id {
				t.Errorf("Send = %q, %v; want %q", id, err, tc.id)
			}
			s.order(t, fmt.Sprintf(`{"body": "%x"}`, deliverSM(4, 0, []byte("id:"+tc.receipt+" stat:DELIVRD err:000"))))
			s.next(t, "deliver_sm_resp")
			if r := <-taken; r.ID != tc.first || r.Also != tc.also {
				t.Errorf("the receipt is for %q or %q; want %q or %q", r.ID, r.Also, tc.first, tc.also)
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

// An accepted message is accepted with any id, or without an id.
func TestAcceptsWithoutAnID(t *testing.T) {
	s := startServer(t)
	log := &logBuffer{}
	o := testOptions(s.address)
	o.OnReceipt = func(context.Context, sms.Receipt) error { return nil }
	o.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})) // without the line about binding, which may come late
	p, err := smpp.New(o)
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
		{"only spaces", "    \x00", ""},
		{"an id of 86 characters", strings.Repeat("x", 86) + "\x00", strings.Repeat("x", 86)},
		{"an id of 200 characters", strings.Repeat("x", 200) + "\x00", ""},
		{"an id that is not ASCII", "\xff\xfe\x00", ""},
		{"parameters after the id", "7bc0\x00\x04\x25\x00\x01\x00", "7bc0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.order(t, `{"answers": ["`+hex.EncodeToString([]byte(tc.body))+`"]}`)
			if id, err := p.Send(t.Context(), newMessage(messageText)); err != nil || id != tc.id {
				t.Errorf("Send = %q, %v; want %q", id, err, tc.id)
			}
		})
	}
	if n := strings.Count(log.String(), "without an id"); n != 1 {
		t.Errorf("%d lines are logged about messages without an id; want once: %s", n, log)
	}
}

func FuzzReceipts(f *testing.F) {
	for _, tc := range receiptForms {
		f.Add(tc.body)
	}
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := smpp.ParseReceipt(body)
		if read := err == nil && r.ID != ""; read != (r.State != "") || len(r.ID) > 128 || len(r.Reason) > 16 {
			t.Errorf("%q is read as %+v, %v", body, r, err)
		}
		if strings.ContainsFunc(r.ID+r.Reason, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("%q is read as %+v", body, r)
		}
		for _, form := range []string{smpp.SameID, smpp.DecimalID, smpp.HexID} {
			first, also := smpp.ReceiptID(smpp.Options{ReceiptIDs: form}, r.ID)
			if (first == "") != (r.ID == "") || also == first && also != "" {
				t.Errorf("%q of %s is read as %q and %q", r.ID, form, first, also)
			}
		}
	})
}
