// Package qr draws QR codes (ISO/IEC 18004) as small pictures for a browser to
// show and a phone to read.
package qr

import (
	"encoding/base64"
	"errors"
	"fmt"
	"sync"

	"rsc.io/qr/coding"
)

// ErrTooLong says that a text fits no QR code: it is over 2,953 bytes.
var ErrTooLong = errors.New("text too long for a QR code")

// DataURI returns text as a QR code in a data: URI, ready to be the address of an
// image. The picture is that of PNG.
func DataURI(text string) (string, error) {
	const prefix = "data:image/png;base64,"
	picture, err := PNG(text)
	if err != nil {
		return "", err
	}
	uri := make([]byte, 0, len(prefix)+base64.StdEncoding.EncodedLen(len(picture)))
	uri = append(uri, prefix...)
	return string(base64.StdEncoding.AppendEncode(uri, picture)), nil
}

// PNG returns text as a QR code in a black and white PNG, eight pixels a module,
// with a quiet zone of four modules around it: 392 pixels a side for a text of 100
// bytes. It corrects 15 % of errors, or 7 % if text is over 2,331 bytes. Readers
// differ on what a text beyond ASCII means.
func PNG(text string) ([]byte, error) {
	l, err := fit(text)
	if err != nil {
		return nil, err
	}
	plan, err := l.plan()
	if err != nil {
		return nil, err
	}
	code, err := plan.Encode(coding.String(text))
	if err != nil {
		return nil, fmt.Errorf("encode QR code: %w", err)
	}
	return draw(code), nil
}

// A layout gives the positions of the bits of a QR code.
type layout struct {
	version coding.Version
	level   coding.Level
}

// fit returns the smallest layout that holds text, at the better level if any does.
func fit(text string) (layout, error) {
	for _, level := range []coding.Level{coding.M, coding.L} {
		for version := coding.Version(coding.MinVersion); version <= coding.MaxVersion; version++ {
			if coding.String(text).Bits(version) <= 8*version.DataBytes(level) {
				return layout{version, level}, nil
			}
		}
	}
	return layout{}, ErrTooLong
}

// plans keeps the *coding.Plan of each layout used so far: making one costs more
// than all the rest, and there are few. A Plan is only read once made.
var plans sync.Map

// plan returns the plan of l. Its mask is always the first, a checkerboard: to
// choose the best of eight would mean to encode eight times, and readers cope.
func (l layout) plan() (*coding.Plan, error) {
	if plan, ok := plans.Load(l); ok {
		return plan.(*coding.Plan), nil
	}
	plan, err := coding.NewPlan(l.version, l.level, 0)
	if err != nil {
		return nil, fmt.Errorf("plan QR code: %w", err)
	}
	plans.Store(l, plan)
	return plan, nil
}
