package smpp_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/smpp"
	"github.com/countersign-mfa/countersign/internal/delivery/sms/smstest"
	"github.com/countersign-mfa/countersign/internal/secret"
)

func newMessage(text string) sms.Message {
	return sms.Message{
		To: secret.NewString("+491701234567"), Text: secret.NewString(text),
		Reference: "msg_01", ValidFor: 10 * time.Minute,
	}
}

const messageText = "Your code is 482913"

// sendError fails the test unless err is an *sms.Error without personal data and secrets.
func sendError(t *testing.T, err error) sms.Error {
	t.Helper()
	e, ok := errors.AsType[*sms.Error](err)
	if !ok {
		t.Fatalf("Send = %v; want an *Error", err)
	}
	for _, hidden := range []string{"491701234567", "482913", testPassword} {
		if strings.Contains(fmt.Sprintf("%v %+v", err, *e), hidden) {
			t.Errorf("the error %+v shows %q", *e, hidden)
		}
	}
	return *e
}

func TestSends(t *testing.T) {
	s := startServer(t)
	receipts := func(context.Context, sms.Receipt) error { return nil }
	number := func(n int) *int { return &n }
	const everyGSM = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà\f^{}\\[~]|€"
	want := func(text string, change func(*serverEvent)) serverEvent {
		e := serverEvent{Text: text, Source: "Example", SourceTON: 5, Registered: 1, ValidFor: 600}
		if change != nil {
			change(&e)
		}
		return e
	}
	ucs2 := func(e *serverEvent) { e.Coding = 8 }
	payload := func(o *smpp.Options) { o.LongMessages = smpp.Payload }
	for _, tc := range []struct {
		name   string
		text   string
		change func(*smpp.Options)
		want   serverEvent
	}{
		{"a plain text", messageText, nil, want(messageText, nil)},
		{"every character of GSM", everyGSM, nil, want(everyGSM, nil)},
		{"160 characters", strings.Repeat("a", 160), nil, want(strings.Repeat("a", 160), nil)},
		{"80 escaped characters", strings.Repeat("€", 80), nil, want(strings.Repeat("€", 80), nil)},
		{"UCS-2", "验证码 482913", nil, want("验证码 482913", ucs2)},
		{"outside of the basic plane", "482913 🔑", nil, want("482913 🔑", ucs2)},
		{"70 characters of UCS-2", strings.Repeat("码", 70), nil, want(strings.Repeat("码", 70), ucs2)},
		{"no text", "", nil, want("", nil)},
		{"a payload", strings.Repeat("a", 161), payload, want(strings.Repeat("a", 161), func(e *serverEvent) { e.Payload = true })},
		{"a payload of UCS-2", strings.Repeat("🔑", 36), payload, want(strings.Repeat("🔑", 36), func(e *serverEvent) { e.Payload, e.Coding = true, 8 })},
		{"a short text with payload", messageText, payload, want(messageText, nil)},
		{
			"from a number", messageText, func(o *smpp.Options) { o.Source, o.ServiceType = "+12065550100", "OTP" },
			want(messageText, func(e *serverEvent) { e.Source, e.SourceTON, e.SourceNPI, e.Service = "12065550100", 1, 1, "OTP" }),
		},
		{
			"from a short code", messageText, func(o *smpp.Options) { o.Source = "12345" },
			want(messageText, func(e *serverEvent) { e.Source, e.SourceTON = "12345", 3 }),
		},
		{
			"without a source", messageText, func(o *smpp.Options) { o.Source = "" },
			want(messageText, func(e *serverEvent) { e.Source, e.SourceTON = "", 0 }),
		},
		{
			"with the types of the carrier", messageText, func(o *smpp.Options) { o.Source, o.SourceTON, o.SourceNPI = "12345", number(6), number(9) },
			want(messageText, func(e *serverEvent) { e.Source, e.SourceTON, e.SourceNPI = "12345", 6, 9 }),
		},
		{
			"without receipts", messageText, func(o *smpp.Options) { o.OnReceipt = nil },
			want(messageText, func(e *serverEvent) { e.Registered = 0 }),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := testOptions(s.address)
			o.OnReceipt = receipts
			if tc.change != nil {
				tc.change(&o)
			}
			s.order(t, `{"ids": ["7bc0"]}`)
			id, err := open(t, o).Send(t.Context(), newMessage(tc.text))
			if err != nil || id != "7bc0" {
				t.Fatalf("Send = %q, %v", id, err)
			}
			got := s.next(t, "submit")
			tc.want.Event, tc.want.To, tc.want.Header, tc.want.Outstanding = "submit", "491701234567", got.Header, got.Outstanding
			if fmt.Sprint(got) != fmt.Sprint(tc.want) || len(got.Header) != 0 {
				t.Errorf("submitted %+v; want %+v", got, tc.want)
			}
		})
	}
}

