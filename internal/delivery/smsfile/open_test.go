package smsfile_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-mfa/countersign/internal/delivery/sms"
	"github.com/countersign-mfa/countersign/internal/delivery/smsfile"
	"github.com/countersign-mfa/countersign/internal/server"
)

// TestTheFilesOfTheDocumentationAreAccepted opens each file of providers that the pages
// for operators show, with the secrets of this test instead of theirs.
func TestTheFilesOfTheDocumentationAreAccepted(t *testing.T) {
	pages, err := filepath.Glob("../../../docs/delivery/*.md")
	if err != nil || len(pages) < 8 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	dir := t.TempDir()
	certificate := filepath.Join(dir, "ca.pem")
	if err := server.MakeCertificate(certificate, filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	const password = "01234567890123456789012345678901"
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SMS_GATEWAY_SECRET", password)

	shown := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	roots := regexp.MustCompile(`root_cas_file: \S+`)
	secrets := regexp.MustCompile(`(\w+)_file: /\S+`)
	for _, page := range append(pages, "../../../docs/delivery.md") {
		t.Run(filepath.Base(page), func(t *testing.T) {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			for _, block := range shown.FindAllStringSubmatch(string(text), -1) {
				file := roots.ReplaceAllString(block[1], "root_cas_file: ca.pem")
				file = secrets.ReplaceAllString(file, "${1}_file: password")
				path := filepath.Join(dir, "sms.yaml")
				if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
					t.Fatal(err)
				}
				providers, err := smsfile.Open(path, smsfile.Options{Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatalf("%v\n%s", err, file)
				}
				if err := providers.Close(); err != nil {
					t.Error(err)
				}
				checkCallbackURLs(t, file)
			}
		})
	}
}

// checkCallbackURLs fails the test unless every provider of a file gets receipts at the
// path with its name.
func checkCallbackURLs(t *testing.T, file string) {
	t.Helper()
	var shown struct {
		Providers []struct {
			Name, Type  string
			CallbackURL string `yaml:"callback_url"`
			TopicARN    string `yaml:"topic_arn"`
		}
	}
	if err := yaml.Unmarshal([]byte(file), &shown); err != nil {
		t.Fatal(err)
	}
	for _, p := range shown.Providers {
		switch {
		case p.Type == "aws" && p.TopicARN == "":
			t.Errorf("%s: no topic_arn", p.Name)
		case p.Type == "aws" || p.Type == "smpp":
		case p.CallbackURL != "https://mfa.example.com/sms/receipts/"+p.Name:
			t.Errorf("%s: callback_url is %q", p.Name, p.CallbackURL)
		}
	}
}

// A carrier is the other side of an SMPP connection.
type carrier struct {
	t    *testing.T
	conn net.Conn
}

// next reads the next message of Countersign.
func (c carrier) next() (command, status, number uint32) {
	c.t.Helper()
	var head [4]uint32
	if err := binary.Read(c.conn, binary.BigEndian, &head); err != nil {
		c.t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, c.conn, int64(head[0]-16)); err != nil {
		c.t.Fatal(err)
	}
	return head[1], head[2], head[3]
}

func (c carrier) send(command, number uint32, body string) {
	c.t.Helper()
	var frame bytes.Buffer
	binary.Write(&frame, binary.BigEndian, [4]uint32{uint32(16 + len(body)), command, 0, number})
	frame.WriteString(body)
	if _, err := c.conn.Write(frame.Bytes()); err != nil {
		c.t.Fatal(err)
	}
}

func TestReceiptsAreRecordedUnderTheirProvider(t *testing.T) {
	const key = "01234567890123456789012345678901"
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	path := filepath.Join(t.TempDir(), "sms.yaml")
	file := "providers:\n" +
		"  - { name: gateway, type: webhook, url: 'http://127.0.0.1:1/', secret: '" + key + "', callback_url: 'https://mfa.example.com/sms/receipts/gateway' }\n" +
		"  - { name: carrier-de, type: smpp, address: '" + listener.Addr().String() + "', system_id: us }\n"
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	recorded := make(chan string, 1)
	var busy atomic.Bool
	record := func(_ context.Context, provider string, r sms.Receipt) error {
		recorded <- provider + " " + r.ID + " " + string(r.State)
		if busy.Load() {
			return errors.New("busy")
		}
		return nil
	}
	opened, err := smsfile.Open(path, smsfile.Options{Record: record, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if health := opened.Router.Health(); len(health) != 2 || health[1].Provider != "carrier-de" {
		t.Errorf("the health of the providers is %+v", health)
	}

	body, at := `{"id":"gw:1","state":"delivered"}`, strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(at + "." + body))
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Countersign-Signature", "t="+at+",v1="+hex.EncodeToString(mac.Sum(nil)))
	r.SetPathValue("provider", "gateway")
	w := httptest.NewRecorder()
	opened.Callbacks.ServeHTTP(w, r)
	if got := <-recorded; w.Code != http.StatusOK || got != "gateway gw:1 delivered" {
		t.Errorf("%d, recorded %q", w.Code, got)
	}

	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	c := carrier{t, conn}
	const bindTransceiver, deliverSM, answer, tryAgain = 0x09, 0x05, 0x8000_0000, 0x64
	_, _, number := c.next()
	c.send(bindTransceiver|answer, number, "them\x00")
	const report = "id:7 stat:UNDELIV err:000 text:"
	delivery := "\x00\x01\x0149170\x00\x05\x00us\x00\x04" + strings.Repeat("\x00", 8) + string(rune(len(report))) + report
	for i, want := range []uint32{0, tryAgain} {
		busy.Store(want != 0)
		c.send(deliverSM, uint32(i), delivery)
		if got := <-recorded; got != "carrier-de 7 undelivered" {
			t.Errorf("recorded %q", got)
		}
		if command, status, _ := c.next(); command != deliverSM|answer || status != want {
			t.Errorf("answered %#x with status %#x; want %#x", command, status, want)
		}
	}
	conn.Close()
	if err := opened.Close(); err != nil {
		t.Error(err)
	}
}
