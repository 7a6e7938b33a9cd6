package server_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/server"
)

// TestTheFilesOfTheDocumentationAreTaken opens each file of providers that the
// pages for operators show, with secrets of its own in place of theirs.
func TestTheFilesOfTheDocumentationAreTaken(t *testing.T) {
	pages, err := filepath.Glob("../../docs/delivery/*.md")
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
	for _, page := range append(pages, "../../docs/delivery.md") {
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
				_, providers, err := server.OpenSMS(path, nil, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatalf("%v\n%s", err, file)
				}
				if err := providers.Close(); err != nil {
					t.Error(err)
				}
			}
			if strings.Contains(string(text), "callback_url: ") {
				t.Error("it shows a setting for receipts, which are not taken in")
			}
		})
	}
}

func TestNamesOfSettings(t *testing.T) {
	for field, want := range map[string]string{
		"From": "from", "AccountSID": "account_sid", "APIKeySID": "api_key_sid", "BaseURL": "base_url", "TLS": "tls",
		"RootCAs": "root_cas", "ReceiptIDs": "receipt_ids", "SourceTON": "source_ton", "TopicARN": "topic_arn",
	} {
		if got := server.Snake(field); got != want {
			t.Errorf("%s is called %s; want %s", field, got, want)
		}
	}
}
