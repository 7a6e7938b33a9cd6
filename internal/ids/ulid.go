package ids

// Append appends prefix and then the 26 characters of an id of another package.
func Append(b []byte, prefix string, id [16]byte) []byte { return appendID(b, prefix, id) }

// Parse reads an id as Append writes it. It accepts no other form.
func Parse(prefix, s string) (id [16]byte, ok bool) { return parse(prefix, s) }

// BucketOf returns the bucket of an id.
func BucketOf(id [16]byte) Bucket { return bucketIn(id) }
