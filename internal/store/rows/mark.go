package rows

import (
	"encoding/binary"

	"github.com/countersign-mfa/countersign/internal/idempotency"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// A CreatedBy is the mark of the request that created a row. It has two columns: the
// KeyNumber of its key, by which an index finds the row, and its bytes. In both, the zero
// mark is stored as NULL.
type CreatedBy idempotency.Mark

// CreatedKey is the first column of a CreatedBy.
const CreatedKey = "created_key"

// Number returns the value of the first column.
func (c *CreatedBy) Number() int64 { return KeyNumber(c.Key) }

// Encode returns the value of the second column, and nil for the zero mark.
func (c *CreatedBy) Encode() []byte { return (*idempotency.Mark)(c).Encode() }

// Decode sets c to the result of an Encode.
func (c *CreatedBy) Decode(b []byte) error { return (*idempotency.Mark)(c).Decode(b) }

// KeyNumber returns the first 64 bits of an idempotency key. Few keys share the same number.
func KeyNumber(k mfa.ReplayKey) int64 { return int64(binary.BigEndian.Uint64(k[:])) }
