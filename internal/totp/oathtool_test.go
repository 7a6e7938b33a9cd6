package totp_test

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/testenv"
	"github.com/countersign-mfa/countersign/internal/totp"
)

// TestAgreesWithOathtool compares codes with the codes of an independent program.
func TestAgreesWithOathtool(t *testing.T) {
	oathtool := testenv.Tool(t, "oathtool")
	source := rand.NewChaCha8([32]byte{})
	random := rand.New(source)

	const secrets, stepsEach = 100, 10
	for range secrets {
		p := totp.Params{Hash: totp.Hash(random.IntN(3)), Eight: random.IntN(2) == 0, Minute: random.IntN(2) == 0}
		secret, err := p.Hash.NewSecret(source)
		if err != nil {
			t.Fatal(err)
		}
		unix := random.Int64N(10_000_000_000) // until 2286

		out, err := exec.CommandContext(t.Context(), oathtool, "--totp="+p.Hash.String(),
			"--digits", fmt.Sprint(p.Digits()), "--time-step-size", p.Period().String(),
			"--now", fmt.Sprintf("@%d", unix), "--window", fmt.Sprint(stepsEach-1),
			hex.EncodeToString(secret)).Output()
		if err != nil {
			t.Fatal(err)
		}
		first := p.Step(time.Unix(unix, 0))
		var codes []string
		for step := first; step < first+stepsEach; step++ {
			codes = append(codes, p.Code(secret, step))
		}
		if want := strings.Fields(string(out)); !slices.Equal(codes, want) {
			t.Errorf("%+v, secret %x at %d: codes %v; oathtool has %v", p, secret, unix, codes, want)
		}
	}
}
