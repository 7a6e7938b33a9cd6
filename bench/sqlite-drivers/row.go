package drivers

import (
	"encoding/binary"
	"math/rand/v2"
	"strconv"
)

// Buckets is the number of partitions that rows are spread over.
const Buckets = 1024

// Key fills the key of the n-th row. As in the store, ids are ordered by time
// and buckets are not.
func (r *Row) Key(n uint64) {
	h := mix(n)
	r.Bucket = int64(h % Buckets)
	binary.BigEndian.PutUint64(r.ID[:], n)
	binary.BigEndian.PutUint64(r.ID[8:], h)
}

// Fill makes r the n-th row; the same n always gives the same row.
func (r *Row) Fill(n uint64) {
	r.Key(n)
	r.Environment = int64(mix(n+1) >> 1)
	r.Type = 1
	r.UserID = "user_" + strconv.FormatUint(1e15+n, 10)
	random := rand.New(rand.NewPCG(n, n))
	for i := range r.Sealed {
		r.Sealed[i] = byte(random.Uint32())
	}
	r.LastStep, r.Failures, r.LockedUntil = int64(n), 0, 0
	r.CreatedAt = 1_700_000_000_000 + int64(n)
	r.UpdatedAt = r.CreatedAt
}

// mix is the finalizer of SplitMix64.
func mix(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}
