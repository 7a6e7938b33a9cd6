package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/apk" // registers its format
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

// installed lists the files of the repository that only packages have.
var installed = []struct{ from, to, kind string }{
	{"deploy/systemd/countersign.service", "/usr/lib/systemd/system/countersign.service", files.TypeFile},
	{"deploy/systemd/countersign.socket", "/usr/lib/systemd/system/countersign.socket", files.TypeFile},
	{"deploy/systemd/countersign.sysusers", "/usr/lib/sysusers.d/countersign.conf", files.TypeFile},
	{"deploy/systemd/countersign.tmpfiles", "/usr/lib/tmpfiles.d/countersign.conf", files.TypeFile},
	{"deploy/prometheus/alerts.yaml", "/usr/share/countersign/prometheus/alerts.yaml", files.TypeFile},
	{"deploy/grafana/countersign.json", "/usr/share/countersign/grafana/countersign.json", files.TypeFile},
	{"deploy/packages/countersign.yaml", "/etc/countersign.yaml", files.TypeConfigNoReplace},
}

// writePackages writes a package of each format. dir is for temporary files.
func writePackages(opts options, p platform, binary string, shared []file, dir string) error {
	contents := files.Contents{content(opts, binary, "/usr/bin/"+program, files.TypeFile, 0o755)}
	for _, f := range installed {
		contents = append(contents, content(opts, filepath.Join(opts.source, f.from), f.to, f.kind, 0o644))
	}
	for _, f := range shared {
		path := filepath.Join(dir, "shared", f.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.data, 0o644); err != nil {
			return err
		}
		contents = append(contents, content(opts, path, f.path, files.TypeFile, os.FileMode(f.mode)))
	}
	scripts, err := copyScripts(opts, dir)
	if err != nil {
		return err
	}
	for _, format := range []string{"deb", "rpm", "apk"} {
		packager, err := nfpm.Get(format)
		if err != nil {
			return err
		}
		info := packageInfo(opts, p, contents, scripts)
		if err := nfpm.PrepareForPackager(info, format); err != nil {
			return fmt.Errorf("%s: %w", format, err)
		}
		name := packager.ConventionalFileName(info)
		if err := create(opts, name, func(w io.Writer) error { return packager.Package(info, w) }); err != nil {
			return err
		}
	}
	return nil
}

func content(opts options, from, to, kind string, mode os.FileMode) *files.Content {
	return &files.Content{Source: from, Destination: to, Type: kind, FileInfo: &files.ContentFileInfo{Mode: mode, MTime: opts.time}}
}

// copyScripts copies the scripts that package managers run, because an .apk has the times of
// these files.
func copyScripts(opts options, dir string) (scripts nfpm.Scripts, err error) {
	for name, to := range map[string]*string{
		"postinstall.sh": &scripts.PostInstall,
		"preremove.sh":   &scripts.PreRemove,
		"postremove.sh":  &scripts.PostRemove,
	} {
		data, err := os.ReadFile(filepath.Join(opts.source, "deploy/packages", name))
		if err != nil {
			return nfpm.Scripts{}, err
		}
		*to = filepath.Join(dir, name)
		if err := os.WriteFile(*to, data, 0o644); err != nil {
			return nfpm.Scripts{}, err
		}
		if err := os.Chtimes(*to, opts.time, opts.time); err != nil {
			return nfpm.Scripts{}, err
		}
	}
	return scripts, nil
}

// packageInfo describes a package. The program is static, so it depends on no other package.
func packageInfo(opts options, p platform, contents files.Contents, scripts nfpm.Scripts) *nfpm.Info {
	return nfpm.WithDefaults(&nfpm.Info{
		Name:        program,
		Arch:        p.arch,
		Platform:    p.os,
		Version:     version,
		Release:     "1",
		Section:     "net",
		Priority:    "optional",
		Maintainer:  "The Countersign authors <packages@countersign.invalid>",
		Vendor:      "The Countersign authors",
		Homepage:    "https://github.com/countersign-mfa/countersign",
		License:     "Apache-2.0",
		Description: "Server for multi-factor authentication\nServes authentication factors and challenges over HTTP: authenticator apps, text\nmessages, passkeys and recovery codes.",
		MTime:       opts.time,
		Overridables: nfpm.Overridables{
			Contents: contents,
			Scripts:  scripts,
			APK:      nfpm.APK{Scripts: nfpm.APKScripts{PostUpgrade: scripts.PostInstall}},
			RPM:      nfpm.RPM{BuildHost: "localhost", Summary: "Server for multi-factor authentication"},
		},
	})
}
