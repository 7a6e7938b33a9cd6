package qr_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// TestZbarimgReads has an independent program read our pictures.
func TestZbarimgReads(t *testing.T) {
	zbarimg := testenv.Tool(t, "zbarimg")
	texts := realTexts()
	for _, n := range []int{1, 300, 700, longestM, longestM + 1, longestL} {
		texts = append(texts, strings.Repeat("otpauth://", n)[:n])
	}

	dir := t.TempDir()
	args := []string{"--quiet", "--raw", "--nodbus", "-Sdisable", "-Sqrcode.enable"}
	for i, text := range texts {
		path := filepath.Join(dir, fmt.Sprintf("%d.png", i))
		if err := os.WriteFile(path, drawn(t, text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	// It fails if it finds no code in one of them; the comparison tells in which.
	out, runErr := exec.CommandContext(t.Context(), zbarimg, args...).Output()
	got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	for i, text := range texts {
		if i >= len(got) || got[i] != text {
			t.Fatalf("zbarimg did not read %q (%v)", text, runErr)
		}
	}
	if len(got) != len(texts) {
		t.Errorf("zbarimg read %d codes in %d pictures", len(got), len(texts))
	}
}

// realTexts returns texts such as the codes of real factors have.
func realTexts() []string {
	random := rand.New(rand.NewChaCha8([32]byte{}))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	word := func(alphabet string, length int) string {
		var b strings.Builder
		for range length {
			b.WriteByte(alphabet[random.IntN(len(alphabet))])
		}
		return b.String()
	}
	const (
		letters = "abcdefghijklmnopqrstuvwxyz0123456789._-"
		base32  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	)
	var texts []string
	for range 100 {
		issuer := url.PathEscape(pick("WorkOS", "Foo Corp", "Zürcher Käserei", "株式会社例", "A&B: ✓", strings.Repeat("Long Name ", 12)))
		account := word(letters, 1+random.IntN(40)) + pick("", "@example.com", "@foo-corp.com", url.PathEscape("@mañana.example"))
		texts = append(texts, "otpauth://totp/"+issuer+":"+account+"?secret="+word(base32, 32)+"&issuer="+issuer)
	}
	return texts
}
