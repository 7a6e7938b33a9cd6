package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

// releasedImage returns the image of the release for the platform of the tests.
func releasedImage(t *testing.T) v1.Image {
	t.Helper()
	dir := t.TempDir()
	outputLines(t, "tar", "-C", dir, "-xf", filepath.Join(released(t), "countersign_"+version+"_oci.tar"))
	if got := string(readFile(t, filepath.Join(dir, "oci-layout"))); !strings.Contains(got, `"imageLayoutVersion": "1.0.0"`) {
		t.Errorf("oci-layout has %s", got)
	}
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(top); err != nil {
		t.Error(err)
	}
	manifest, err := top.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 || manifest.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != version {
		t.Fatalf("index.json: %+v, %v", manifest, err)
	}
	index, err := top.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	images, err := index.IndexManifest()
	if err != nil || len(images.Manifests) != 1 {
		t.Fatalf("the index of platforms: %+v, %v", images, err)
	}
	if p := images.Manifests[0].Platform; p == nil || p.OS != platformOfTests.os || p.Architecture != platformOfTests.arch {
		t.Errorf("platform %v", p)
	}
	img, err := index.Image(images.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// inImage makes the root of the container's namespaces read-only, except for a volume, and
// becomes a command in it, as its user and without privileges.
const inImage = `set -e
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
mount --bind "$VOLUME" "$ROOT/var/lib/countersign"
mount -o remount,bind,ro "$ROOT"
exec setpriv --bounding-set=-all,+sys_chroot,+setuid,+setgid --inh-caps=-all --no-new-privs chroot --userspec="$USER_OF_IMAGE" --groups= "$ROOT" "$@"
`

// TestTheImageServesFromAReadOnlyRoot unpacks the image, and runs its entry point as its user
// over a root that is read-only.
func TestTheImageServesFromAReadOnlyRoot(t *testing.T) {
	img := releasedImage(t)
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config := file.Config
	if config.User != "65532:65532" || !slices.Equal(config.Healthcheck.Test, []string{"CMD", "/usr/bin/countersign", "health"}) {
		t.Errorf("user %q, health check %q", config.User, config.Healthcheck.Test)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to change the root directory; CI runs this test")
	}
	root, volume := filepath.Join(t.TempDir(), "root"), t.TempDir()
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	unpack := exec.CommandContext(t.Context(), testenv.Tool(t, "tar"), "-C", root, "-xp")
	unpack.Stdin = mutate.Extract(img)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpack: %v\n%s", err, out)
	}
	// Every account can enter the directories above.
	for dir := root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(volume, imageUser, imageUser); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	command := func(ctx context.Context, args ...string) *exec.Cmd {
		args = append([]string{"--mount", "bash", "-c", inImage, "bash"}, append(slices.Clone(config.Entrypoint), args...)...)
		cmd := exec.CommandContext(ctx, testenv.Tool(t, "unshare"), args...)
		cmd.Env = append(slices.Clone(config.Env), "COUNTERSIGN_ADDR="+addr, "ROOT="+root, "VOLUME="+volume, "USER_OF_IMAGE="+config.User)
		cmd.Env[0] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin" // of the commands before chroot
		return cmd
	}
	if out, err := command(t.Context(), "health").CombinedOutput(); err == nil || !strings.Contains(string(out), "does not answer") {
		t.Errorf("health before the start: %v\n%s", err, out)
	}
	var log bytes.Buffer
	server := command(context.Background(), config.Cmd...)
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Signal(os.Interrupt)
		if err := server.Wait(); err != nil {
			t.Errorf("the server: %v\n%s", err, log.String())
		}
	})
	deadline := time.Now().Add(20 * time.Second)
	for {
		out, err := command(t.Context(), "health").CombinedOutput()
		if err == nil && string(out) == "ready\n" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("health: %v\n%s\n%s", err, out, log.String())
		}
		time.Sleep(50 * time.Millisecond)
	}
	status := string(readFile(t, fmt.Sprintf("/proc/%d/status", server.Process.Pid)))
	for _, line := range []string{"Uid:\t65532\t65532\t65532\t65532\n", "Gid:\t65532\t65532\t65532\t65532\n", "CapEff:\t0000000000000000\n", "NoNewPrivs:\t1\n"} {
		if !strings.Contains(status, line) {
			t.Errorf("the process has no %q:\n%s", line, status)
		}
	}
	key, err := command(t.Context(), "key", "create", "--env", "sandbox").Output()
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/auth/factors/enroll", strings.NewReader(`{"type":"totp","totp_issuer":"Example","totp_user":"ada"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusCreated {
		t.Errorf("enroll: %s\n%s", resp.Status, body)
	}
	if out, err := command(t.Context(), "keyset", "create", "/etc/keyset").CombinedOutput(); err == nil || !strings.Contains(string(out), "read-only file system") {
		t.Errorf("a file outside of the volume: %v\n%s", err, out)
	}
}

func TestTheImageTrustsManyAuthorities(t *testing.T) {
	count := 0
	for rest := authorities(); ; count++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			t.Error(err)
		}
	}
	if count < 50 {
		t.Errorf("%d authorities; want at least 50", count)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
