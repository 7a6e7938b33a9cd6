package secret_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-mfa/countersign/internal/secret"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func checkMode(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode of the keyset file is %v; want 0600", info.Mode())
	}
}

func TestCreatedKeysetFileReadsBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset")
	k := must(t)(secret.CreateKeysetFile(path))
	checkMode(t, path)
	again := must(t)(secret.ReadKeysetFile(path))
	if !opens(again, seal(t, k, plain, "here")) {
		t.Error("the file holds another keyset")
	}
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("files left: %q", got)
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if k, err := secret.CreateKeysetFile(path); !errors.Is(err, fs.ErrExist) || k != nil {
		t.Errorf("CreateKeysetFile = %v, %v; want %v", k, err, fs.ErrExist)
	}
	if got, _ := os.ReadFile(path); string(got) != "precious" {
		t.Errorf("the file now holds %q", got)
	}
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("files left: %q", got)
	}
}

func TestOfRacingCreatesOneWins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset")
	made := make([]*secret.Keyset, 8)
	var all sync.WaitGroup
	for i := range made {
		all.Go(func() {
			k, err := secret.CreateKeysetFile(path)
			if err != nil && !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
			made[i] = k
		})
	}
	all.Wait()
	inFile, winners := must(t)(secret.ReadKeysetFile(path)), 0
	for _, k := range made {
		if k == nil {
			continue
		}
		if winners++; !bytes.Equal(marshal(t, k), marshal(t, inFile)) {
			t.Error("the winner's keyset is not the one in the file")
		}
	}
	if winners != 1 {
		t.Errorf("%d creates won; want 1", winners)
	}
}

func TestWriteReplacesKeysetFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset")
	old := must(t)(secret.CreateKeysetFile(path))
	if err := secret.WriteKeysetFile(path, must(t)(old.Rotate())); err != nil {
		t.Fatal(err)
	}
	checkMode(t, path)
	sealed := seal(t, old, plain, "here")
	if k := must(t)(secret.ReadKeysetFile(path)); !opens(k, sealed) || !k.Stale(sealed) {
		t.Error("the file does not hold the rotated keyset")
	}
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("files left: %q", got)
	}
}

func TestWriteMakesKeysetFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset")
	if err := secret.WriteKeysetFile(path, fresh(t)); err != nil {
		t.Fatal(err)
	}
	checkMode(t, path)
}

func TestWriteWithoutDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "keyset")
	if err := secret.WriteKeysetFile(path, fresh(t)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("WriteKeysetFile = %v; want %v", err, fs.ErrNotExist)
	}
	if _, err := secret.CreateKeysetFile(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("CreateKeysetFile = %v; want %v", err, fs.ErrNotExist)
	}
}

func TestKeysetFileOpenToOthersIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset")
	must(t)(secret.CreateKeysetFile(path))
	for _, tc := range []struct {
		mode fs.FileMode
		ok   bool
	}{
		{0o600, true}, {0o400, true}, {0o700, true},
		{0o640, false}, {0o604, false}, {0o644, false}, {0o620, false}, {0o601, false}, {0o777, false},
	} {
		if err := os.Chmod(path, tc.mode); err != nil {
			t.Fatal(err)
		}
		_, err := secret.ReadKeysetFile(path)
		if (err == nil) != tc.ok {
			t.Errorf("mode %v: error %v; want one: %t", tc.mode, err, !tc.ok)
		}
		if err != nil && !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %v: the error does not say what to do: %v", tc.mode, err)
		}
	}
}

func TestUnreadableKeysetFiles(t *testing.T) {
	dir := t.TempDir()
	huge, rubbish := filepath.Join(dir, "huge"), filepath.Join(dir, "rubbish")
	for path, text := range map[string]string{huge: strings.Repeat(" ", 2<<20), rubbish: plain} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := secret.ReadKeysetFile(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v; want %v", err, fs.ErrNotExist)
	}
	if _, err := secret.ReadKeysetFile(huge); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("huge file: %v", err)
	}
	if _, err := secret.ReadKeysetFile(rubbish); !errors.Is(err, secret.ErrMalformed) || strings.Contains(err.Error(), plain) {
		t.Errorf("rubbish: %v; want %v", err, secret.ErrMalformed)
	}
}

func TestCredentialsOfSystemdMayHaveAnyMode(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "countersign.keyset")
	if _, err := secret.CreateKeysetFile(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o440); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, dir string
		want      bool
	}{
		{"no credentials", "", false},
		{"the directory of the file", dir, true},
		{"its parent", filepath.Dir(dir), false},
		{"another directory", t.TempDir(), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("CREDENTIALS_DIRECTORY", tc.dir)
			if _, err := secret.ReadKeysetFile(path); (err == nil) != tc.want {
				t.Errorf("ReadKeysetFile = %v; want success %t", err, tc.want)
			}
		})
	}
}
