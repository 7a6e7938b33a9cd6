package main

import (
	"debug/buildinfo"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

// writeBill writes the bill of materials of a binary, from the modules that the go command
// has recorded in it, in the form of CycloneDX 1.6.
func writeBill(opts options, p platform, binary string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	sum, err := sumOf(binary)
	if err != nil {
		return err
	}
	main := cyclonedx.Component{
		BOMRef:     "main",
		Type:       cyclonedx.ComponentTypeApplication,
		Name:       program,
		Version:    version + "+" + opts.commit,
		PackageURL: fmt.Sprintf("pkg:golang/%s@v%s?goos=%s&goarch=%s#cmd/countersign", info.Main.Path, version, p.os, p.arch),
		Hashes:     &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: sum}},
		Licenses:   &cyclonedx.Licenses{{License: &cyclonedx.License{ID: "Apache-2.0"}}},
	}
	goVersion := strings.TrimPrefix(info.GoVersion, "go")
	components := []cyclonedx.Component{{
		BOMRef: "pkg:golang/std@" + goVersion, PackageURL: "pkg:golang/std@" + goVersion,
		Type: cyclonedx.ComponentTypeLibrary, Name: "std", Version: goVersion,
	}}
	needs := []string{components[0].BOMRef}
	for _, m := range info.Deps {
		url := "pkg:golang/" + m.Path + "@" + m.Version
		components = append(components, cyclonedx.Component{
			BOMRef: url, PackageURL: url, Type: cyclonedx.ComponentTypeLibrary, Name: m.Path, Version: m.Version,
			Properties: &[]cyclonedx.Property{{Name: "go:sum", Value: m.Sum}},
		})
		needs = append(needs, url)
	}
	bill := cyclonedx.NewBOM()
	bill.Metadata = &cyclonedx.Metadata{Timestamp: opts.time.Format(time.RFC3339), Component: &main}
	bill.Components = &components
	bill.Dependencies = &[]cyclonedx.Dependency{{Ref: main.BOMRef, Dependencies: &needs}}
	return create(opts, fmt.Sprintf("%s_%s_%s.cdx.json", program, version, p.name()), func(w io.Writer) error {
		return cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bill, cyclonedx.SpecVersion1_6)
	})
}
