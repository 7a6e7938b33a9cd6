package qr_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"image"
	"image/png"
	"strings"
	"sync"
	"testing"

	rsc "rsc.io/qr"
	"rsc.io/qr/coding"

	"github.com/countersign-mfa/countersign/internal/qr"
)

const (
	typical = "otpauth://totp/Foo%20Corp:user@foo-corp.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Foo%20Corp"

	longestM = 2331 // bytes that version 40 holds at level M
	longestL = 2953 // and at level L
)

func TestDataURI(t *testing.T) {
	uri, err := qr.DataURI(typical)
	if err != nil {
		t.Fatal(err)
	}
	encoded, ok := strings.CutPrefix(uri, "data:image/png;base64,")
	if !ok {
		t.Fatalf("DataURI = %.30q…", uri)
	}
	got, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if want := drawn(t, typical); !bytes.Equal(got, want) {
		t.Error("DataURI and PNG differ")
	}
	if strings.ContainsAny(uri, "\r\n") {
		t.Error("DataURI is not one line")
	}
}

func TestPNGDrawsTheCode(t *testing.T) {
	for _, n := range lengths() {
		text := strings.Repeat("x", n)
		level := rsc.M
		if n > longestM {
			level = rsc.L
		}
		want, err := rsc.Encode(text, level)
		if err != nil {
			t.Fatal(err)
		}
		checkDrawing(t, drawn(t, text), want)
	}
}

// lengths returns for each size of code the shortest and the longest text that it
// serves, in bytes.
func lengths() []int {
	lengths := []int{1}
	for version := coding.Version(coding.MinVersion); version <= coding.MaxVersion; version++ {
		overhead := 2 // bytes that tell mode and length
		if version >= 10 {
			overhead = 3
		}
		longest := version.DataBytes(coding.M) - overhead
		lengths = append(lengths, longest, longest+1)
	}
	return append(lengths, longestL)
}

// checkDrawing compares every pixel with the module it belongs to.
func checkDrawing(t *testing.T, picture []byte, want *rsc.Code) {
	t.Helper()
	const module, quiet = 8, 4
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatalf("code of %d modules: %v", want.Size, err)
	}
	side := (want.Size + 2*quiet) * module
	grey, ok := img.(*image.Gray)
	if !ok || grey.Rect != image.Rect(0, 0, side, side) {
		t.Fatalf("picture is %T of %v; want grey, %d pixels a side", img, img.Bounds(), side)
	}
	for i, got := range grey.Pix {
		x, y := i%side, i/side
		pixel := byte(255)
		if want.Black(x/module-quiet, y/module-quiet) {
			pixel = 0
		}
		if got != pixel {
			t.Fatalf("code of %d modules: pixel %d, %d is %d; want %d", want.Size, x, y, got, pixel)
		}
	}
}

func TestPNGIsSmall(t *testing.T) {
	picture := drawn(t, typical)
	if n := len(picture); n > 700 {
		t.Errorf("PNG of %d bytes; want no more than 700", n)
	}
	config, err := png.DecodeConfig(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	if config.Width < 300 || config.Width > 600 {
		t.Errorf("picture of %d pixels a side; want 300 to 600", config.Width)
	}
}

func TestTooLong(t *testing.T) {
	for _, tc := range []struct {
		name   string
		length int
		want   error
	}{
		{"longest text", longestL, nil},
		{"a byte over", longestL + 1, qr.ErrTooLong},
		{"a megabyte", 1 << 20, qr.ErrTooLong},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := qr.DataURI(strings.Repeat("x", tc.length)); !errors.Is(err, tc.want) {
				t.Errorf("DataURI: %v; want %v", err, tc.want)
			}
		})
	}
}

func TestConcurrentUse(t *testing.T) {
	texts := []string{typical, typical + "%20and%20a%20longer%20one", strings.Repeat("x", 500)}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for _, text := range texts {
				if _, err := qr.PNG(text); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	for _, text := range texts {
		want, err := rsc.Encode(text, rsc.M)
		if err != nil {
			t.Fatal(err)
		}
		checkDrawing(t, drawn(t, text), want)
	}
}

func drawn(t *testing.T, text string) []byte {
	t.Helper()
	picture, err := qr.PNG(text)
	if err != nil {
		t.Fatalf("PNG of %d bytes: %v", len(text), err)
	}
	return picture
}

func BenchmarkDataURI(b *testing.B) {
	for _, bc := range []struct {
		name string
		text string
	}{
		{"typical", typical},
		{"longest", strings.Repeat("x", longestL)},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			var uri string
			for b.Loop() {
				var err error
				if uri, err = qr.DataURI(bc.text); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(uri)), "chars")
		})
	}
}
