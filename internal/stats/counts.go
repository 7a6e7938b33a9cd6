package stats

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A group is the name of some counts: up to three words, separated by spaces. An empty word
// is written as "-".
type group string

const noWord = "-"

// groupOf returns the group of three words.
func groupOf(a, b, c string) group {
	return group(word(a) + " " + word(b) + " " + word(c))
}

// word returns a word of a group.
func word(s string) string {
	if s == "" {
		return noWord
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, s)
}

// words returns the words of a group.
func (g group) words() (a, b, c string) {
	a, rest, _ := strings.Cut(string(g), " ")
	b, c, _ = strings.Cut(rest, " ")
	for _, w := range []*string{&a, &b, &c} {
		if *w == noWord {
			*w = ""
		}
	}
	return a, b, c
}

// numbers are the counts of a group. Their meaning depends on the series.
type numbers [6]int64

func (n *numbers) add(m *numbers) {
	for i := range n {
		n[i] += m[i]
	}
}

// counts are the counts of one row.
type counts map[group]*numbers

// most is the largest number of groups in a row of each series. Further groups are counted
// together, as other.
var most = map[Series]int{Events: 400, SMS: 400, Prefixes: 200, Holders: 50}

const other group = "other - -"

// add adds numbers to a group.
func (c counts) add(s Series, g group, n *numbers) {
	have := c[g]
	if have == nil {
		if len(c) >= most[s]-1 {
			g = other
		}
		if have = c[g]; have == nil {
			have = new(numbers)
			c[g] = have
		}
	}
	have.add(n)
}

// encode returns the counts as text: a line for each group, in their order, with its name
// and its numbers. Zeros at the end are left out.
func (c counts) encode() []byte {
	b := make([]byte, 0, 32*len(c))
	for _, g := range slices.Sorted(maps.Keys(c)) {
		n := c[g]
		last := len(n)
		for last > 1 && n[last-1] == 0 {
			last--
		}
		b = append(b, g...)
		for _, v := range n[:last] {
			b = append(b, ' ')
			b = strconv.AppendInt(b, v, 10)
		}
		b = append(b, '\n')
	}
	return b
}

var errCounts = errors.New("a row of statistics cannot be read")

// each calls fn with each group of encoded counts. name and n are valid only during the call.
func each(b []byte, fn func(name []byte, n *numbers)) error {
	var n numbers
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			return fmt.Errorf("%w: %.80q", errCounts, b)
		}
		line := b[:end]
		b = b[end+1:]
		name, ok := parse(line, &n)
		if !ok {
			return fmt.Errorf("%w: %.80q", errCounts, line)
		}
		fn(line[:name], &n)
	}
	return nil
}

// parse reads the numbers of a line and returns the length of its name. A later release may
// have more numbers.
func parse(line []byte, n *numbers) (name int, ok bool) {
	*n = numbers{}
	at := 0
	for range 3 {
		i := bytes.IndexByte(line[at:], ' ')
		if i < 0 {
			return 0, false
		}
		at += i + 1
	}
	name = at - 1
	for i := 0; at <= len(line); i++ {
		negative := at < len(line) && line[at] == '-'
		if negative {
			at++
		}
		var v int64
		start := at
		for ; at < len(line) && line[at] != ' '; at++ {
			if line[at] < '0' || line[at] > '9' {
				return 0, false
			}
			v = v*10 + int64(line[at]-'0')
		}
		if at == start {
			return 0, false
		}
		if negative {
			v = -v
		}
		if i < len(n) {
			n[i] = v
		}
		at++ // the space
	}
	return name, true
}

// decode reads encoded counts. It returns empty counts for nil.
func decode(b []byte) (counts, error) {
	c := make(counts)
	err := each(b, func(name []byte, n *numbers) {
		copied := *n
		c[group(name)] = &copied
	})
	return c, err
}

// A batch has the counts of some events, by row.
type batch map[Key]counts

// add adds numbers to a group of the hour of a time.
func (b batch) add(s Series, at time.Time, g group, n numbers) {
	key := Key{s, at.UTC().Truncate(time.Hour)}
	c := b[key]
	if c == nil {
		c = make(counts)
		b[key] = c
	}
	have := c[g]
	if have == nil {
		have = new(numbers)
		c[g] = have
	}
	have.add(&n)
}

// keys returns the keys of the batch, in an order.
func (b batch) keys() []Key {
	keys := make([]Key, 0, len(b))
	for k := range b {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y Key) int {
		if c := x.Start.Compare(y.Start); c != 0 {
			return c
		}
		return strings.Compare(string(x.Series), string(y.Series))
	})
	return keys
}

// merge adds the batch to rows, which are in the order of keys.
func (b batch) merge(rows []Row) error {
	for i := range rows {
		stored, err := decode(rows[i].Counts)
		if err != nil {
			return err
		}
		added := b[rows[i].Key]
		for _, g := range slices.Sorted(maps.Keys(added)) {
			stored.add(rows[i].Series, g, added[g])
		}
		rows[i].Counts = stored.encode()
	}
	return nil
}