func TestSendsSegments(t *testing.T) {
	s := startServer(t)
	o := testOptions(s.address)
	o.OnReceipt = func(context.Context, sms.Receipt) error { return nil }
	p := open(t, o)
	for _, tc := range []struct {
		name  string
		text  string
		sizes []int // characters in each part
	}{
		{"GSM", strings.Repeat("a", 161), []int{153, 8}},
		{"an escape at the end of a part", strings.Repeat("a", 152) + "€" + strings.Repeat("b", 160), []int{152, 152, 9}},
		{"UCS-2", strings.Repeat("码", 71), []int{67, 4}},
		{"a pair at the end of a part", strings.Repeat("码", 66) + "🔑" + strings.Repeat("码", 10), []int{66, 11}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.order(t, `{"ids": ["one", "two", "three"]}`)
			id, err := p.Send(t.Context(), newMessage(tc.text))
			if want := []string{"", "one", "two", "three"}[len(tc.sizes)]; err != nil || id != want {
				t.Fatalf("Send = %q, %v; want %q", id, err, want)
			}
			var text, joint string
			for i, size := range tc.sizes {
				part := s.next(t, "submit")
				text += part.Text
				if n := len([]rune(part.Text)); n != size {
					t.Errorf("part %d has %d characters; want %d", i, n, size)
				}
				if len(part.Header) != 1 || len(part.Header[0]) != 10 {
					t.Fatalf("part %d has the header %v", i, part.Header)
				}
				if i == 0 {
					joint = part.Header[0][4:6]
				}
				if want := fmt.Sprintf("0003%s%02x%02x", joint, len(tc.sizes), i+1); part.Header[0] != want {
					t.Errorf("part %d has the header %s; want %s", i, part.Header[0], want)
				}
				registered := 0
				if i == len(tc.sizes)-1 {
					registered = 1
				}
				if part.ESM != 0x40 || part.Registered != registered {
					t.Errorf("part %d: esm_class %x, registered_delivery %d; want 40, %d", i, part.ESM, part.Registered, registered)
				}
			}
			if text != tc.text {
				t.Errorf("the phone shows %q", text)
			}
		})
	}
	t.Run("with one refused segment", func(t *testing.T) {
		s.order(t, `{"statuses": [0, 11]}`)
		_, err := p.Send(t.Context(), newMessage(strings.Repeat("a", 400)))
		if e := sendError(t, err); e.Kind != sms.Uncertain || e.Code != "0x0000000B" {
			t.Errorf("Send = %+v; want uncertain", e)
		}
	})
}

func TestValidity(t *testing.T) {
	s := startServer(t)
	p := open(t, testOptions(s.address))
	for valid, want := range map[time.Duration]time.Duration{
		0:                        0,
		time.Millisecond:         time.Second,
		90 * time.Second:         90 * time.Second,
		26*time.Hour + time.Hour: 27 * time.Hour,
		1000 * time.Hour:         28 * 24 * time.Hour,
	} {
		m := newMessage(messageText)
		m.ValidFor = valid
		if _, err := p.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if got := s.next(t, "submit").ValidFor; got < int(want.Seconds())-1 || got > int(want.Seconds()) {
			t.Errorf("valid for %v is %d s on the wire; want %v", valid, got, want)
		}
	}
}

