package rows

import "github.com/countersign-mfa/countersign/internal/stats"

// Statistics describes a row of counts.
func Statistics(c Columns, s *stats.StoredRow) {
	bucketOf(c, stats.BucketOf(s.Environment))
	c.Column("environment", (*int64)(&s.Environment))
	c.Column("series", (*Name)(&s.Series))
	c.Column("start", &s.Start)
	c.Column("counts", &s.Counts)
}

// StatisticsPosition describes how far the events of an environment are counted.
func StatisticsPosition(c Columns, p *stats.StoredPosition) {
	bucketOf(c, stats.BucketOf(p.Environment))
	c.Column("environment", (*int64)(&p.Environment))
	c.Column("position", (*Ref)(&p.At))
	c.Column("leased_by", (*Ref)(&p.LeasedBy))
	c.Column("leased_until", (*OptionalTime)(&p.LeasedUntil))
}
