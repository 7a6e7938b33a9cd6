package postgres

import (
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A moment scans a timestamptz as mfa has its times: UTC, the zero time for NULL.
type moment time.Time

// ScanTimestamptz makes a moment a pgtype.TimestamptzScanner.
func (m *moment) ScanTimestamptz(v pgtype.Timestamptz) error {
	*m = moment{}
	if v.Valid {
		*m = moment(v.Time.UTC())
	}
	return nil
}

// A hash scans a bytea of 32 bytes; an empty one is the zero hash.
type hash [32]byte

// ScanBytes makes a hash a pgtype.BytesScanner.
func (h *hash) ScanBytes(b []byte) error {
	*h = hash{}
	copy(h[:], b)
	return nil
}

// A replayKey scans the key of a replay record.
type replayKey mfa.ReplayKey

// ScanBytes makes a replayKey a pgtype.BytesScanner.
func (k *replayKey) ScanBytes(b []byte) error {
	copy(k[:], b)
	return nil
}

// A reference scans a uuid; NULL is the zero id.
type reference [16]byte

// ScanUUID makes a reference a pgtype.UUIDScanner.
func (r *reference) ScanUUID(v pgtype.UUID) error {
	*r = v.Bytes
	return nil
}

// counts scan what mfa.EncodeCounts wrote.
type counts []mfa.Count

// ScanBytes makes counts a pgtype.BytesScanner.
func (c *counts) ScanBytes(b []byte) (err error) {
	*c, err = mfa.DecodeCounts(b)
	return err
}