func TestClassifiesErrors(t *testing.T) {
	s := startServer(t)
	o := testOptions(s.address)
	o.RefusedCodes = []uint32{0x412}
	p := open(t, o)
	for _, tc := range []struct {
		status int
		want   sms.Error
	}{
		{0x0B, sms.Error{Kind: sms.Refused, Code: "0x0000000B", Reason: "the destination address is not valid"}},
		{0x412, sms.Error{Kind: sms.Refused, Code: "0x00000412", Reason: "the carrier does not deliver to the number"}},
		{0x411, sms.Error{Kind: sms.Unavailable, Code: "0x00000411", Reason: "refused"}},
		{0x58, sms.Error{Kind: sms.Unavailable, Code: "0x00000058", Reason: "throttled"}},
		{0x14, sms.Error{Kind: sms.Unavailable, Code: "0x00000014", Reason: "queue full"}},
		{0x08, sms.Error{Kind: sms.Unavailable, Code: "0x00000008", Reason: "system error"}},
		{0x0A, sms.Error{Kind: sms.Unavailable, Code: "0x0000000A", Reason: "the source address is not valid"}},
		{0x45, sms.Error{Kind: sms.Unavailable, Code: "0x00000045", Reason: "submit failed"}},
		{0x04, sms.Error{Kind: sms.Unavailable, Code: "0x00000004", Reason: "not bound for this command"}},
	} {
		t.Run(tc.want.Code, func(t *testing.T) {
			s.order(t, fmt.Sprintf(`{"status": %d}`, tc.status))
			id, err := p.Send(t.Context(), newMessage(messageText))
			if e := sendError(t, err); e != tc.want || id != "" {
				t.Errorf("Send = %q, %+v; want %+v", id, e, tc.want)
			}
		})
	}
	s.order(t, `{"status": 0}`)
	if _, err := p.Send(t.Context(), newMessage(messageText)); err != nil {
		t.Errorf("Send afterwards = %v", err)
	}
}

func TestMissingAnswers(t *testing.T) {
	for _, tc := range []struct {
		mode string
		want sms.Error
	}{
		{"silent", sms.Error{Kind: sms.Uncertain, Reason: "timed out"}},
		{"close", sms.Error{Kind: sms.Uncertain, Reason: "connection lost"}},
		{"nack", sms.Error{Kind: sms.Unavailable, Code: "0x00000003", Reason: "unknown command"}},
	} {
		t.Run(tc.mode, func(t *testing.T) {
			s := startServer(t)
			p := open(t, testOptions(s.address))
			s.next(t, "bound")
			s.order(t, `{"mode": "`+tc.mode+`"}`)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			_, err := p.Send(ctx, newMessage(messageText))
			if e := sendError(t, err); e != tc.want {
				t.Errorf("Send = %+v; want %+v", e, tc.want)
			}
			s.order(t, `{"mode": "normal"}`)
			if tc.mode == "close" {
				s.next(t, "bound")
			}
			waitForSend(t, p)
		})
	}
}

// waitForSend waits until a message is accepted.
func waitForSend(t *testing.T, p *smpp.Provider) {
	t.Helper()
	err := errors.New("never tried")
	for end := time.Now().Add(wait); err != nil && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		_, err = p.Send(t.Context(), newMessage(messageText))
	}
	if err != nil {
		t.Errorf("Send = %v", err)
	}
}

