package e2e_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-mfa/countersign/internal/pgtest"
)

// previousRelease is the commit of the previous release. Its schema ends with migration 0006.
const previousRelease = "4d6b1917537d336eb1e846877f49e736ebeedc00"

// previousProgram builds the previous release from the history of the repository. It skips the
// test if the history is not there, as in an archive or a shallow clone.
func previousProgram(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) *exec.Cmd {
		cmd := exec.Command("git", args...)
		cmd.Dir = root
		return cmd
	}
	if out, err := git("cat-file", "-t", previousRelease).CombinedOutput(); err != nil {
		t.Skipf("the history of this repository does not have the previous release: %s", bytes.TrimSpace(out))
	}
	source := t.TempDir()
	archive := filepath.Join(source, "source.tar")
	if out, err := git("archive", "--output", archive, previousRelease).CombinedOutput(); err != nil {
		t.Fatalf("git archive: %v\n%s", err, out)
	}
	if out, err := exec.Command("tar", "-xf", archive, "-C", source).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	program := filepath.Join(source, "previous")
	build := exec.Command("go", "build", "-o", program, "./cmd/countersign")
	build.Dir, build.Env = source, append(os.Environ(), "GOFLAGS=-trimpath", "GOWORK=off", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("the previous release cannot be built here: %v\n%s", err, out)
	}
	return program
}

// TestAnUpgradeLosesNothing runs two nodes of the previous release under load, starts a node of
// this one over the same database, which updates the schema, lets both releases serve side by
// side, and replaces the old nodes. Every answer must fit the answers before it.
func TestAnUpgradeLosesNothing(t *testing.T) {
	t.Parallel()
	previous := previousProgram(t)
	f := &fleet{t: t, store: pgtest.Shared(t).Database(t)}
	keyset := filepath.Join(t.TempDir(), "keyset")
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(previous, args...).Output()
		if err != nil {
			t.Fatalf("the previous release: %s: %v", strings.Join(args[:2], " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	run("keyset", "create", keyset)
	f.flags = append([]string{"--keyset", "file:" + keyset}, unlocking...)
	old := func() *program {
		args := append([]string{"serve", "--addr", "127.0.0.1:0", "--log-format", "text", "--store", f.store}, f.flags...)
		return launchBy(t, nil, exec.Command(previous, args...))
	}
	f.nodes = []*program{old(), old()}
	f.balancer = newBalancer(t)
	for _, n := range f.nodes {
		n.awaitServing()
		f.balancer.add(address(n))
	}
	f.key = run("key", "create", "--env", "staging", "--store", f.store)
	f.api = f.balancer.api(t, f.key)
	f.api.undocumented = true

	all := newCrowd(t, 12)
	all.moveTo(f.api)
	for _, c := range all {
		c.upgrades = true
	}
	load := all.work(t)
	load.awaitAnswers(500)

	// Before the migration the way back is open: the program of this release looks at the store,
	// and the old program starts over it again.
	if out, err := exec.Command(binary, "check", "--addr", "127.0.0.1:0", "--store", f.store, "--keyset", "file:"+keyset).CombinedOutput(); !strings.Contains(string(out), "schema") {
		t.Errorf("check of this release = %v:\n%s", err, out)
	}
	f.balancer.forget(address(f.nodes[0]))
	if code := f.nodes[0].stop(); code != 0 {
		t.Errorf("an old node ended with %d:\n%s", code, f.nodes[0].log.tail())
	}
	f.nodes[0] = old()
	f.nodes[0].awaitServing()
	f.balancer.add(address(f.nodes[0]))
	load.awaitAnswers(500)

	f.nodes = append(f.nodes, f.launch())
	f.nodes[2].awaitServing()
	f.balancer.add(address(f.nodes[2]))
	load.awaitAnswers(2000)

	for i := range 2 {
		f.balancer.forget(address(f.nodes[i]))
		if code := f.nodes[i].stop(); code != 0 {
			t.Errorf("an old node ended with %d:\n%s", code, f.nodes[i].log.tail())
		}
		if log := f.nodes[i].log.String(); strings.Contains(log, "level=ERROR") {
			t.Errorf("an old node logged an error:\n%s", f.nodes[i].log.tail())
		}
		load.awaitAnswers(200)
	}
	load.end()
	all.audit(t.Context())
	f.audit()
	answers, lost, _ := load.look()
	t.Logf("%d answers; %d requests were cut off", answers, lost)

	// After the migration there is no way back.
	late := old()
	<-late.exited
	if late.code == 0 || !strings.Contains(late.log.String(), "written by a newer version") {
		t.Errorf("the previous release over the new schema exits with %d:\n%s", late.code, late.log.tail())
	}
}
