package postgres

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/countersign-mfa/countersign/internal/delivery"
	"github.com/countersign-mfa/countersign/internal/mfa"
)

// rowsOf splits the reads of a group into reads of one row each, with the rows that belong
// to it, in the order in which all nodes lock them. If there are several Updates,
// challenges, factors and users come first in every bucket. Two groups then rarely
// deadlock, even if they share many rows. For example, groups that send messages for one
// environment share rows.
func rowsOf(group []*job) []mfa.Read {
	none := mfa.Read{}
	rows := make([]mfa.Read, 0, 2*len(group))
	for _, j := range group {
		r := j.read
		if r.Challenge != none.Challenge || r.Factor != none.Factor || r.User != none.User || len(r.Others) > 0 {
			rows = append(rows, mfa.Read{Bucket: r.Bucket, Challenge: r.Challenge, Factor: r.Factor, User: r.User, Others: r.Others})
		}
		if r.Recovery != none.Recovery {
			rows = append(rows, mfa.Read{Bucket: r.Bucket, Recovery: r.Recovery})
		}
		if r.Proof != none.Proof {
			rows = append(rows, mfa.Read{Bucket: r.Bucket, Challenge: r.Proof})
		}
		if r.Owned != none.Owned {
			rows = append(rows, mfa.Read{Bucket: r.Bucket, Owned: r.Owned})
		}
		if r.Created != none.Created {
			rows = append(rows, mfa.Read{Bucket: r.Bucket, Created: r.Created})
		}
		if r.Phone != none.Phone {
			rows = append(rows, mfa.Read{Bucket: r.Bucket, Phone: r.Phone})
		}
		for i := range r.Counters {
			rows = append(rows, mfa.Read{Bucket: r.Bucket, Counters: r.Counters[i : i+1]})
		}
		if r.Message != none.Message {
			rows = append(rows, mfa.Read{Bucket: r.Bucket, Message: r.Message})
		}
		if r.Bypass != none.Bypass {
			rows = append(rows, mfa.Read{Bucket: r.Bucket, Bypass: r.Bypass})
		}
		if r.Replay != none.Replay {
			rows = append(rows, mfa.Read{Bucket: r.Bucket, Replay: r.Replay})
		}
	}
	slices.SortFunc(rows, lockOrder)
	return slices.CompactFunc(rows, func(a, b mfa.Read) bool { return lockOrder(a, b) == 0 })
}

// lockOrder compares reads of one row by bucket, kind and key. Kinds that are
// not read come first, so the last kind is compared first.
func lockOrder(a, b mfa.Read) int {
	return cmp.Or(
		cmp.Compare(a.Bucket, b.Bucket),
		cmp.Compare(a.Owned.User.Environment, b.Owned.User.Environment),
		strings.Compare(a.Owned.User.ID, b.Owned.User.ID),
		cmp.Compare(a.Owned.Most, b.Owned.Most),
		compareBools(a.Owned.All, b.Owned.All),
		bytes.Compare(a.Replay[:], b.Replay[:]),
		bytes.Compare(a.Bypass[:], b.Bypass[:]),
		bytes.Compare(a.Message[:], b.Message[:]),
		slices.CompareFunc(a.Counters, b.Counters, compareTallies),
		bytes.Compare(a.Phone[:], b.Phone[:]),
		cmp.Compare(a.Recovery.Environment, b.Recovery.Environment),
		strings.Compare(a.Recovery.ID, b.Recovery.ID),
		cmp.Compare(a.User.Environment, b.User.Environment),
		strings.Compare(a.User.ID, b.User.ID),
		bytes.Compare(a.Created[:], b.Created[:]),
		bytes.Compare(a.Factor[:], b.Factor[:]),
		bytes.Compare(a.Challenge[:], b.Challenge[:]),
		slices.CompareFunc(a.Others, b.Others, func(a, b mfa.FactorID) int { return bytes.Compare(a[:], b[:]) }),
	)
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func compareTallies(a, b delivery.CounterKey) int {
	return cmp.Or(cmp.Compare(a.Environment, b.Environment), strings.Compare(a.Name, b.Name))
}