func TestNotConnected(t *testing.T) {
	t.Run("no server listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		_, err = open(t, testOptions(l.Addr().String())).Send(t.Context(), newMessage(messageText))
		if e := sendError(t, err); e != (sms.Error{Kind: sms.Unavailable, Reason: "not connected"}) {
			t.Errorf("Send = %+v", e)
		}
	})
	t.Run("no answer", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err = open(t, testOptions(l.Addr().String())).Send(ctx, newMessage(messageText))
		if e := sendError(t, err); e != (sms.Error{Kind: sms.Unavailable, Reason: "timed out connecting"}) {
			t.Errorf("Send = %+v", e)
		}
	})
	for _, tc := range []struct {
		name   string
		change func(*smpp.Options)
		order  string
		want   sms.Error
	}{
		{"wrong password", func(o *smpp.Options) { o.Password = secret.NewString("wrong") }, `{}`, sms.Error{Code: "0x0000000E", Reason: "bind: wrong password"}},
		{"wrong system id", func(o *smpp.Options) { o.SystemID = "nobody" }, `{}`, sms.Error{Code: "0x0000000F", Reason: "bind: unknown system id"}},
		{"already bound", func(*smpp.Options) {}, `{"bind": 5}`, sms.Error{Code: "0x00000005", Reason: "bind: already bound: by another process?"}},
		{"bind refused", func(*smpp.Options) {}, `{"bind": 13}`, sms.Error{Code: "0x0000000D", Reason: "bind: bind failed"}},
		{"TLS to a plain port", func(o *smpp.Options) { o.TLS, o.AnswerTimeout = true, 300*time.Millisecond }, `{}`, sms.Error{Reason: "not connected"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startServer(t)
			s.order(t, tc.order)
			o := testOptions(s.address)
			tc.change(&o)
			_, err := open(t, o).Send(t.Context(), newMessage(messageText))
			tc.want.Kind = sms.Unavailable
			if e := sendError(t, err); e != tc.want {
				t.Errorf("Send = %+v; want %+v", e, tc.want)
			}
		})
	}
}

func TestReconnects(t *testing.T) {
	for _, order := range []string{`{"drop": true}`, `{"unbind": true}`, `{"garbage": true}`} {
		t.Run(order, func(t *testing.T) {
			s := startServer(t)
			p := open(t, testOptions(s.address))
			if got := s.next(t, "bound"); got.SystemType != "otp" {
				t.Errorf("bound with the system type %q", got.SystemType)
			}
			s.order(t, order)
			if strings.Contains(order, "unbind") {
				s.next(t, "unbind_resp")
			}
			s.next(t, "bound")
			waitForSend(t, p)
		})
	}
	t.Run("after a refused bind", func(t *testing.T) {
		s := startServer(t)
		s.order(t, `{"bind": 13}`)
		p := open(t, testOptions(s.address))
		for range 3 {
			s.next(t, "notbound")
		}
		s.order(t, `{"bind": 0}`)
		s.next(t, "bound")
		waitForSend(t, p)
	})
}

func TestEnquiresTheLink(t *testing.T) {
	s := startServer(t)
	o := testOptions(s.address)
	o.EnquireLink, o.AnswerTimeout = 50*time.Millisecond, 200*time.Millisecond
	p := open(t, o)
	s.next(t, "bound")
	for range 3 {
		s.next(t, "enquire_link")
	}
	s.order(t, `{"mode": "mute"}`)
	s.next(t, "closed")
	s.order(t, `{"mode": "normal"}`)
	s.next(t, "bound")
	waitForSend(t, p)
	s.order(t, `{"enquire": true}`)
	s.next(t, "enquire_link_resp")
	s.order(t, `{"query": true}`)
	if got := s.next(t, "generic_nack"); got.Status != 3 {
		t.Errorf("an unknown command was answered with %d", got.Status)
	}
}

