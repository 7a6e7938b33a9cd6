package sqlite

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"github.com/ncruces/go-sqlite3"
)

// The parts of SQLite's file format that this package reads
// (sqlite.org/fileformat2.html).
const (
	magic         = "SQLite format 3\x00"
	headerSize    = 100
	formatOffset  = 18 // two bytes: the write format and the read format
	formatPlain   = 1  // without a write-ahead log
	formatWAL     = 2  // with a write-ahead log
	cookieOffset  = 40
	counterOffset = 68 // application_id

	logHeaderSize   = 32
	frameHeaderSize = 24
	logMagic        = 0x377f0682 // the lowest bit is the byte order of the checksums
)

// A mark is the part of a database's first page that identifies its log. The counter
// starts at a random number and grows by one with every log. The cookie grows when the
// schema changes, or when SQLite copies the database.
type mark struct{ counter, cookie uint32 }

// A logState records whether a log must be counted; see checkLog.
type logState struct {
	due     atomic.Bool // the log was copied into the database: the next transaction may start another
	begun   bool        // the last transaction started a log
	counted bool        // the last transaction counted a log
}

// countLog adds one to the counter in the first page of the database.
func (c *conn) countLog() error {
	var counter uint32
	err := c.prepare("PRAGMA application_id").each(func(row *rowReader) error {
		counter = uint32(row.int())
		return nil
	})
	if err != nil {
		return err
	}
	c.wrote, c.log.counted = true, true
	return c.db.Exec(fmt.Sprintf("PRAGMA application_id = %d", int32(counter+1)))
}

func readMark(page []byte) mark {
	return mark{binary.BigEndian.Uint32(page[counterOffset:]), binary.BigEndian.Uint32(page[cookieOffset:])}
}

// A header is the beginning of a database file.
type header struct {
	mark
	logged bool // the database uses a write-ahead log
}

// errEmpty means that a database file has no bytes.
var errEmpty = errors.New("the file is empty")

// readHeader reads the header of the database file at path. It ignores changes that are
// only in the log.
func readHeader(path string) (h header, err error) {
	f, err := os.Open(path)
	if err != nil {
		return h, err
	}
	defer f.Close()
	b := make([]byte, headerSize)
	n, err := io.ReadFull(f, b)
	switch {
	case n == 0 && err == io.EOF:
		return h, errEmpty
	case err != nil && err != io.ErrUnexpectedEOF:
		return h, fmt.Errorf("read %s: %w", path, err)
	case n < headerSize || string(b[:len(magic)]) != magic:
		return h, fmt.Errorf("%s: %w", path, sqlite3.NOTADB)
	}
	return header{readMark(b), b[formatOffset] == formatWAL}, nil
}

// ErrForeignLog means that the log next to a database belongs to another database,
// because one of the two files was replaced.
var ErrForeignLog = errors.New("the log does not belong to the database: one of the two was replaced")

// checkLog returns ErrForeignLog if the log of the database at path belongs to another
// database. No process may have the database open.
//
// The transaction that starts a log writes the first page of the database and adds one
// to its counter. So the counter in the file is one less than the first counter in the
// log. If a part of the log was copied into the file, the counter is equal to one of
// those in the log.
func checkLog(path string, h header) error {
	log := path + suffixes[wal]
	marks, frames, err := readLog(log)
	if err != nil {
		return fmt.Errorf("read the log of the store: %w", err)
	}
	if frames == 0 {
		return nil
	}
	belongs := h.logged
	if len(marks) > 0 && belongs { // an earlier version wrote a log without marks
		first := marks[0]
		belongs = h.cookie <= first.cookie && (h.counter+1 == first.counter || h.counter == 0 && first.counter == 0)
		for _, m := range marks {
			belongs = belongs || h.mark == m
		}
	}
	if belongs {
		return nil
	}
	return fmt.Errorf("%w (%s, and %s with %d pages); restore a backup with 'countersign restore FILE --store sqlite:%s', "+
		"which sets the log aside, or put back the file that the log belongs to", ErrForeignLog, path, log, frames, path)
}

// readLog returns the marks of the first page in the committed part of the log at path,
// and the number of frames in that part. It returns no marks and 0 if the log does not
// exist.
func readLog(path string) (marks []mark, frames int, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	head := make([]byte, logHeaderSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, 0, ignoreEnd(err)
	}
	kind := binary.BigEndian.Uint32(head)
	size := binary.BigEndian.Uint32(head[8:])
	if kind&^1 != logMagic || size < 512 || size > 1<<16 || size&(size-1) != 0 {
		return nil, 0, nil // SQLite ignores such a log
	}
	sum := checksum{order: binary.LittleEndian}
	if kind&1 != 0 {
		sum.order = binary.BigEndian
	}
	if sum.add(head[:24]); !sum.is(head[24:]) {
		return nil, 0, nil
	}
	frame := make([]byte, frameHeaderSize+size)
	var pending []mark
	for n := 1; ; n++ {
		if _, err := io.ReadFull(r, frame); err != nil {
			return marks, frames, ignoreEnd(err)
		}
		salt, page := frame[8:16], frame[frameHeaderSize:]
		sum.add(frame[:8])
		if sum.add(page); string(salt) != string(head[16:24]) || !sum.is(frame[16:]) {
			return marks, frames, nil // the rest belongs to an earlier log
		}
		if binary.BigEndian.Uint32(frame) == 1 {
			pending = append(pending, readMark(page))
		}
		if commits := binary.BigEndian.Uint32(frame[4:]) != 0; commits {
			marks, pending, frames = append(marks, pending...), pending[:0], n
		}
	}
}

func ignoreEnd(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

// A checksum is the running checksum of a log.
type checksum struct {
	order  binary.ByteOrder
	s0, s1 uint32
}

// add adds b to the checksum. The length of b must be a multiple of 8.
func (c *checksum) add(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		c.s0 += c.order.Uint32(b) + c.s1
		c.s1 += c.order.Uint32(b[4:]) + c.s0
	}
}

// is reports whether b begins with the encoded checksum.
func (c *checksum) is(b []byte) bool {
	return binary.BigEndian.Uint32(b) == c.s0 && binary.BigEndian.Uint32(b[4:]) == c.s1
}
