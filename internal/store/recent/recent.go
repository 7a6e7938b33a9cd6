// Package recent remembers a bounded number of things that a store has lately seen.
package recent

// A Map holds values that were put there lately: when the young ones are many, they
// become the old ones, and the old are forgotten. The zero value is empty and
// remembers up to twice Most values. It is not safe for concurrent use.
type Map[K comparable, V any] struct{ young, old map[K]V }

// Most is how many values a generation has; there are two.
const Most = 4096

// Get returns a value, false if it is not remembered.
func (m *Map[K, V]) Get(k K) (V, bool) {
	v, ok := m.young[k]
	if !ok {
		v, ok = m.old[k]
	}
	return v, ok
}

// Put remembers a value in place of what was there.
func (m *Map[K, V]) Put(k K, v V) {
	if len(m.young) >= Most {
		m.young, m.old = m.old, m.young
		clear(m.young)
	}
	if m.young == nil {
		m.young = make(map[K]V)
	}
	m.young[k] = v
}

// Remove forgets a value.
func (m *Map[K, V]) Remove(k K) {
	delete(m.young, k)
	delete(m.old, k)
}

// Clear forgets all.
func (m *Map[K, V]) Clear() {
	clear(m.young)
	clear(m.old)
}