func TestKeepsItsWindow(t *testing.T) {
	s := startServer(t)
	o := testOptions(s.address)
	o.Window = 3
	p := open(t, o)
	s.order(t, `{"mode": "slow"}`)
	var all sync.WaitGroup
	for range 9 {
		all.Go(func() {
			if _, err := p.Send(t.Context(), newMessage(messageText)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	most := 0
	for range 9 {
		most = max(most, s.next(t, "submit").Outstanding)
	}
	if most != 3 {
		t.Errorf("%d messages waited for their answer; want 3", most)
	}
	s.order(t, `{"mode": "silent"}`)
	briefly, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for range 3 {
		all.Go(func() {
			_, err := p.Send(briefly, newMessage(messageText))
			if e := sendError(t, err); e.Kind != sms.Uncertain {
				t.Errorf("Send = %+v; want uncertain", e)
			}
		})
	}
	all.Wait()
	full, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := p.Send(full, newMessage(messageText))
	if e := sendError(t, err); e != (sms.Error{Kind: sms.Unavailable, Reason: "too many messages wait for an answer"}) {
		t.Errorf("Send beyond the window = %+v", e)
	}
}

func TestUnderLoad(t *testing.T) {
	s := startServer(t)
	p := open(t, testOptions(s.address))
	var mu sync.Mutex
	ids := map[string]bool{}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 25 {
				id, err := p.Send(t.Context(), newMessage(messageText))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				ids[id] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(ids) != 500 {
		t.Errorf("500 messages have %d ids", len(ids))
	}
}

func TestReceipts(t *testing.T) {
	s := startServer(t)
	taken := make(chan sms.Receipt, 10)
	o := testOptions(s.address)
	o.OnReceipt = func(_ context.Context, r sms.Receipt) error {
		taken <- r
		return nil
	}
	p := open(t, o)
	s.next(t, "bound")
	const before = "id:7bc0 sub:001 dlvrd:001 submit date:2611241200 done date:2611241201 "
	for _, tc := range []struct {
		name    string
		deliver string // more parameters
		text    string
		want    sms.Receipt
	}{
		{"delivered", ``, before + "stat:DELIVRD err:000 text:Your code", sms.Receipt{ID: "7bc0", State: sms.Delivered}},
		{"undelivered", ``, before + "stat:UNDELIV err:027 Text:Your code", sms.Receipt{ID: "7bc0", State: sms.Undelivered, Reason: "UNDELIV 027"}},
		{"expired", ``, before + "stat:EXPIRED err:0", sms.Receipt{ID: "7bc0", State: sms.Undelivered, Reason: "EXPIRED"}},
		{"deleted", ``, before + "stat:DELETED err:000 text:", sms.Receipt{ID: "7bc0", State: sms.Undelivered, Reason: "DELETED"}},
		{"rejected", ``, before + "stat:REJECTD err:0A1 text:", sms.Receipt{ID: "7bc0", State: sms.Failed, Reason: "REJECTD 0A1"}},
		{"unknown", ``, before + "stat:UNKNOWN err:000 text:", sms.Receipt{ID: "7bc0", State: sms.Undelivered, Reason: "UNKNOWN"}},
		{"accepted", ``, before + "stat:ACCEPTD err:000 text:", sms.Receipt{ID: "7bc0", State: sms.Sent}},
		{"in transit", `"esm_class": 32,`, before + "stat:ENROUTE err:000 text:", sms.Receipt{ID: "7bc0", State: sms.Sent}},
		{"in small letters", ``, strings.ToLower(before + "STAT:DELIVRD ERR:000"), sms.Receipt{ID: "7bc0", State: sms.Delivered}},
		{"a message that looks like fields", ``, before + "stat:UNDELIV err:001 text:id:other stat:DELIVRD err:000", sms.Receipt{ID: "7bc0", State: sms.Undelivered, Reason: "UNDELIV 001"}},
		{"a message that adds a field", ``, "id:7bc0 err:000 text:my stat:DELIVRD", sms.Receipt{}},
		{"by parameters", `"receipted_message_id": "9e1f", "message_state": 2,`, "", sms.Receipt{ID: "9e1f", State: sms.Delivered}},
		{"by parameters, undelivered", `"receipted_message_id": "9e1f", "message_state": 5,`, "", sms.Receipt{ID: "9e1f", State: sms.Undelivered, Reason: "UNDELIV"}},
		{"by both", `"receipted_message_id": "9e1f", "message_state": 8,`, before + "stat:UNDELIV err:005", sms.Receipt{ID: "9e1f", State: sms.Failed, Reason: "REJECTD 005"}},
		{"in a payload", `"message_payload": {"message": "` + before + `stat:DELIVRD err:000"},`, "", sms.Receipt{ID: "7bc0", State: sms.Delivered}},
		{"a reply from a phone", `"esm_class": 0,`, before + "stat:DELIVRD err:000", sms.Receipt{}},
		{"without an id", ``, "stat:DELIVRD err:000", sms.Receipt{}},
		{"with an unknown state", ``, before + "stat:TELEPAT err:000", sms.Receipt{}},
		{"with an unknown value", `"receipted_message_id": "9e1f", "message_state": 99,`, "id:9e1f", sms.Receipt{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.order(t, fmt.Sprintf(`{"deliver": {"esm_class": 4, %s "message": "%s"}}`, tc.deliver, hex.EncodeToString([]byte(tc.text))))
			if got := s.next(t, "deliver_sm_resp"); got.Status != 0 {
				t.Errorf("deliver_sm was answered with %d", got.Status)
			}
			var got sms.Receipt
			select { // the answer follows OnReceipt
			case got = <-taken:
			default:
			}
			got.Also = "" // see TestReceiptIDs
			if got != tc.want {
				t.Errorf("the receipt is %+v; want %+v", got, tc.want)
			}
		})
	}
	if _, err := p.Send(t.Context(), newMessage(messageText)); err != nil {
		t.Errorf("Send after receipts = %v", err)
	}
}

func TestReceiptsAreSentAgain(t *testing.T) {
	s := startServer(t)
	fails := make(chan error, 2)
	fails <- errors.New("the database is away")
	fails <- nil
	o := testOptions(s.address)
	o.OnReceipt = func(context.Context, sms.Receipt) error { return <-fails }
	p := open(t, o)
	s.next(t, "bound")
	deliver := fmt.Sprintf(`{"deliver": {"esm_class": 4, "message": "%x"}}`, "id:1 stat:DELIVRD err:000")
	for _, want := range []int{0x64, 0} {
		s.order(t, deliver)
		if got := s.next(t, "deliver_sm_resp").Status; got != want {
			t.Errorf("deliver_sm was answered with %#x; want %#x", got, want)
		}
	}
	// During a slow OnReceipt messages are sent, and the carrier is asked to send further
	// receipts later.
	s.order(t, strings.Replace(deliver, `"esm_class"`, `"times": 300, "esm_class"`, 1))
	if _, err := p.Send(t.Context(), newMessage(messageText)); err != nil {
		t.Errorf("Send = %v", err)
	}
	if got := s.next(t, "deliver_sm_resp").Status; got != 0x14 {
		t.Errorf("the first answer is %#x; want 0x14", got)
	}
	close(fails)
	putOff := 1
	for range 299 {
		if s.next(t, "deliver_sm_resp").Status == 0x14 {
			putOff++
		}
	}
	if putOff < 40 || putOff > 44 {
		t.Errorf("%d of 300 receipts were refused for now", putOff)
	}
}

func TestOverTLS(t *testing.T) {
	certificate, key, trusted := makeCertificate(t)
	s := startServer(t, certificate, key)
	for _, tc := range []struct {
		name   string
		change func(*smpp.Options)
		ok     bool
	}{
		{"by address", func(*smpp.Options) {}, true},
		{"by name", func(o *smpp.Options) { o.ServerName = "smsc.example" }, true},
		{"by another name", func(o *smpp.Options) { o.ServerName = "other.example" }, false},
		{"of an unknown issuer", func(o *smpp.Options) { o.RootCAs = nil }, false},
		{"without TLS", func(o *smpp.Options) { o.TLS, o.RootCAs, o.AnswerTimeout = false, nil, 300*time.Millisecond }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := testOptions(s.address)
			o.TLS, o.RootCAs = true, trusted
			tc.change(&o)
			_, err := open(t, o).Send(t.Context(), newMessage(messageText))
			if tc.ok && err != nil {
				t.Errorf("Send = %v", err)
			} else if !tc.ok && sendError(t, err).Kind != sms.Unavailable {
				t.Errorf("Send = %v; want unavailable", err)
			}
		})
	}
}

func TestCloses(t *testing.T) {
	s := startServer(t)
	o := testOptions(s.address)
	p := open(t, o)
	s.next(t, "bound")
	s.order(t, `{"mode": "silent"}`)
	waiting := make(chan error, 1)
	go func() {
		_, err := p.Send(t.Context(), newMessage(messageText))
		waiting <- err
	}()
	s.next(t, "submit")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	s.next(t, "unbind")
	s.next(t, "closed")
	if e := sendError(t, <-waiting); e.Kind != sms.Uncertain {
		t.Errorf("Send during Close = %+v; want uncertain", e)
	}
	_, err := p.Send(t.Context(), newMessage(messageText))
	if e := sendError(t, err); e.Kind != sms.Unavailable {
		t.Errorf("Send after Close = %+v; want unavailable", e)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	number := func(n int) *int { return &n }
	for _, tc := range []struct {
		change func(*smpp.Options)
		want   string
	}{
		{func(o *smpp.Options) { o.Address = "" }, "address"},
		{func(o *smpp.Options) { o.Address = "smpp.example.com" }, "address"},
		{func(o *smpp.Options) { o.SystemID = "" }, "system_id"},
		{func(o *smpp.Options) { o.SystemID = "sixteen letters." }, "system_id"},
		{func(o *smpp.Options) { o.Password = secret.NewString("a\x00b") }, "password"},
		{func(o *smpp.Options) { o.Source = "Förde" }, "source"},
		{func(o *smpp.Options) { o.SystemType = "thirteen long" }, "system_type"},
		{func(o *smpp.Options) { o.ServiceType = "sixsix" }, "service_type"},
		{func(o *smpp.Options) { o.SourceTON = number(7) }, "source_ton"},
		{func(o *smpp.Options) { o.DestinationNPI = number(-1) }, "destination_npi"},
		{func(o *smpp.Options) { o.ServerName = "x" }, "server_name"},
		{func(o *smpp.Options) { o.TLS, o.RootCAs = true, []byte("x") }, "root_cas"},
		{func(o *smpp.Options) { o.LongMessages = "sar" }, "long_messages"},
		{func(o *smpp.Options) { o.ReceiptIDs = "octal" }, "receipt_ids"},
		{func(o *smpp.Options) { o.Window = -1 }, "window"},
		{func(o *smpp.Options) { o.EnquireLink = -1 }, "enquire_link"},
	} {
		t.Run(tc.want, func(t *testing.T) {
			o := testOptions("127.0.0.1:1")
			tc.change(&o)
			p, err := smpp.New(o)
			if err == nil {
				p.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), testPassword) {
				t.Errorf("New = %v; want an error that names %s", err, tc.want)
			}
		})
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x12\x80\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x017\x00"))
	f.Add([]byte("\xff\xff\xff\xff\x80\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Add([]byte("\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		again, err := smpp.RepeatPDU(stream)
		if err == nil && !strings.HasPrefix(string(stream), string(again)) {
			t.Errorf("%q is written again as %q", stream, again)
		}
	})
}

func FuzzParts(f *testing.F) {
	f.Add(strings.Repeat("a", 152) + "€" + strings.Repeat("b", 160))
	f.Add(strings.Repeat("码", 66) + "🔑🔑")
	f.Fuzz(func(t *testing.T, text string) {
		coding, parts := smpp.Parts(text)
		most := map[byte][2]int{0: {160, 153}, 8: {140, 134}}[coding]
		for i, part := range parts {
			switch limit := most[min(len(parts)-1, 1)]; {
			case len(part) > limit || len(parts) > 1 && len(part) == 0:
				t.Errorf("part %d has %d octets", i, len(part))
			case coding == 0 && len(part) > 0 && part[len(part)-1] == 0x1B:
				t.Errorf("part %d ends within a character", i)
			case coding == 8 && (len(part)%2 == 1 || len(part) > 0 && part[len(part)-2]&0xFC == 0xD8):
				t.Errorf("part %d ends within a character", i)
			}
		}
	})
}

// Carriers have their own codes for numbers that they do not serve.
func TestNoCodeIsAboutNumbersNotServed(t *testing.T) {
	smstest.RunUnserved(t, nil, nil, smpp.CodeTables(), nil, "")
}
