package qr

import (
	"encoding/binary"
	"hash/crc32"

	"rsc.io/qr/coding"
)

const (
	moduleSize = 8 // pixels; at one bit each, a module is one byte of a row
	quietZone  = 4 // modules, as the standard asks
)

// A row of the picture is a filter byte, then a byte a module.
const (
	unfiltered = 0x00
	black      = 0x00
	white      = 0xff
)

// draw returns code as a PNG (RFC 2083). It writes the compressed rows straight,
// never the pixels: many times as fast as image/png, and a third of the size.
func draw(code *coding.Code) []byte {
	side := code.Size + 2*quietZone

	header := make([]byte, 0, 13)
	header = binary.BigEndian.AppendUint32(header, uint32(side*moduleSize)) // width
	header = binary.BigEndian.AppendUint32(header, uint32(side*moduleSize)) // height
	header = append(header, 1, 0, 0, 0, 0)                                  // 1 bit, grey, nothing special

	rows := newRowWriter(side)
	row := make([]byte, 1+side)
	row[0] = unfiltered
	modules := row[1+quietZone:][:code.Size]

	for i := range row[1:] {
		row[1+i] = white
	}
	rows.write(row, quietZone*moduleSize)
	for y := range code.Size {
		bits := code.Bitmap[y*code.Stride:]
		for x := range modules {
			modules[x] = bits[x/8]>>(7-x%8)&1 - 1 // 1 becomes black, 0 white
		}
		rows.write(row, moduleSize)
	}
	for i := range modules {
		modules[i] = white
	}
	rows.write(row, quietZone*moduleSize)
	data := rows.finish()

	png := make([]byte, 0, 64+len(data))
	png = append(png, "\x89PNG\r\n\x1a\n"...)
	png = appendChunk(png, "IHDR", header)
	png = appendChunk(png, "IDAT", data)
	return appendChunk(png, "IEND", nil)
}

func appendChunk(png []byte, name string, data []byte) []byte {
	png = binary.BigEndian.AppendUint32(png, uint32(len(data)))
	start := len(png)
	png = append(png, name...)
	png = append(png, data...)
	return binary.BigEndian.AppendUint32(png, crc32.ChecksumIEEE(png[start:]))
}
